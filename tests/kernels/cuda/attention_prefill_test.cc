// The prefill kernels against attention in double, over odd shapes, and against themselves bit for
// bit: what a row becomes depends on nothing but its query and what it sees.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"
#include "kernels/cuda/attention_plan.h"
#include "tests/kernels/cuda/attention_problem.h"
#include "tests/kernels/cuda/op_fixture.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

// Sequences, and a query for each position of each (a step computes some of them).
struct Prompt {
  AttentionShape shape;
  std::vector<AttentionSequence> sequences;
  std::vector<std::vector<uint16_t>> queries;  // Of a sequence: [length, heads * head_dim].
};

Prompt RandomPrompt(base::Rng& rng, const AttentionShape& shape,
                    const std::vector<int32_t>& lengths) {
  Prompt prompt = {shape, {}, {}};
  for (const int32_t length : lengths) {
    prompt.sequences.push_back(RandomSequence(rng, shape, length));
    prompt.queries.push_back(RandomBf16(rng, length * shape.row_width(), 1.5));
  }
  return prompt;
}

// Positions first .. first + count - 1 of a sequence.
struct Piece {
  int32_t sequence = 0;
  int32_t first = 0;
  int32_t count = 0;
};

// Which of the kernels.
enum class Form {
  kEveryDevice,
  kHopper,  // Where the device is one; the fake is. Elsewhere the same as the other.
};

class PrefillAttentionTest : public OpFixture, public testing::WithParamInterface<Form> {
 protected:
  void SetUp() override {
    Expect(api()->open(0, &context_));
    api()->use_hopper(context_, GetParam() == Form::kHopper);
    Expect(api()->stream_create(context_, 0, &stream_));
  }
  void TearDown() override {
    api()->stream_destroy(stream_);
    api()->close(context_);
  }

  // Returns when it is done.
  void Launch(const EbbCudaPrefillAttention& op) {
    Expect(api()->prefill_attention(stream_, &op));
    Expect(api()->stream_synchronize(stream_));
  }

  // The out rows of the pieces, one after another.
  std::vector<uint16_t> Run(const Prompt& prompt, const PagedImage& image,
                            const std::vector<Piece>& pieces) {
    const AttentionShape& shape = prompt.shape;
    std::vector<uint16_t> q;
    std::vector<PrefillRows> rows;
    int32_t row = 0;
    for (const Piece& piece : pieces) {
      const auto begin = prompt.queries[piece.sequence].begin() + piece.first * shape.row_width();
      q.insert(q.end(), begin, begin + piece.count * shape.row_width());
      rows.push_back({piece.sequence, row, piece.count, piece.first});
      row += piece.count;
    }
    std::vector<EbbCudaPrefillTile> tiles;
    PlanPrefillTiles(shape.heads, shape.kv_heads, rows, &tiles);

    const DeviceArray<uint16_t> memory = Upload(image.memory);
    const DeviceArray<int32_t> indices = Upload(image.indices);
    const DeviceArray<int32_t> begins = Upload(image.begins);
    const DeviceArray<EbbCudaPrefillTile> device_tiles = Upload(tiles);
    const DeviceArray<uint16_t> device_q = Upload(q);
    const DeviceArray<uint16_t> out = Poisoned<uint16_t>(q.size());
    EbbCudaPrefillAttention op = {};
    op.q = device_q.data();
    op.out = out.data();
    op.tiles = device_tiles.data();
    op.tables = {indices.data(), begins.data()};
    op.kv = image.kv;
    op.kv.base = reinterpret_cast<uint8_t*>(memory.data());
    op.layer = image.layer;
    op.heads = shape.heads;
    op.tile_count = static_cast<int32_t>(tiles.size());
    Launch(op);
    return Download(out);
  }

  // A new image each time: block places, layer and layout make no difference.
  std::vector<uint16_t> Run(base::Rng& rng, const Prompt& prompt,
                            const std::vector<Piece>& pieces) {
    const KvLayout layout = rng.Chance(0.5) ? KvLayout::kPages : KvLayout::kLayerByLayer;
    return Run(prompt, MakeImage(rng, prompt.shape, prompt.sequences, layout), pieces);
  }

  void UseHopper(bool on) { api()->use_hopper(context_, on ? 1 : 0); }

 private:
  EbbCudaContext* context_ = nullptr;
  EbbCudaStream* stream_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Forms, PrefillAttentionTest,
                         testing::Values(Form::kEveryDevice, Form::kHopper), [](const auto& info) {
                           return info.param == Form::kEveryDevice ? "EveryDevice" : "Hopper";
                         });

void ExpectNear(const Prompt& prompt, const std::vector<Piece>& pieces,
                const std::vector<uint16_t>& out) {
  const AttentionShape& shape = prompt.shape;
  const uint16_t* got = out.data();
  for (const Piece& piece : pieces) {
    for (int32_t p = piece.first; p < piece.first + piece.count; ++p) {
      const uint16_t* query = &prompt.queries[piece.sequence][p * shape.row_width()];
      for (int32_t h = 0; h < shape.heads; ++h, got += shape.head_dim, query += shape.head_dim) {
        const AttentionAnswer answer =
            Answer(shape, prompt.sequences[piece.sequence], h, p + 1, query);
        for (int32_t d = 0; d < shape.head_dim; ++d) {
          ASSERT_NEAR(Bf16ToDouble(got[d]), answer.out[d], answer.tolerance[d])
              << "position " << p << " head " << h << " of " << shape.heads << "/" << shape.kv_heads
              << ", dimension " << d << " of " << shape.head_dim << ", blocks of "
              << shape.block_tokens;
        }
      }
    }
  }
}

// Lengths around the edges of key tiles (64 and 128), every served head_dim, blocks from 8 to 256.
TEST_P(PrefillAttentionTest, AgreesWithDoubleAroundTileEdges) {
  base::Rng rng(TestSeed(1));
  const std::vector<int32_t> lengths = {1,   2,   63,  64,  65,  127, 128, 129, 191, 192,
                                        193, 255, 256, 257, 384, 385, 512, 513, 641};
  for (size_t i = 0; i < 2 * lengths.size(); ++i) {
    const size_t round = i / lengths.size();
    const AttentionShape shape = {2, 2, 32 + 32 * static_cast<int32_t>((i + round) % 4),
                                  8 << static_cast<int32_t>(i % 6)};
    const int32_t length = lengths[i % lengths.size()];
    const Prompt prompt = RandomPrompt(rng, shape, {length});
    // Its last rows: they see all edges.
    const int32_t count = std::min(length, 3);
    const std::vector<Piece> pieces = {{0, length - count, count}};
    ASSERT_NO_FATAL_FAILURE(ExpectNear(prompt, pieces, Run(rng, prompt, pieces)));
  }
}

// Full tiles over many tiles of keys, so that each place in shared memory is used again.
TEST_P(PrefillAttentionTest, AgreesWithDoubleFarIntoASequence) {
  base::Rng rng(TestSeed(7));
  for (const int32_t head_dim : {64, 128}) {
    const AttentionShape shape = {8, 2, head_dim, 16};
    const auto length = static_cast<int32_t>(rng.Between(900, 1000));
    const Prompt prompt = RandomPrompt(rng, shape, {length});
    const std::vector<Piece> pieces = {{0, length - 36, 36}};
    ASSERT_NO_FATAL_FAILURE(ExpectNear(prompt, pieces, Run(rng, prompt, pieces)));
  }
}

TEST_P(PrefillAttentionTest, AgreesWithDoubleForRandomShapesAndChunks) {
  base::Rng rng(TestSeed(2));
  for (int trial = 0; trial < 12; ++trial) {
    const AttentionShape shape = RandomShape(rng, 128);
    std::vector<int32_t> lengths(rng.Between(1, 3));
    std::vector<Piece> pieces;
    const int32_t tokens_max = std::max(1, 80 / (shape.heads / shape.kv_heads));
    for (size_t s = 0; s < lengths.size(); ++s) {
      lengths[s] = static_cast<int32_t>(rng.Between(1, 300));
      Piece piece;
      piece.sequence = static_cast<int32_t>(s);
      piece.count = static_cast<int32_t>(rng.Between(1, std::min(lengths[s], tokens_max)));
      piece.first = static_cast<int32_t>(rng.Between(0, lengths[s] - piece.count));
      // What lies after the chunk is stale.
      lengths[s] = piece.first + piece.count;
      pieces.push_back(piece);
    }
    const Prompt prompt = RandomPrompt(rng, shape, lengths);
    ASSERT_NO_FATAL_FAILURE(ExpectNear(prompt, pieces, Run(rng, prompt, pieces)));
  }
}

// However a prompt is cut into chunks, each computed when only its own keys and those before it are
// stored, its rows are the same bits; single rows, as in an invariant decode step, included.
TEST_P(PrefillAttentionTest, ChunksAreBitForBitTheWhole) {
  base::Rng rng(TestSeed(3));
  for (int trial = 0; trial < 4; ++trial) {
    const AttentionShape shape = RandomShape(rng, 8);
    const auto length = static_cast<int32_t>(rng.Between(60, 220));
    const Prompt prompt = RandomPrompt(rng, shape, {length});
    const std::vector<uint16_t> whole = Run(rng, prompt, {{0, 0, length}});
    std::vector<uint16_t> chunked;
    for (int32_t first = 0; first < length;) {
      const auto count = static_cast<int32_t>(
          std::min<int64_t>(length - first, rng.Chance(0.3) ? 1 : rng.Between(1, 70)));
      Prompt stored = prompt;
      AttentionSequence& sequence = stored.sequences[0];
      sequence.length = first + count;
      const std::vector<uint16_t> chunk = Run(rng, stored, {{0, first, count}});
      chunked.insert(chunked.end(), chunk.begin(), chunk.end());
      first += count;
    }
    ASSERT_EQ(chunked, whole) << shape.heads << "/" << shape.kv_heads << " heads of "
                              << shape.head_dim << ", length " << length;
  }
}

TEST_P(PrefillAttentionTest, ARowDoesNotDependOnItsBatch) {
  base::Rng rng(TestSeed(4));
  const AttentionShape shape = {8, 2, 64, 16};
  const Prompt prompt = RandomPrompt(rng, shape, {70, 130, 5});
  const std::vector<Piece> pieces = {{1, 60, 70}, {0, 50, 20}, {2, 4, 1}};
  const std::vector<uint16_t> together = Run(rng, prompt, pieces);
  std::vector<uint16_t> alone;
  for (const Piece& piece : pieces) {
    const std::vector<uint16_t> rows = Run(rng, prompt, {piece});
    alone.insert(alone.end(), rows.begin(), rows.end());
  }
  EXPECT_EQ(together, alone);
}

// Scores of about 1000, which exponentiate to infinity unless the maximum is taken off, rising from
// key to key, so that every tile brings a new maximum. Products of query and key are whole numbers,
// which float32 sums exactly.
TEST_P(PrefillAttentionTest, LargeScoresDoNotOverflow) {
  base::Rng rng(TestSeed(5));
  const AttentionShape shape = {1, 1, 32, 8};
  Prompt prompt = RandomPrompt(rng, shape, {140});
  for (uint16_t& q : prompt.queries[0]) q = DoubleToBf16(8);
  for (int32_t p = 0; p < 140; ++p) {
    for (int32_t d = 0; d < 32; ++d) prompt.sequences[0].keys[p * 32 + d] = DoubleToBf16(p / 8);
  }
  const std::vector<Piece> pieces = {{0, 100, 40}};
  ExpectNear(prompt, pieces, Run(rng, prompt, pieces));
}

// Kernels with key tiles of 64 and of 128 round differently; were all bits the same, one of the two
// would not be tested here.
TEST_P(PrefillAttentionTest, TheFormsAreDifferentKernels) {
  EbbCudaDeviceInfo info;
  Expect(api()->device_info(0, &info));
  if (info.compute_major != 9) GTEST_SKIP() << "the device is no Hopper";
  for (const int32_t head_dim : {64, 128}) {
    base::Rng rng(TestSeed(8));
    const Prompt prompt = RandomPrompt(rng, {4, 1, head_dim, 16}, {300});
    const std::vector<Piece> pieces = {{0, 290, 10}};
    UseHopper(false);
    const std::vector<uint16_t> older = Run(rng, prompt, pieces);
    UseHopper(true);
    EXPECT_NE(Run(rng, prompt, pieces), older) << head_dim;
  }
}

// NaN stays with the rows that see it.
TEST_P(PrefillAttentionTest, ANanInAKeyReachesOnlyRowsThatSeeIt) {
  base::Rng rng(TestSeed(6));
  const AttentionShape shape = {2, 1, 32, 8};
  Prompt prompt = RandomPrompt(rng, shape, {30});
  const std::vector<uint16_t> clean = Run(rng, prompt, {{0, 0, 30}});
  prompt.sequences[0].keys[20 * shape.head_dim] = kBf16Nan;
  const std::vector<uint16_t> out = Run(rng, prompt, {{0, 0, 30}});
  const auto first_seen = static_cast<int64_t>(20 * shape.row_width());
  EXPECT_TRUE(std::equal(out.begin(), out.begin() + first_seen, clean.begin()));
  EXPECT_TRUE(std::all_of(out.begin() + first_seen, out.end(),
                          [](uint16_t bits) { return std::isnan(Bf16ToDouble(bits)); }));
}

TEST_P(PrefillAttentionTest, RefusesWhatItDoesNotServe) {
  const DeviceArray<uint16_t> memory = Upload(std::vector<uint16_t>(4096));
  const DeviceArray<int32_t> table = Upload(std::vector<int32_t>(1));
  const DeviceArray<EbbCudaPrefillTile> tiles = Upload(std::vector<EbbCudaPrefillTile>(1));
  EbbCudaPrefillAttention good = {};
  good.q = good.out = memory.data();
  good.tiles = tiles.data();
  good.tables = {table.data(), table.data()};
  good.kv = {reinterpret_cast<uint8_t*>(memory.data()), 4096, 4096, 2048, 1, 1, 32, 8};
  good.heads = 1;
  const auto refused = [&](const char* text, auto change) {
    EbbCudaPrefillAttention op = good;
    op.tile_count = 1;
    change(op);
    ExpectInvalid(api()->prefill_attention(stream(), &op), text);
  };
  refused("head_dim", [](auto& op) { op.kv.head_dim = 80; });
  refused("block_tokens", [](auto& op) { op.kv.block_tokens = 24; });
  refused("block_tokens", [](auto& op) { op.kv.block_tokens = 4; });
  refused("block_tokens", [](auto& op) { op.kv.block_tokens = 512; });
  refused("heads", [](auto& op) { op.kv.kv_heads = 2, op.heads = 3; });
  refused("heads", [](auto& op) { op.kv.kv_heads = 0; });
  refused("128 query heads", [](auto& op) { op.heads = 129; });
  refused("layer", [](auto& op) { op.layer = 1; });
  refused("layer", [](auto& op) { op.layer = -1; });
  refused("grid", [](auto& op) { op.tile_count = -1; });
  refused("null", [](auto& op) { op.q = nullptr; });
  refused("null", [](auto& op) { op.tiles = nullptr; });
  refused("null", [](auto& op) { op.tables.begins = nullptr; });
  refused("aligned", [](auto& op) { op.out += 1; });
  refused("stride", [](auto& op) { op.kv.value_offset_bytes = 2040; });
  ExpectInvalid(api()->prefill_attention(stream(), nullptr), "null");
  Expect(api()->prefill_attention(stream(), &good));  // No tiles, no work.
}

}  // namespace
}  // namespace ebb::kernels::cuda

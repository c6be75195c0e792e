// Bias, head norms, rotation and the write of keys and values, against double arithmetic.
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/kernels/cuda/bf16.h"
#include "tests/kernels/cuda/op_fixture.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

constexpr float kEpsilon = 1e-6f;

// Everything that an operation is given and that its answer is computed from.
struct Problem {
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 64;
  int block_tokens = 16;
  int layers = 2;
  int layer = 1;
  int pair_count = 32;
  int blocks = 12;  // In the pool.
  bool bias = false;
  bool norms = false;
  std::vector<int32_t> positions;
  std::vector<int32_t> sequence_of_row;
  std::vector<int32_t> begins;
  std::vector<int32_t> indices;

  int rows() const { return static_cast<int>(positions.size()); }
  int all_heads() const { return heads + 2 * kv_heads; }
  // A block's part of a layer: keys, then values, then a gap.
  int64_t part_elements() const { return int64_t{kv_heads} * block_tokens * head_dim; }
  int64_t layer_stride() const { return 2 * part_elements() + 64; }
  int64_t index_stride() const { return layers * layer_stride(); }
};

struct Inputs {
  std::vector<uint16_t> qkv;
  std::vector<float> bias, q_norm, k_norm, frequencies;
};

struct Answer {
  std::vector<uint16_t> q;
  std::vector<uint16_t> pool;
};

Inputs RandomInputs(base::Rng& rng, const Problem& problem) {
  Inputs inputs;
  const auto width = static_cast<size_t>(problem.all_heads()) * problem.head_dim;
  inputs.qkv = RandomBf16(rng, problem.rows() * width, 1.5);
  inputs.bias = RandomFloats(rng, width, 1.0);
  inputs.q_norm = RandomFloats(rng, problem.head_dim, 1.0);
  inputs.k_norm = RandomFloats(rng, problem.head_dim, 1.0);
  for (int i = 0; i < problem.pair_count; ++i) {
    inputs.frequencies.push_back(
        static_cast<float>(std::pow(500000.0, -2.0 * i / problem.head_dim)));
  }
  return inputs;
}

// The head of a row as it is stored.
std::vector<double> WantHead(const Problem& problem, const Inputs& inputs, int row, int head) {
  const int dims = problem.head_dim;
  std::vector<double> v(dims);
  double sum = 0;
  for (int d = 0; d < dims; ++d) {
    const int column = head * dims + d;
    v[d] = Bf16ToDouble(inputs.qkv[row * problem.all_heads() * dims + column]);
    if (problem.bias) v[d] += inputs.bias[column];
    sum += v[d] * v[d];
  }
  if (head >= problem.heads + problem.kv_heads) return v;
  if (problem.norms) {
    const double scale = 1 / std::sqrt(sum / dims + kEpsilon);
    const std::vector<float>& norm = head < problem.heads ? inputs.q_norm : inputs.k_norm;
    for (int d = 0; d < dims; ++d) v[d] *= scale * norm[d];
  }
  for (int i = 0; i < problem.pair_count; ++i) {
    // The float32 product is part of the operation.
    const float angle = static_cast<float>(problem.positions[row]) * inputs.frequencies[i];
    const double x = v[2 * i], y = v[2 * i + 1];
    v[2 * i] = x * std::cos(double{angle}) - y * std::sin(double{angle});
    v[2 * i + 1] = x * std::sin(double{angle}) + y * std::cos(double{angle});
  }
  return v;
}

// Tolerance: the rounding to bf16; before it some 20 float32 roundings of numbers below 20, which
// may cancel in the rotation.
void ExpectHead(const uint16_t* got, const std::vector<double>& want, const char* what, int row) {
  for (size_t d = 0; d < want.size(); ++d) {
    ASSERT_NEAR(Bf16ToDouble(got[d]), want[d], std::abs(want[d]) * kBf16Rounding + 3e-5)
        << what << " row " << row << " dimension " << d;
  }
}

class RopeStoreTest : public OpFixture {
 protected:
  Answer Run(const Problem& problem, const Inputs& inputs) {
    const auto qkv = Upload(inputs.qkv);
    const auto bias = Upload(inputs.bias);
    const auto q_norm = Upload(inputs.q_norm);
    const auto k_norm = Upload(inputs.k_norm);
    const auto frequencies = Upload(inputs.frequencies);
    const auto positions = Upload(problem.positions);
    const auto sequences = Upload(problem.sequence_of_row);
    const auto indices = Upload(problem.indices);
    const auto begins = Upload(problem.begins);
    const auto pool = Poisoned<uint16_t>(problem.blocks * problem.index_stride());
    const auto q =
        Poisoned<uint16_t>(static_cast<size_t>(problem.rows()) * problem.heads * problem.head_dim);
    EbbCudaRopeStore op = {};
    op.qkv = qkv.data();
    op.bias = problem.bias ? bias.data() : nullptr;
    op.q_norm = problem.norms ? q_norm.data() : nullptr;
    op.k_norm = problem.norms ? k_norm.data() : nullptr;
    op.frequencies = frequencies.data();
    op.positions = positions.data();
    op.sequence_of_row = sequences.data();
    op.q_out = q.data();
    op.tables = {indices.data(), begins.data()};
    op.kv = {reinterpret_cast<uint8_t*>(pool.data()),
             problem.layer_stride() * 2,
             problem.index_stride() * 2,
             problem.part_elements() * 2,
             problem.layers,
             problem.kv_heads,
             problem.head_dim,
             problem.block_tokens};
    op.layer = problem.layer;
    op.rows = problem.rows();
    op.heads = problem.heads;
    op.pair_count = problem.pair_count;
    op.norm_epsilon = kEpsilon;
    Expect(api()->rope_store(stream(), &op));
    return {Download(q), Download(pool)};
  }

  // Checks each head that is written, and that everything else still holds 0xFFFF.
  void Check(const Problem& problem, const Inputs& inputs) {
    const Answer got = Run(problem, inputs);
    std::vector<bool> written(got.pool.size());
    const int dims = problem.head_dim;
    for (int row = 0; row < problem.rows(); ++row) {
      const int position = problem.positions[row];
      for (int head = 0; head < problem.heads; ++head) {
        const uint16_t* q = &got.q[(row * problem.heads + head) * dims];
        if (position >= 0) {
          ExpectHead(q, WantHead(problem, inputs, row, head), "query", row);
        } else {
          for (int d = 0; d < dims; ++d) ASSERT_EQ(q[d], 0xFFFF) << "skipped row " << row;
        }
      }
      if (position < 0) continue;
      const int begin = problem.begins[problem.sequence_of_row[row]];
      const int64_t index = problem.indices[begin + position / problem.block_tokens];
      for (int i = 0; i < 2 * problem.kv_heads; ++i) {
        const int64_t at = index * problem.index_stride() + problem.layer * problem.layer_stride() +
                           i / problem.kv_heads * problem.part_elements() +
                           (int64_t{i % problem.kv_heads} * problem.block_tokens +
                            position % problem.block_tokens) *
                               dims;
        ExpectHead(&got.pool[at], WantHead(problem, inputs, row, problem.heads + i),
                   i < problem.kv_heads ? "key" : "value", row);
        for (int d = 0; d < dims; ++d) written[at + d] = true;
      }
    }
    for (size_t i = 0; i < written.size(); ++i) {
      if (!written[i]) {
        ASSERT_EQ(got.pool[i], 0xFFFF) << "element " << i << " of the pool";
      }
    }
  }
};

// Sequences with random lengths and blocks; each row the next position of one.
Problem RandomProblem(base::Rng& rng) {
  Problem problem;
  problem.head_dim = static_cast<int>(rng.Between(1, 4) * 32);
  problem.kv_heads = static_cast<int>(rng.Between(1, 3));
  problem.heads = problem.kv_heads * static_cast<int>(rng.Between(1, 4));
  problem.block_tokens = 8 << rng.Between(0, 3);
  problem.layers = static_cast<int>(rng.Between(1, 3));
  problem.layer = static_cast<int>(rng.Between(0, problem.layers - 1));
  problem.pair_count = rng.Chance(0.7) ? problem.head_dim / 2
                                       : static_cast<int>(rng.Between(0, problem.head_dim / 2));
  problem.bias = rng.Chance(0.5);
  problem.norms = rng.Chance(0.5);
  std::vector<int32_t> free(problem.blocks);
  for (int i = 0; i < problem.blocks; ++i) free[i] = i;
  for (int sequence = 0; sequence < 3; ++sequence) {
    problem.begins.push_back(static_cast<int32_t>(problem.indices.size()));
    for (int i = 0; i < 3; ++i) {
      const auto chosen = static_cast<size_t>(rng.Between(0, static_cast<int>(free.size()) - 1));
      problem.indices.push_back(free[chosen]);
      free.erase(free.begin() + static_cast<int>(chosen));
    }
    int position = static_cast<int>(rng.Between(0, 2 * problem.block_tokens));
    for (int64_t i = rng.Between(1, 5); i > 0; --i) {
      problem.positions.push_back(rng.Chance(0.2) ? -1 : position++);
      problem.sequence_of_row.push_back(sequence);
    }
  }
  return problem;
}

TEST_F(RopeStoreTest, RandomShapes) {
  base::Rng rng(TestSeed(1));
  for (int i = 0; i < 25; ++i) {
    const Problem problem = RandomProblem(rng);
    SCOPED_TRACE(testing::Message()
                 << "shape " << i << ": head_dim " << problem.head_dim << ", heads "
                 << problem.heads << "/" << problem.kv_heads << ", pairs " << problem.pair_count);
    Check(problem, RandomInputs(rng, problem));
    if (HasFatalFailure()) return;
  }
}

TEST_F(RopeStoreTest, FarPositions) {
  base::Rng rng(TestSeed(2));
  Problem problem;
  problem.head_dim = 128;
  problem.pair_count = 64;
  problem.block_tokens = 256;
  problem.blocks = 2;
  problem.positions = {131071, 131072, 100000, 65536};
  problem.sequence_of_row = {0, 1, 0, 1};
  // Each table names only the blocks that these positions lie in.
  problem.begins = {0, 600};
  problem.indices.assign(1200, -1);
  problem.indices[131071 / 256] = 0;
  problem.indices[100000 / 256] = 1;
  problem.indices[600 + 131072 / 256] = 0;
  problem.indices[600 + 65536 / 256] = 1;
  // Rows 0 and 1, and 2 and 3, lie at different places of one block.
  Check(problem, RandomInputs(rng, problem));
}

TEST_F(RopeStoreTest, TellsWhatItDoesNotServe) {
  const auto memory = Poisoned<uint16_t>(4096);
  const auto ints = Upload(std::vector<int32_t>(8));
  const auto floats = Upload(std::vector<float>(64));
  EbbCudaRopeStore good = {};
  good.qkv = memory.data();
  good.frequencies = floats.data();
  good.positions = good.sequence_of_row = good.tables.indices = good.tables.begins = ints.data();
  good.q_out = memory.data();
  good.kv = {reinterpret_cast<uint8_t*>(memory.data()), 2048, 4096, 1024, 1, 1, 32, 8};
  good.rows = good.heads = 1;
  good.pair_count = 16;
  const auto refused = [&](const char* text, auto change) {
    EbbCudaRopeStore op = good;
    change(op);
    ExpectInvalid(api()->rope_store(stream(), &op), text);
  };
  refused("head_dim", [](auto& op) { op.kv.head_dim = 80; });
  refused("block_tokens", [](auto& op) { op.kv.block_tokens = 12; });
  refused("block_tokens", [](auto& op) { op.kv.block_tokens = 512; });
  refused("kv_heads", [](auto& op) { op.kv.kv_heads = 2; });
  refused("layer", [](auto& op) { op.layer = 1; });
  refused("pair_count", [](auto& op) { op.pair_count = 17; });
  refused("q_norm", [&](auto& op) { op.q_norm = floats.data(); });
  refused("null", [](auto& op) { op.tables.begins = nullptr; });
  refused("16 bytes", [](auto& op) { op.kv.value_offset_bytes = 1026; });
  refused("rows", [](auto& op) { op.rows = -1; });
  ExpectInvalid(api()->rope_store(stream(), nullptr), "null");
}

}  // namespace
}  // namespace ebb::kernels::cuda

// Row i of every operation, bit for bit, whatever surrounds it: 1 to 17 rows and more, chunk
// boundaries, thread counts, lanes, the place of its blocks.
#include <algorithm>
#include <thread>

#include "tests/kernels/kernel_test_util.h"

namespace ebb::kernels {
namespace {

constexpr int32_t kManyRows = 100;

class RowInvarianceTest : public ::testing::TestWithParam<std::string> {
 protected:
  // One row at a time, on one thread, in the decode lane: what everything else must equal.
  RowInvarianceTest() : alone_(MakeOrDie(GetParam(), 1)) {}

  std::unique_ptr<Backend> alone_;
};

INSTANTIATE_TEST_SUITE_P(Paths, RowInvarianceTest, ::testing::ValuesIn(FastPaths()));

std::vector<int32_t> RowCounts() {
  std::vector<int32_t> counts;
  for (int32_t n = 1; n <= 17; ++n) counts.push_back(n);
  counts.insert(counts.end(), {31, 64, kManyRows});
  return counts;
}

TEST_P(RowInvarianceTest, LinearAndSwiGlu) {
  base::Rng rng(TestSeed(21));
  constexpr int64_t kOutputs = 70;
  for (DType dtype : kAllDTypes) {
    const int64_t columns = WholeBlocks(dtype, 96);
    const std::vector<float> norm_weight = RandomFloats(&rng, static_cast<size_t>(columns), 1.0f);
    const RmsNorm norm{norm_weight.data(), 1e-5f};
    const TestMatrix gate = RandomMatrix(&rng, dtype, kOutputs, columns);
    const TestMatrix up = RandomMatrix(&rng, dtype, kOutputs, columns);
    const std::vector<float> x = RandomFloats(&rng, static_cast<size_t>(kManyRows * columns), 2.0f);
    const auto run = [&](Backend* backend, Lane lane, int32_t first, int32_t rows, float* y,
                         float* swiglu) {
      const auto gate_weight = LoadOrDie(backend, gate);
      const auto up_weight = LoadOrDie(backend, up);
      Guarded<uint8_t> scratch(backend->ScratchBytes(rows, columns));
      const OpContext context{lane, scratch.span()};
      const LinearOutput output{gate_weight.get(), y, false};
      backend->Linear(context, x.data() + first * columns, rows, norm, {&output, 1});
      scratch.Poison();
      backend->SwiGlu(context, x.data() + first * columns, rows, norm, *gate_weight, *up_weight,
                      swiglu);
    };
    Guarded<float> want(kManyRows * kOutputs);
    Guarded<float> want_swiglu(kManyRows * kOutputs);
    for (int32_t r = 0; r < kManyRows; ++r) {
      run(alone_.get(), Lane::kDecode, r, 1, want.data() + r * kOutputs,
          want_swiglu.data() + r * kOutputs);
    }
    for (const int threads : {1, 2, 3, 4}) {
      const auto backend = MakeOrDie(GetParam(), threads);
      for (const int32_t rows : RowCounts()) {
        const Lane lane = rng.Chance(0.5) ? Lane::kPrefill : Lane::kDecode;
        const auto first = static_cast<int32_t>(rng.Between(0, kManyRows - rows));
        Guarded<float> y(static_cast<size_t>(rows * kOutputs));
        Guarded<float> swiglu(static_cast<size_t>(rows * kOutputs));
        run(backend.get(), lane, first, rows, y.data(), swiglu.data());
        SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << " rows " << rows << " from "
                                        << first << ", " << threads << " threads");
        ASSERT_TRUE(SameBits(want.data() + first * kOutputs, y.data(), y.size()));
        ASSERT_TRUE(SameBits(want_swiglu.data() + first * kOutputs, swiglu.data(), y.size()));
      }
    }
  }
}

// A prompt's heads under one shape, and how they are run through one sequence.
class HeadsOfPrompt {
 public:
  static constexpr int32_t kTokens = 300;

  HeadsOfPrompt(base::Rng* rng, const TestKv::Shape& shape, int32_t heads)
      : rng_(rng),
        shape_(shape),
        heads_(heads),
        q_width_(static_cast<size_t>(heads * shape.head_dim)),
        k_width_(static_cast<size_t>(shape.kv_heads * shape.head_dim)),
        q_(RandomFloats(rng, kTokens * q_width_, 2.0f)),
        k_(RandomFloats(rng, kTokens * k_width_, 1.0f)),
        v_(RandomFloats(rng, kTokens * k_width_, 1.0f)),
        q_bias_(RandomFloats(rng, q_width_, 1.0f)),
        kv_bias_(RandomFloats(rng, k_width_, 1.0f)),
        norm_(RandomFloats(rng, static_cast<size_t>(shape.head_dim), 2.0f)),
        transform_{{frequencies_}, q_bias_.data(), kv_bias_.data(), kv_bias_.data(), norm_.data(),
                   norm_.data(),   1e-6f} {}

  // All tokens chunk after chunk; other sequences' rows stand before when `crowded`.
  std::vector<float> Run(Backend* backend, bool crowded, const std::vector<int32_t>& chunks) {
    TestKv memory(shape_);
    const std::vector<int32_t> table = memory.Table(rng_, kTokens);
    const std::vector<int32_t> other = memory.Table(rng_, 64);
    std::vector<float> out(kTokens * q_width_);
    int32_t done = 0;
    for (const int32_t count : chunks) {
      TestRows batch;
      const int32_t before = crowded ? static_cast<int32_t>(rng_->Between(1, 20)) : 0;
      if (before > 0) batch.Add(other, 0, before);
      batch.Add(table, done, count);
      const std::vector<float> result = RunChunk(backend, batch.rows(), memory.kv(), before, done);
      std::copy(result.begin() + before * q_width_, result.end(), out.begin() + done * q_width_);
      done += count;
    }
    EXPECT_EQ(done, kTokens);
    return out;
  }

 private:
  std::vector<float> RunChunk(Backend* backend, const BatchRows& rows, const PagedKv& kv,
                              int32_t before, int32_t done) {
    const auto row_count = static_cast<size_t>(rows.row_count);
    const size_t count = row_count - before;
    std::vector<float> q(row_count * q_width_, 0.5f);
    std::vector<float> k(row_count * k_width_, 0.5f);
    std::vector<float> v = k;
    std::copy_n(q_.begin() + done * q_width_, count * q_width_, q.begin() + before * q_width_);
    std::copy_n(k_.begin() + done * k_width_, count * k_width_, k.begin() + before * k_width_);
    std::copy_n(v_.begin() + done * k_width_, count * k_width_, v.begin() + before * k_width_);
    Guarded<uint8_t> scratch(backend->ScratchBytes(rows.row_count, q_width_));
    Guarded<float> result(row_count * q_width_);
    const OpContext context{count > 1 ? Lane::kPrefill : Lane::kDecode, scratch.span()};
    backend->BeginStep(context.lane);
    backend->RopeAndStore(context, rows, transform_, 0, heads_, q.data(), k.data(), v.data(), kv);
    backend->Attention(context, rows, 0, heads_, q.data(), kv, result.data());
    backend->EndStep(context.lane);
    return {result.data(), result.data() + result.size()};
  }

  base::Rng* const rng_;
  const TestKv::Shape shape_;
  const int32_t heads_;
  const size_t q_width_;
  const size_t k_width_;
  const std::vector<float> q_, k_, v_, q_bias_, kv_bias_, norm_;
  const std::vector<float> frequencies_ = {1.0f, 0.3f, 0.1f, 0.01f, 1e-4f};
  const HeadTransform transform_;
};

// A prompt in chunks of any sizes leaves the same keys, values and attention as token by token.
TEST_P(RowInvarianceTest, HeadsAndAttentionOverChunkings) {
  base::Rng rng(TestSeed(22));
  struct Case {
    TestKv::Shape shape;
    int32_t heads;
  };
  // Sizes below a vector, of whole vectors and with a rest; 3, 5 and 7 queries a row, so that tiles
  // of any row count are cut into groups of other sizes.
  const Case cases[] = {{{DType::kF16, 1, 2, 24, 16, 4, 16}, 6},
                        {{DType::kBF16, 1, 1, 72, 24, 4, 16}, 5},
                        {{DType::kF32, 1, 1, 128, 16, 4, 16}, 7}};
  for (const Case& test : cases) {
    HeadsOfPrompt prompt(&rng, test.shape, test.heads);
    constexpr int32_t kTokens = HeadsOfPrompt::kTokens;
    const std::vector<float> want =
        prompt.Run(alone_.get(), false, std::vector<int32_t>(kTokens, 1));
    for (const int threads : {1, 2, 3, 4}) {
      const auto backend = MakeOrDie(GetParam(), threads);
      EXPECT_TRUE(
          SameBits(want.data(), prompt.Run(backend.get(), false, {kTokens}).data(), want.size()));
      for (int i = 0; i < 4; ++i) {
        std::vector<int32_t> chunks;
        for (int32_t left = kTokens; left > 0; left -= chunks.back()) {
          const int64_t most = i < 2 ? 17 : 130;
          chunks.push_back(std::min(left, static_cast<int32_t>(rng.Between(1, most))));
        }
        const std::vector<float> got = prompt.Run(backend.get(), i % 2 == 1, chunks);
        ASSERT_TRUE(SameBits(want.data(), got.data(), want.size()))
            << threads << " threads, chunking " << i << ", " << test.heads << " heads";
      }
    }
  }
}

// Both lanes at once on one backend, from two threads: neither disturbs the other's numbers.
TEST_P(RowInvarianceTest, BothLanesAtOnce) {
  base::Rng rng(TestSeed(23));
  constexpr int64_t kColumns = 128;
  constexpr int64_t kOutputs = 256;
  const TestMatrix matrix = RandomMatrix(&rng, DType::kQ4_1, kOutputs, kColumns);
  const std::vector<float> x = RandomFloats(&rng, kManyRows * kColumns, 2.0f);
  const auto run = [&](Backend* backend, const Matrix& weight, Lane lane, int32_t rows) {
    Guarded<uint8_t> scratch(backend->ScratchBytes(rows, kColumns));
    std::vector<float> y(static_cast<size_t>(rows * kOutputs));
    const LinearOutput output{&weight, y.data(), false};
    backend->BeginStep(lane);
    backend->Linear({lane, scratch.span()}, x.data(), rows, {}, {&output, 1});
    backend->EndStep(lane);
    return y;
  };
  const auto lone_weight = LoadOrDie(alone_.get(), matrix);
  const std::vector<float> want = run(alone_.get(), *lone_weight, Lane::kDecode, kManyRows);
  for (const int threads : {1, 2, 4}) {
    const auto backend = MakeOrDie(GetParam(), threads);
    const auto weight = LoadOrDie(backend.get(), matrix);
    const auto drive = [&](Lane lane, int32_t rows, int steps) {
      for (int i = 0; i < steps; ++i) {
        const std::vector<float> y = run(backend.get(), *weight, lane, rows);
        EXPECT_TRUE(SameBits(want.data(), y.data(), y.size())) << threads << " threads";
      }
    };
    std::thread prefill(drive, Lane::kPrefill, kManyRows, 40);
    drive(Lane::kDecode, 3, 200);
    prefill.join();
  }
}

}  // namespace
}  // namespace ebb::kernels

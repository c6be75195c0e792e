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
  constexpr int64_t kColumns = 96;
  constexpr int64_t kOutputs = 70;
  const std::vector<float> norm_weight = RandomFloats(&rng, kColumns, 1.0f);
  const RmsNorm norm{norm_weight.data(), 1e-5f};
  for (DType dtype : kAllDTypes) {
    const TestMatrix gate = RandomMatrix(&rng, dtype, kOutputs, kColumns);
    const TestMatrix up = RandomMatrix(&rng, dtype, kOutputs, kColumns);
    const std::vector<float> x = RandomFloats(&rng, kManyRows * kColumns, 2.0f);
    const auto run = [&](Backend* backend, Lane lane, int32_t first, int32_t rows, float* y,
                         float* swiglu) {
      const auto gate_weight = LoadOrDie(backend, gate);
      const auto up_weight = LoadOrDie(backend, up);
      Guarded<uint8_t> scratch(backend->ScratchBytes(rows, kColumns));
      const OpContext context{lane, scratch.span()};
      const LinearOutput output{gate_weight.get(), y, false};
      backend->Linear(context, x.data() + first * kColumns, rows, norm, {&output, 1});
      scratch.Poison();
      backend->SwiGlu(context, x.data() + first * kColumns, rows, norm, *gate_weight, *up_weight,
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

// A prompt in chunks of any sizes leaves the same keys, values and attention as token by token.
TEST_P(RowInvarianceTest, RopeAndAttentionOverChunkings) {
  base::Rng rng(TestSeed(22));
  constexpr int32_t kTokens = 300;
  constexpr int32_t kHeads = 6;
  constexpr int32_t kDims = 24;
  constexpr size_t kQ = kHeads * kDims;
  constexpr size_t kK = 2 * kDims;
  const TestKv::Shape shape{DType::kF16, 1, 2, kDims, 16, 4, 16};
  const std::vector<float> q = RandomFloats(&rng, kTokens * kQ, 2.0f);
  const std::vector<float> k = RandomFloats(&rng, kTokens * kK, 1.0f);
  const std::vector<float> v = RandomFloats(&rng, kTokens * kK, 1.0f);
  const std::vector<float> frequencies = {1.0f, 0.3f, 0.1f, 0.01f, 1e-4f};
  const std::vector<float> q_bias = RandomFloats(&rng, kQ, 1.0f);
  const std::vector<float> kv_bias = RandomFloats(&rng, kK, 1.0f);
  const std::vector<float> norm = RandomFloats(&rng, kDims, 2.0f);
  const HeadTransform transform{{frequencies}, q_bias.data(), kv_bias.data(), kv_bias.data(),
                                norm.data(),   norm.data(),   1e-6f};

  // Runs all tokens through one sequence, chunk after chunk; other sequences' rows stand before and
  // after when `crowded`.
  const auto run = [&](Backend* backend, bool crowded, const std::vector<int32_t>& chunks) {
    TestKv memory(shape);
    const std::vector<int32_t> table = memory.Table(&rng, kTokens);
    const std::vector<int32_t> other = memory.Table(&rng, 64);
    std::vector<float> out(kTokens * kQ);
    int32_t done = 0;
    for (const int32_t count : chunks) {
      TestRows batch;
      const int32_t before = crowded ? static_cast<int32_t>(rng.Between(1, 20)) : 0;
      if (before > 0) batch.Add(other, 0, before);
      batch.Add(table, done, count);
      const BatchRows rows = batch.rows();
      std::vector<float> q1(static_cast<size_t>(rows.row_count) * kQ, 0.5f);
      std::vector<float> k1(static_cast<size_t>(rows.row_count) * kK, 0.5f);
      std::vector<float> v1 = k1;
      std::copy_n(q.begin() + done * kQ, count * kQ, q1.begin() + before * kQ);
      std::copy_n(k.begin() + done * kK, count * kK, k1.begin() + before * kK);
      std::copy_n(v.begin() + done * kK, count * kK, v1.begin() + before * kK);
      Guarded<uint8_t> scratch(backend->ScratchBytes(rows.row_count, kQ));
      Guarded<float> result(static_cast<size_t>(rows.row_count) * kQ);
      const OpContext context{count > 1 ? Lane::kPrefill : Lane::kDecode, scratch.span()};
      backend->BeginStep(context.lane);
      backend->RopeAndStore(context, rows, transform, 0, kHeads, q1.data(), k1.data(), v1.data(),
                            memory.kv());
      backend->Attention(context, rows, 0, kHeads, q1.data(), memory.kv(), result.data());
      backend->EndStep(context.lane);
      std::copy_n(result.data() + before * kQ, count * kQ, out.begin() + done * kQ);
      done += count;
    }
    EXPECT_EQ(done, kTokens);
    return out;
  };

  const std::vector<float> want = run(alone_.get(), false, std::vector<int32_t>(kTokens, 1));
  for (const int threads : {1, 2, 3, 4}) {
    const auto backend = MakeOrDie(GetParam(), threads);
    EXPECT_TRUE(SameBits(want.data(), run(backend.get(), false, {kTokens}).data(), want.size()));
    for (int i = 0; i < 8; ++i) {
      std::vector<int32_t> chunks;
      for (int32_t left = kTokens; left > 0; left -= chunks.back()) {
        const int64_t most = i < 4 ? 17 : 130;
        chunks.push_back(std::min(left, static_cast<int32_t>(rng.Between(1, most))));
      }
      const std::vector<float> got = run(backend.get(), i % 2 == 1, chunks);
      ASSERT_TRUE(SameBits(want.data(), got.data(), want.size()))
          << threads << " threads, chunking " << i;
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

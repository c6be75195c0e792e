// What happens to heads (bias, norm, rotation, the cache) and attention over them, on every fast
// path that this host can run, against the reference.
#include <cmath>

#include "tests/kernels/kernel_test_util.h"

namespace ebb::kernels {
namespace {

constexpr double kFloatEpsilon = 0x1p-24;

class AttentionTest : public ::testing::TestWithParam<std::string> {
 protected:
  AttentionTest() : backend_(MakeOrDie(GetParam(), 2)), reference_(MakeOrDie("reference", 1)) {}

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Backend> reference_;
};

INSTANTIATE_TEST_SUITE_P(Paths, AttentionTest, ::testing::ValuesIn(FastPaths()));

struct KvCase {
  TestKv::Shape shape;
  int32_t heads;
  int32_t pairs;
};

std::vector<KvCase> KvCases() {
  std::vector<KvCase> cases;
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    cases.push_back({{dtype, 2, 3, 64, 16, 4, 16}, 9, 32});
    cases.push_back({{dtype, 1, 1, 40, 8, 3, 30}, 5, 16});  // Odd head size, part of it turned.
    cases.push_back({{dtype, 3, 2, 6, 24, 2, 24}, 2, 3});   // Blocks that are no whole vectors.
  }
  // More heads a key than a tile has queries.
  cases.push_back({{DType::kF16, 1, 1, 72, 32, 2, 16}, 26, 36});
  return cases;
}

// Biases and norms of random size, of which `parts` (1: biases, 2: norms) are there.
struct TestTransform {
  TestTransform(base::Rng* rng, const KvCase& test, int parts)
      : q_bias(RandomFloats(rng, static_cast<size_t>(test.heads * test.shape.head_dim), 1.0f)),
        k_bias(RandomFloats(rng, KvWidth(test), 1.0f)),
        v_bias(RandomFloats(rng, KvWidth(test), 1.0f)),
        q_norm(RandomFloats(rng, static_cast<size_t>(test.shape.head_dim), 2.0f)),
        k_norm(RandomFloats(rng, static_cast<size_t>(test.shape.head_dim), 2.0f)) {
    for (int32_t i = 0; i < test.pairs; ++i) {
      frequencies.push_back(
          static_cast<float>(std::pow(1e4, -static_cast<double>(i) / test.pairs)));
    }
    // As at position 290,000: the reduction of large angles.
    frequencies[0] = 1000.0f;
    transform.rope.frequencies = frequencies;
    if ((parts & 1) != 0) {
      transform.q_bias = q_bias.data();
      transform.k_bias = k_bias.data();
      transform.v_bias = v_bias.data();
    }
    if ((parts & 2) != 0) {
      transform.q_norm = q_norm.data();
      transform.k_norm = k_norm.data();
      transform.norm_epsilon = 1e-5f;
    }
  }
  static size_t KvWidth(const KvCase& test) {
    return static_cast<size_t>(test.shape.kv_heads * test.shape.head_dim);
  }

  std::vector<float> q_bias, k_bias, v_bias, q_norm, k_norm, frequencies;
  HeadTransform transform;
};

TEST_P(AttentionTest, RopeAndStoreAgreesWithTheReference) {
  base::Rng rng(TestSeed(6));
  for (const KvCase& test : KvCases()) {
    for (int parts = 0; parts < 4; ++parts) {
      SCOPED_TRACE(testing::Message() << TraitsOf(test.shape.dtype).name << " dims "
                                      << test.shape.head_dim << " parts " << parts);
      const int32_t dims = test.shape.head_dim;
      TestKv fast(test.shape);
      TestKv exact(test.shape);
      const std::vector<int32_t> table = fast.Table(&rng, 320);
      TestRows batch;
      // A far position only if its block is in the table: the angle is what matters.
      batch.Add(table, 0, 1);
      batch.Add(table, 290, 20);
      const BatchRows rows = batch.rows();
      const TestTransform heads(&rng, test, parts);
      const auto q_size = static_cast<size_t>(rows.row_count * test.heads * dims);
      const auto k_size = static_cast<size_t>(rows.row_count) * TestTransform::KvWidth(test);
      const std::vector<float> q = RandomFloats(&rng, q_size, 4.0f);
      const std::vector<float> k = RandomFloats(&rng, k_size, 4.0f);
      const std::vector<float> v = RandomFloats(&rng, k_size, 4.0f);
      std::vector<float> q1 = q, q2 = q, k1 = k, k2 = k;
      const int32_t layer = test.shape.layers - 1;
      backend_->RopeAndStore({Lane::kPrefill, {}}, rows, heads.transform, layer, test.heads,
                             q1.data(), k1.data(), v.data(), fast.kv());
      reference_->RopeAndStore({Lane::kPrefill, {}}, rows, heads.transform, layer, test.heads,
                               q2.data(), k2.data(), v.data(), exact.kv());
      // cos and sin are rounded to float, then a product and a fused one: 4 * 2^-24 of |a| + |b|.
      // A biased element is at most 5, rounded once more. A normed one is at most
      // 2 * sqrt(head_dim): the bias's rounding and three of the norm stay below 4 more.
      const double largest = (parts & 2) != 0 ? 2 * std::sqrt(dims) : (parts & 1) != 0 ? 5 : 4;
      const double bound = (parts == 0 ? 4 : 8) * kFloatEpsilon * 2 * largest;
      for (size_t i = 0; i < q_size; ++i) ASSERT_NEAR(q1[i], q2[i], bound) << "q " << i;
      for (size_t i = 0; i < k_size; ++i) ASSERT_NEAR(k1[i], k2[i], bound) << "k " << i;
      // What is stored: the same places, and there the rounding of k1 and v. Elsewhere the poison.
      TestKv want(test.shape);
      HeadTransform still;
      still.v_bias = heads.transform.v_bias;
      std::vector<float> q3 = q1;
      std::vector<float> k3 = k1;
      reference_->RopeAndStore({Lane::kPrefill, {}}, rows, still, layer, test.heads, q3.data(),
                               k3.data(), v.data(), want.kv());
      EXPECT_TRUE(SameBits(q1.data(), q3.data(), q_size));
      EXPECT_EQ(fast.bytes(), want.bytes());
    }
  }
}

// The reference itself, on numbers that a reader can follow: a head of two numbers at position 1
// that turns by a right angle.
TEST(HeadTransformTest, AddsTheBiasThenNormsThenTurns) {
  const auto reference = MakeOrDie("reference", 1);
  TestKv memory(TestKv::Shape{DType::kF32, 1, 1, 2, 16, 1, 1});
  base::Rng rng(TestSeed(13));
  const std::vector<int32_t> table = memory.Table(&rng, 16);
  TestRows batch;
  batch.Add(table, 1, 1);
  const std::vector<float> right_angle = {1.57079637f};
  const float q_bias[] = {2, 0}, k_bias[] = {0, 3}, v_bias[] = {5, 7};
  const float q_norm[] = {10, 100}, k_norm[] = {1, 10};
  HeadTransform transform{{right_angle}, q_bias, k_bias, v_bias, q_norm, k_norm, 0.5f};
  std::vector<float> q = {-1, 1}, k = {2, -1};
  const std::vector<float> v = {1, 1};
  reference->RopeAndStore({}, batch.rows(), transform, 0, 1, q.data(), k.data(), v.data(),
                          memory.kv());
  // q: (1, 1) has a mean square of 1. k: (2, 2) has one of 4.
  EXPECT_NEAR(q[0], -100 / std::sqrt(1.5), 1e-4);
  EXPECT_NEAR(q[1], 10 / std::sqrt(1.5), 1e-4);
  EXPECT_NEAR(k[0], -10 * 2 / std::sqrt(4.5), 1e-4);
  EXPECT_NEAR(k[1], 2 / std::sqrt(4.5), 1e-4);
  const auto* values = reinterpret_cast<const float*>(memory.kv().Values(0, table[0]));
  EXPECT_EQ(values[2], 6);
  EXPECT_EQ(values[3], 8);
}

TEST_P(AttentionTest, AgreesWithTheReference) {
  base::Rng rng(TestSeed(7));
  for (const KvCase& test : KvCases()) {
    const int32_t dims = test.shape.head_dim;
    const auto kv_size = static_cast<size_t>(test.shape.kv_heads * dims);
    const auto q_size = static_cast<size_t>(test.heads * dims);
    TestKv memory(test.shape);
    const int32_t layer = test.shape.layers - 1;
    // Lengths on both sides of a split, a block and a vector.
    const int32_t lengths[] = {1, 16, 30, 257, 310};
    std::vector<std::vector<int32_t>> tables;
    TestRows batch;
    for (size_t s = 0; s < 5; ++s) {
      // The last one would not fit beside the others in the small shapes.
      tables.push_back(memory.Table(&rng, lengths[s]));
      TestRows fill;
      fill.Add(tables.back(), 0, lengths[s]);
      std::vector<float> q(q_size * lengths[s]);
      std::vector<float> k = RandomFloats(&rng, kv_size * lengths[s], 1.0f);
      const std::vector<float> v = RandomFloats(&rng, kv_size * lengths[s], 1.0f);
      reference_->RopeAndStore({}, fill.rows(), {}, layer, test.heads, q.data(), k.data(), v.data(),
                               memory.kv());
    }
    for (size_t s = 0; s < 5; ++s) {
      const int32_t count = s == 4 ? 26 : s == 3 ? 5 : 1;
      batch.Add(tables[s], lengths[s] - count, count);
    }
    const BatchRows rows = batch.rows();
    const std::vector<float> q = RandomFloats(&rng, q_size * rows.row_count, 2.0f);
    Guarded<uint8_t> scratch(backend_->ScratchBytes(rows.row_count, test.heads * dims));
    Guarded<float> out(q.size());
    Guarded<float> want(q.size());
    backend_->Attention({Lane::kPrefill, scratch.span()}, rows, layer, test.heads, q.data(),
                        memory.kv(), out.data());
    reference_->Attention({}, rows, layer, test.heads, q.data(), memory.kv(), want.data());
    // A score sums head_dim products of at most 2 * 1, then scaled: it errs by at most
    // (head_dim + 2) * 2^-24 * 2 * sqrt(head_dim), which a weight does relatively, once in the
    // weight and once in the total; exp by 3e-7 likewise, also in two merges; the values' chain has
    // at most 256 + 2 steps over terms that sum to at most 1, and so has the total's.
    const double score = (dims + 2) * kFloatEpsilon * 2 * std::sqrt(dims);
    const double bound = 2 * score + 4 * 3e-7 + 2 * 260 * kFloatEpsilon;
    for (size_t i = 0; i < q.size(); ++i) {
      ASSERT_NEAR(out[i], want[i], bound)
          << TraitsOf(test.shape.dtype).name << " dims " << dims << " element " << i;
    }
  }
}

// Huge scores: exp must neither overflow nor lose the largest.
TEST_P(AttentionTest, FollowsTheLargestScore) {
  TestKv::Shape shape{DType::kF32, 1, 1, 32, 16, 4, 16};
  TestKv memory(shape);
  base::Rng rng(TestSeed(8));
  const std::vector<int32_t> table = memory.Table(&rng, 600);
  constexpr int32_t kPeaks[] = {0, 255, 256, 400, 599};
  for (const int32_t peak : kPeaks) {
    std::vector<float> k(600 * 32);
    std::vector<float> v(600 * 32);
    for (int32_t p = 0; p < 600; ++p) {
      for (int32_t d = 0; d < 32; ++d) {
        k[p * 32 + d] = p == peak ? 1e4f : -1e4f;
        v[p * 32 + d] = static_cast<float>(p);
      }
    }
    std::vector<float> q(600 * 32);
    TestRows fill;
    fill.Add(table, 0, 600);
    backend_->RopeAndStore({}, fill.rows(), {}, 0, 1, q.data(), k.data(), v.data(), memory.kv());
    std::vector<float> ones(32, 1e4f);
    TestRows last;
    last.Add(table, 599, 1);
    Guarded<uint8_t> scratch(backend_->ScratchBytes(1, 32));
    Guarded<float> out(32);
    backend_->Attention({Lane::kDecode, scratch.span()}, last.rows(), 0, 1, ones.data(),
                        memory.kv(), out.data());
    // The others' weights are exp(-87.3) = 1.2e-38 at most: see kExpLow in vec_avx2.inc.
    for (size_t d = 0; d < 32; ++d) EXPECT_NEAR(out[d], static_cast<float>(peak), 1e-30);
  }
}

}  // namespace
}  // namespace ebb::kernels

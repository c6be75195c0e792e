// Adjusted logits are those of model/logit_adjustments.h, bit for bit.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "model/logit_adjustments.h"
#include "tests/kernels/cuda/op_fixture.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

using Adjustments = std::vector<EbbCudaLogitAdjustment>;

// Compared by bits: -0 is not 0, and the NaN of what is not written equals itself.
std::vector<uint32_t> BitsOf(const std::vector<float>& values) {
  std::vector<uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

class AdjustLogitsTest : public OpFixture {
 protected:
  // Adjusts rows of logits; row_adjustments[i] are those of rows[i].
  void Run(std::vector<float> logits, int32_t vocabulary, const std::vector<int32_t>& rows,
           const std::vector<Adjustments>& row_adjustments) {
    std::vector<EbbCudaAdjustedRow> places;
    Adjustments all;
    std::vector<float> before;
    std::vector<float> adjusted = logits;
    int32_t count_max = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto count = static_cast<int32_t>(row_adjustments[i].size());
      places.push_back({static_cast<int64_t>(all.size()), count, rows[i]});
      count_max = std::max(count_max, count);
      for (const EbbCudaLogitAdjustment& by : row_adjustments[i]) {
        all.push_back(by);
        uint32_t unwritten = 0xFFFFFFFF;
        before.emplace_back();
        std::memcpy(&before.back(), &unwritten, sizeof unwritten);
        if (by.token_id < 0 || by.token_id >= vocabulary) continue;
        float& logit = adjusted[static_cast<size_t>(rows[i] * vocabulary + by.token_id)];
        before.back() = logit;
        logit = model::Adjusted(logit, {by.token_id, by.bias, by.repetition, by.penalty});
      }
    }
    const auto device_logits = Upload(logits);
    const auto device_places = Upload(places);
    const auto device_all = Upload(all);
    const auto device_before = Poisoned<float>(all.size());
    EbbCudaAdjustLogits op = {};
    op.logits = device_logits.data();
    op.rows = device_places.data();
    op.adjustments = device_all.data();
    op.before = device_before.data();
    op.row_count = static_cast<int32_t>(rows.size());
    op.count_max = count_max;
    op.vocabulary = vocabulary;
    Expect(api()->adjust_logits(stream(), &op));
    EXPECT_EQ(BitsOf(Download(device_logits)), BitsOf(adjusted));
    EXPECT_EQ(BitsOf(Download(device_before)), BitsOf(before));
  }
};

// So many adjustments of different tokens, some outside the vocabulary.
Adjustments RandomAdjustments(base::Rng* rng, int32_t vocabulary, int64_t count) {
  Adjustments adjustments;
  int64_t id = rng->Between(-3, 0);
  for (int64_t i = 0; i < count; ++i, id += rng->Between(1, 4)) {
    EbbCudaLogitAdjustment by = {};
    by.token_id = i == 0 ? vocabulary + 5 : static_cast<int32_t>(id);
    by.bias = rng->Chance(0.5) ? 0 : static_cast<float>(rng->Unit() * 200 - 100);
    by.repetition = rng->Chance(0.3) ? 1 : static_cast<float>(rng->Unit() * 3 + 0.01);
    by.penalty = rng->Chance(0.3) ? 0 : static_cast<float>(rng->Unit() * 8 - 4);
    if (by.token_id < vocabulary || i == 0) adjustments.push_back(by);
  }
  return adjustments;
}

TEST_F(AdjustLogitsTest, AreTheHostsBitForBit) {
  const uint64_t seed = TestSeed(21);
  SCOPED_TRACE(testing::Message() << "replay with SEED=" << seed);
  base::Rng rng(seed);
  for (const int32_t vocabulary : {1, 31, 1000}) {
    std::vector<float> logits;
    constexpr int kRows = 6;
    for (int i = 0; i < kRows * vocabulary; ++i) {
      logits.push_back(static_cast<float>(rng.Unit() * 40 - 20));
      if (rng.Chance(0.05)) logits.back() = rng.Chance(0.5) ? -0.0f : -INFINITY;
      if (rng.Chance(0.02)) logits.back() = rng.Chance(0.5) ? 1e38f : 1e-38f;
    }
    std::vector<Adjustments> of_rows;
    for (const int64_t count : {1, 700, 0, 40}) {
      of_rows.push_back(RandomAdjustments(&rng, vocabulary, count));
    }
    Run(logits, vocabulary, {4, 0, 5, 2}, of_rows);
  }
}

TEST_F(AdjustLogitsTest, TellsWhatItDoesNotServe) {
  const auto logits = Poisoned<float>(8);
  const auto rows = Poisoned<EbbCudaAdjustedRow>(1);
  const auto adjustments = Poisoned<EbbCudaLogitAdjustment>(2);
  const auto before = Poisoned<float>(2);
  const EbbCudaAdjustLogits good = {
      logits.data(), rows.data(), adjustments.data(), before.data(), 1, 1, 8};
  EbbCudaAdjustLogits op = good;
  op.row_count = -1;
  ExpectInvalid(api()->adjust_logits(stream(), &op), "rows");
  op = good;
  op.row_count = 65536;
  ExpectInvalid(api()->adjust_logits(stream(), &op), "rows");
  op = good;
  op.count_max = -1;
  ExpectInvalid(api()->adjust_logits(stream(), &op), "count");
  op = good;
  op.vocabulary = 0;
  ExpectInvalid(api()->adjust_logits(stream(), &op), "vocabulary");
  op = good;
  op.before = nullptr;
  ExpectInvalid(api()->adjust_logits(stream(), &op), "null");
  op = good;
  op.adjustments = reinterpret_cast<const EbbCudaLogitAdjustment*>(before.data() + 1);
  ExpectInvalid(api()->adjust_logits(stream(), &op), "16 bytes");
  ExpectInvalid(api()->adjust_logits(stream(), nullptr), "null");
  op = {};
  op.vocabulary = 8;
  Expect(api()->adjust_logits(stream(), &op));
}

}  // namespace
}  // namespace ebb::kernels::cuda

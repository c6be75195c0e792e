// The formulas against transformers are tests/engine/sequence_test.cc's; here is what is held.

#include "model/logit_adjustments.h"

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/model/seed.h"

namespace ebb::model {
namespace {

SamplingParams Penalties(double repetition, double presence, double frequency) {
  SamplingParams params;
  params.repetition_penalty = repetition;
  params.presence_penalty = presence;
  params.frequency_penalty = frequency;
  return params;
}

TEST(LogitAdjustmentsTest, NothingIsNeededForDefaults) {
  EXPECT_FALSE(LogitAdjustments::Needed({}, {}));
  EXPECT_TRUE(LogitAdjustments::Needed(Penalties(1.1, 0, 0), {}));
  EXPECT_TRUE(LogitAdjustments::Needed(Penalties(1, -0.5, 0), {}));
  EXPECT_TRUE(LogitAdjustments::Needed(Penalties(1, 0, 0.5), {}));
  EXPECT_TRUE(LogitAdjustments::Needed({}, {{3, 1.0f}}));
}

TEST(LogitAdjustmentsTest, BiasThenRepetitionThenPresenceAndFrequency) {
  LogitAdjustments adjustments(Penalties(2, 0.5, 0.25), {{5, 1.0f}}, {5, 6});
  EXPECT_EQ(adjustments.Find(7), -1);
  for (const int32_t id : {5, 7, 5}) adjustments.Add(id);
  const auto of = [&](int32_t id) { return adjustments.entries()[adjustments.Find(id)]; };
  EXPECT_EQ(adjustments.entries().size(), 3u);
  EXPECT_EQ(Adjusted(3, of(5)), (3 + 1) / 2.0f - 1);  // In both, twice in the answer.
  EXPECT_EQ(Adjusted(-3, of(5)), (-3 + 1) * 2.0f - 1);
  EXPECT_EQ(Adjusted(-1, of(5)), -1);           // 0 is neither divided nor multiplied.
  EXPECT_EQ(Adjusted(3, of(6)), 1.5f);          // In the prompt alone.
  EXPECT_EQ(Adjusted(3, of(7)), 1.5f - 0.75f);  // Once, in the answer alone.
}

// A long prompt costs nothing where only the answer counts, and biases alone hold nothing else.
TEST(LogitAdjustmentsTest, OnlyWhatIsAdjustedIsHeld) {
  const std::vector<int32_t> prompt = {1, 2, 3, 2};
  LogitAdjustments answer_alone(Penalties(1, 0.5, 0), {}, prompt);
  EXPECT_TRUE(answer_alone.entries().empty());
  answer_alone.Add(2);
  EXPECT_EQ(answer_alone.entries().size(), 1u);
  LogitAdjustments biases_alone({}, {{9, 1.0f}}, prompt);
  biases_alone.Add(2);
  EXPECT_EQ(biases_alone.entries().size(), 1u);
}

// Against the definition, over histories with many repeats; however it is asked on the way.
TEST(LogitAdjustmentsTest, FollowsThePromptAndTheAnswer) {
  const uint64_t seed = TestSeed(3);
  SCOPED_TRACE(testing::Message() << "replay with SEED=" << seed);
  base::Rng rng(seed);
  for (int run = 0; run < 200; ++run) {
    const int64_t few = rng.Between(1, 30);
    const auto some = [&](int64_t most) {
      std::vector<int32_t> ids;
      for (int64_t n = rng.Between(0, most); n > 0; --n) {
        ids.push_back(static_cast<int32_t>(rng.Between(0, few)));
      }
      return ids;
    };
    const SamplingParams params =
        Penalties(rng.Chance(0.5) ? 1 : 1.3, rng.Chance(0.5) ? 0 : 0.7, rng.Chance(0.5) ? 0 : -0.1);
    const std::vector<int32_t> prompt = some(40), answer = some(40);
    std::vector<LogitBias> biases;
    std::map<int32_t, float> bias_of;
    for (const int32_t id : some(3)) {
      if (bias_of.try_emplace(id, 0.5f * static_cast<float>(id)).second) {
        biases.push_back({id, bias_of[id]});
      }
    }
    LogitAdjustments adjustments(params, biases, prompt);
    for (const int32_t id : answer) adjustments.Add(id);

    const std::set<int32_t> in_prompt(prompt.begin(), prompt.end());
    std::map<int32_t, int> counts;
    for (const int32_t id : answer) ++counts[id];
    std::set<int32_t> seen;
    for (size_t i = 0; i < adjustments.entries().size(); ++i) {
      const LogitAdjustment& entry = adjustments.entries()[i];
      EXPECT_TRUE(seen.insert(entry.token_id).second) << "twice";
      EXPECT_EQ(adjustments.Find(entry.token_id), static_cast<int64_t>(i));
    }
    for (int32_t id = 0; id <= few; ++id) {
      float x = 2.5f + (bias_of.count(id) > 0 ? bias_of[id] : 0);
      if (in_prompt.count(id) > 0 || counts.count(id) > 0) {
        const auto repetition = static_cast<float>(params.repetition_penalty);
        x = x > 0 ? x / repetition : x * repetition;
      }
      if (counts.count(id) > 0) {
        x -= static_cast<float>(params.presence_penalty + params.frequency_penalty * counts[id]);
      }
      const int64_t at = adjustments.Find(id);
      EXPECT_EQ(at < 0 ? 2.5f : Adjusted(2.5f, adjustments.entries()[at]), x) << "id " << id;
    }
  }
}

}  // namespace
}  // namespace ebb::model

// What a sequence's penalties, biases and bad words make of logits is what transformers makes of
// them; see tests/golden/make_sampling_golden.py.

#include "engine/sequence.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "memory/accounts.h"
#include "memory/kv_geometry.h"
#include "model/logit_adjustments.h"
#include "tests/model/golden.h"

namespace ebb::engine {
namespace {

// Sequences that hold no blocks.
class SequenceTest : public testing::Test {
 protected:
  std::unique_ptr<Sequence> Make(Request request) {
    auto owner = std::make_shared<LiveRequest>(1, std::move(request), nullptr, absl::UnixEpoch(),
                                               absl::UnixEpoch());
    owner->adjustments = AdjustmentsOf(owner->request);
    return std::make_unique<Sequence>(
        owner, 0, absl::Seconds(1),
        memory::BlockTable(geometry_, nullptr, memory::AccountId::kPrefill));
  }
  std::unique_ptr<Sequence> WithWords(std::vector<std::vector<int32_t>> words) {
    Request request;
    request.prompt = {1, 2, 3};
    request.rules.bad_words = std::move(words);
    return Make(std::move(request));
  }

  const memory::KvGeometry geometry_ = *memory::KvGeometry::Create({1, 4, 64}, 4096, 4);
};

std::vector<float> FloatsOf(const nlohmann::json& list) {
  std::vector<float> floats;
  for (const auto& item : list) {
    floats.push_back(item.is_null() ? -std::numeric_limits<float>::infinity() : item.get<float>());
  }
  return floats;
}

TEST_F(SequenceTest, LogitsAreThoseOfTransformers) {
  const auto cases = model::ReadGoldenLines("tests/golden/logit_adjustments.jsonl");
  ASSERT_GE(cases.size(), 100u);
  for (const auto& item : cases) {
    Request request;
    request.prompt = item["prompt"].get<std::vector<int32_t>>();
    request.sampling.repetition_penalty = item["repetition_penalty"];
    request.sampling.presence_penalty = item["presence_penalty"];
    request.sampling.frequency_penalty = item["frequency_penalty"];
    for (const auto& [id, bias] : item["logit_bias"].items()) {
      request.rules.logit_bias.push_back({std::stoi(id), bias.get<float>()});
    }
    request.rules.bad_words = item["bad_words"].get<std::vector<std::vector<int32_t>>>();
    const auto sequence = Make(std::move(request));
    for (const auto& id : item["answer"]) sequence->Append(id.get<int32_t>());

    std::vector<float> logits = FloatsOf(item["logits"]);
    if (sequence->adjustments != nullptr) {
      for (const model::LogitAdjustment& by : sequence->adjustments->entries()) {
        logits[by.token_id] = model::Adjusted(logits[by.token_id], by);
      }
    }
    for (const int32_t id : sequence->BannedIds({})) {
      logits[id] = -std::numeric_limits<float>::infinity();
    }
    const std::vector<float> wanted = FloatsOf(item["adjusted"]);
    ASSERT_EQ(logits.size(), wanted.size());
    for (size_t i = 0; i < logits.size(); ++i) {
      if (std::isinf(wanted[i])) {
        EXPECT_EQ(logits[i], wanted[i]) << "token " << i << " of " << item.dump();
        continue;
      }
      // The two penalties of the answer are taken off together here, one after the other there:
      // three roundings, of numbers that are at most 64 larger than the result.
      EXPECT_NEAR(logits[i], wanted[i], 3 * 0x1p-24f * (64 + std::abs(wanted[i])))
          << "token " << i << " of " << item.dump();
    }
  }
}

TEST_F(SequenceTest, NothingIsAdjustedOrBannedUnlessAsked) {
  Request request;
  request.prompt = {1, 2};
  const auto sequence = Make(std::move(request));
  EXPECT_EQ(sequence->adjustments, nullptr);
  EXPECT_TRUE(sequence->BannedIds({2}).empty());
}

TEST_F(SequenceTest, ABadWordIsBannedWhereTheAnswerHasBegunIt) {
  const auto sequence = WithWords({{5}, {2, 3, 7}, {8, 8, 8}, {6, 5}});
  // Not by the prompt, which ends with 2, 3.
  EXPECT_EQ(sequence->BannedIds({}), (std::vector<int32_t>{5}));
  sequence->Append(3);
  EXPECT_EQ(sequence->BannedIds({}), (std::vector<int32_t>{5}));
  sequence->Append(2);
  sequence->Append(3);
  EXPECT_EQ(sequence->BannedIds({}), (std::vector<int32_t>{5, 7}));
  sequence->Append(8);
  EXPECT_EQ(sequence->BannedIds({}), (std::vector<int32_t>{5}));
  sequence->Append(8);
  EXPECT_EQ(sequence->BannedIds({}), (std::vector<int32_t>{5, 8}));
}

TEST_F(SequenceTest, EndsAreBannedBesideBadWordsUntilMinTokens) {
  Request request;
  request.prompt = {1};
  request.stopping.min_tokens = 1;
  request.stopping.stop_token_ids = {4};
  request.rules.bad_words = {{9}};
  const auto sequence = Make(std::move(request));
  EXPECT_EQ(sequence->BannedIds({2}), (std::vector<int32_t>{4, 2, 9}));
  sequence->Append(3);
  EXPECT_EQ(sequence->BannedIds({2}), (std::vector<int32_t>{9}));
}

}  // namespace
}  // namespace ebb::engine

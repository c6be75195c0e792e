#include "server/answer.h"

#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "server/text_codec_fake.h"
#include "tests/server/test_seed.h"

namespace ebb::server {
namespace {

using engine::FinishReason;
using engine::SinkAnswer;

Answer NewAnswer(AnswerOptions options) {
  return Answer(options, std::make_unique<FakeTextCodec::Decoder>());
}

engine::Token TokenOf(char byte, int32_t index) {
  engine::Token token;
  token.id = static_cast<uint8_t>(byte);
  token.index = index;
  return token;
}

engine::Finish FinishOf(FinishReason reason) {
  engine::Finish finish;
  finish.reason = reason;
  finish.first_token_time = absl::InfiniteDuration();
  return finish;
}

std::string TakeText(Answer* answer) {
  v1::Delta delta;
  return answer->TakeDelta(&delta) ? delta.text() : "";
}

// Behind the prompt's log-probabilities, once, and never taken for a stop.
TEST(AnswerTest, TheEchoGoesBeforeTheAnswer) {
  AnswerOptions options;
  options.echo = "STOP it ";
  options.stop = {"STOP"};
  Answer answer = NewAnswer(options);
  EXPECT_EQ(TakeText(&answer), "");
  answer.AddPromptLogprobs({engine::PromptLogprob()});
  EXPECT_EQ(TakeText(&answer), "");
  v1::PromptLogprobs logprobs;
  EXPECT_TRUE(answer.TakePromptLogprobs(&logprobs));
  answer.AddToken(TokenOf('a', 0));
  EXPECT_EQ(TakeText(&answer), "STOP it a");
  answer.AddToken(TokenOf('b', 1));
  answer.End(FinishOf(FinishReason::kLength));
  EXPECT_EQ(TakeText(&answer), "b");

  Answer empty = NewAnswer(options);
  empty.End(FinishOf(FinishReason::kStop));
  EXPECT_EQ(TakeText(&empty), "STOP it ");
  EXPECT_FALSE(empty.Finished().has_stop_text());

  engine::Finish failed = FinishOf(FinishReason::kError);
  failed.status = absl::InternalError("x");
  Answer none = NewAnswer(options);
  none.End(failed);
  EXPECT_EQ(TakeText(&none), "");
}

TEST(AnswerTest, HoldsHalfACharacterAndHalfAStop) {
  AnswerOptions options;
  options.stop = {"STOP"};
  Answer answer = NewAnswer(options);
  int32_t index = 0;
  EXPECT_EQ(answer.AddToken(TokenOf('\xC3', index++)), SinkAnswer::kContinue);
  EXPECT_EQ(TakeText(&answer), "");
  answer.AddToken(TokenOf('\xA9', index++));
  EXPECT_EQ(TakeText(&answer), "\xC3\xA9");
  for (const char c : std::string("STO")) {
    EXPECT_EQ(answer.AddToken(TokenOf(c, index++)), SinkAnswer::kContinue);
    EXPECT_EQ(TakeText(&answer), "");
  }
  EXPECT_EQ(answer.AddToken(TokenOf('P', index++)), SinkAnswer::kStop);
  answer.End(FinishOf(FinishReason::kStop));
  EXPECT_EQ(TakeText(&answer), "");
  EXPECT_EQ(answer.Finished().stop_text(), "STOP");
  EXPECT_EQ(answer.Finished().finish_reason(), v1::FINISH_REASON_STOP);
}

TEST(AnswerTest, EndGivesWhatWasHeldAndMarksACutCharacter) {
  AnswerOptions options;
  options.stop = {"no\xEF\xBF\xBDthing"};
  Answer answer = NewAnswer(options);
  answer.AddToken(TokenOf('n', 0));
  answer.AddToken(TokenOf('o', 1));
  answer.AddToken(TokenOf('\xE2', 2));
  EXPECT_EQ(TakeText(&answer), "");
  answer.End(FinishOf(FinishReason::kLength));
  EXPECT_EQ(TakeText(&answer), "no\xEF\xBF\xBD");
  EXPECT_EQ(answer.Finished().finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(answer.Finished().stop_match_case(), v1::Finished::STOP_MATCH_NOT_SET);
  EXPECT_FALSE(answer.Finished().timings().has_first_token_seconds());
}

TEST(AnswerTest, AStopOnTheLastTokenIsAStop) {
  AnswerOptions options;
  options.stop = {"x"};
  Answer answer = NewAnswer(options);
  EXPECT_EQ(answer.AddToken(TokenOf('x', 0)), SinkAnswer::kStop);
  answer.End(FinishOf(FinishReason::kLength));
  EXPECT_EQ(answer.Finished().finish_reason(), v1::FINISH_REASON_STOP);
}

TEST(AnswerTest, StopStringsWaitForMinTokens) {
  AnswerOptions options;
  options.stop = {"a"};
  options.min_tokens = 3;
  Answer answer = NewAnswer(options);
  EXPECT_EQ(answer.AddToken(TokenOf('a', 0)), SinkAnswer::kContinue);
  EXPECT_EQ(answer.AddToken(TokenOf('a', 1)), SinkAnswer::kContinue);
  EXPECT_EQ(answer.AddToken(TokenOf('a', 2)), SinkAnswer::kStop);
  answer.End(FinishOf(FinishReason::kStop));
  EXPECT_EQ(TakeText(&answer), "aa");
}

TEST(AnswerTest, GivesOnlyWhatWasAskedFor) {
  AnswerOptions options;
  options.return_text = false;
  Answer answer = NewAnswer(options);
  answer.AddToken(TokenOf('a', 0));
  v1::Delta delta;
  EXPECT_FALSE(answer.TakeDelta(&delta));

  options.return_token_ids = true;
  options.return_logprobs = true;
  Answer other = NewAnswer(options);
  engine::Token token = TokenOf('a', 0);
  token.logprob = -1.5f;
  token.top = {{97, -1.5f}, {98, -2.0f}};
  other.AddToken(token);
  ASSERT_TRUE(other.TakeDelta(&delta));
  EXPECT_FALSE(delta.has_text());
  ASSERT_EQ(delta.token_ids_size(), 1);
  EXPECT_EQ(delta.token_ids(0), 97);
  ASSERT_EQ(delta.logprobs_size(), 1);
  EXPECT_EQ(delta.logprobs(0).logprob(), -1.5f);
  ASSERT_EQ(delta.logprobs(0).top_size(), 2);
  EXPECT_EQ(delta.logprobs(0).top(1).token_id(), 98);
  EXPECT_FALSE(other.TakeDelta(&delta));
}

TEST(AnswerTest, AFailedAnswerFlushesNothing) {
  AnswerOptions options;
  options.stop = {"ab"};
  Answer answer = NewAnswer(options);
  answer.AddToken(TokenOf('a', 0));
  engine::Finish finish = FinishOf(FinishReason::kError);
  finish.status = absl::InternalError("broken");
  answer.End(finish);
  EXPECT_EQ(TakeText(&answer), "");
  EXPECT_EQ(answer.status().message(), "broken");
}

// However often it is taken, the joined text is the same, valid at each cut, and never longer than
// what comes before the stop.
TEST(AnswerTest, TakingOftenChangesNothing) {
  const uint64_t seed = tests::TestSeed();
  const std::vector<std::string> pieces = {"a", "b", "\xC3\xA9", "\xE2\x82\xAC",
                                           "\xF0\x9F\x99\x82"};
  for (uint64_t round = 0; round < 2'000; ++round) {
    SCOPED_TRACE(testing::Message() << "SEED=" << seed << " round " << round);
    base::Rng rng(base::RandomBits(seed, round));
    const auto random_text = [&](int64_t count) {
      std::string text;
      while (count-- > 0) text += pieces[static_cast<size_t>(rng.Between(0, 4))];
      return text;
    };
    AnswerOptions options;
    for (int64_t n = rng.Between(0, 3); n > 0; --n) {
      options.stop.push_back(random_text(rng.Between(1, 3)));
    }
    const std::string text = random_text(rng.Between(0, 20));
    Answer whole = NewAnswer(options);
    Answer often = NewAnswer(options);
    std::string joined;
    for (size_t i = 0; i < text.size(); ++i) {
      const engine::Token token = TokenOf(text[i], static_cast<int32_t>(i));
      const SinkAnswer stop = whole.AddToken(token);
      ASSERT_EQ(often.AddToken(token), stop);
      if (rng.Chance(0.7)) {
        const std::string taken = TakeText(&often);
        ASSERT_TRUE(taken.empty() || (taken[0] & 0xC0) != 0x80);
        joined += taken;
      }
      if (stop == SinkAnswer::kStop) break;
    }
    whole.End(FinishOf(FinishReason::kLength));
    often.End(FinishOf(FinishReason::kLength));
    joined += TakeText(&often);
    ASSERT_EQ(joined, TakeText(&whole));
    for (const std::string& stop : options.stop) ASSERT_EQ(joined.find(stop), std::string::npos);
  }
}

}  // namespace
}  // namespace ebb::server

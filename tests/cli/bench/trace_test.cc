#include "cli/bench/trace.h"

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

TEST(TraceTest, ReadsAzureCsv) {
  const auto arrivals = ParseTrace(
      "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
      "2023-11-16 18:15:46.6805900,374,44\r\n"
      "2023-11-16 18:15:50.9951690,396,109\r\n",
      "f", {});
  ASSERT_TRUE(arrivals.ok()) << arrivals.status();
  ASSERT_EQ(arrivals->size(), 2u);
  EXPECT_EQ((*arrivals)[0].at, absl::ZeroDuration());
  EXPECT_NEAR(absl::ToDoubleSeconds((*arrivals)[1].at), 4.314579, 1e-5);
  EXPECT_EQ((*arrivals)[1].prompt_tokens, 396);
  EXPECT_EQ((*arrivals)[1].output_tokens, 109);
}

TEST(TraceTest, ReadsOwnCsvWithOtherColumnsAndScales) {
  const auto arrivals = ParseTrace(
      "id,output_tokens,arrival_s,prompt_tokens\n"
      "b,8,14.5,1000\n"
      "a,3,10.5,10\n",
      "f", {.speed = 2, .length_divisor = 16, .length_max = 60});
  ASSERT_TRUE(arrivals.ok()) << arrivals.status();
  EXPECT_EQ((*arrivals)[0].prompt_tokens, 1);  // Never below one.
  EXPECT_EQ((*arrivals)[0].output_tokens, 1);
  EXPECT_EQ((*arrivals)[1].at, absl::Seconds(2));
  EXPECT_EQ((*arrivals)[1].prompt_tokens, 60);  // 62.5, cut.
  EXPECT_EQ((*arrivals)[1].output_tokens, 1);   // 0.5 rounded.
}

TEST(TraceTest, ReadsMooncakeJsonLines) {
  const auto arrivals = ParseTrace(
      "{\"timestamp\": 27482, \"input_length\": 6955, \"output_length\": 52, \"hash_ids\": [46]}\n"
      "{\"timestamp\": 30535, \"input_length\": 6472, \"output_length\": 26, \"hash_ids\": []}\n",
      "f", {});
  ASSERT_TRUE(arrivals.ok()) << arrivals.status();
  EXPECT_EQ((*arrivals)[1].at, absl::Milliseconds(3053));
  EXPECT_EQ((*arrivals)[0].prompt_tokens, 6955);
}

TEST(TraceTest, SaysWhichLineIsWrong) {
  const struct {
    const char* text;
    const char* error;
  } cases[] = {
      {"", "f:1: no requests"},
      {"arrival_s,prompt_tokens,output_tokens\n", "f:2: no requests"},
      {"a,b\n1,2\n",
       "f:1: the header must name arrival_s, prompt_tokens and output_tokens (or TIMESTAMP, "
       "ContextTokens and GeneratedTokens)"},
      {"arrival_s,prompt_tokens,output_tokens\n1,2,3\n1,2\n", "f:3: not a time and two lengths"},
      {"arrival_s,prompt_tokens,output_tokens\n1,-2,3\n", "f:2: not a time and two lengths"},
      {"arrival_s,prompt_tokens,output_tokens\nnan,2,3\n", "f:2: not a time and two lengths"},
      {"arrival_s,prompt_tokens,output_tokens\n1,2,1e30\n", "f:2: not a time and two lengths"},
      {"{\"timestamp\": 1}\n", "f:1: not a time and two lengths"},
      {"{\"timestamp\": 1,\n", "f:1: not a time and two lengths"},
      {"{\"timestamp\":\"1\",\"input_length\":1,\"output_length\":1}",
       "f:1: not a time and two lengths"},
  };
  for (const auto& bad : cases) {
    EXPECT_EQ(std::string(ParseTrace(bad.text, "f", {}).status().message()), bad.error);
  }
}

}  // namespace
}  // namespace ebb::cli

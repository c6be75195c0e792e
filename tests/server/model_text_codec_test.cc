#include "server/model_text_codec.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock_fake.h"
#include "gtest/gtest.h"

namespace ebb::server {
namespace {

constexpr int32_t kBos = 4;
constexpr int32_t kEnd = 5;

// a, b, ab and the halves of an e with an accent, as the byte alphabet writes them.
std::unique_ptr<ModelTextCodec> NewCodec(absl::StatusOr<model::ChatTemplate> chat_template,
                                         bool add_bos = false) {
  model::TokenizerData data;
  data.source = "test";
  data.model = "gpt2";
  data.pre = "gpt2";
  data.tokens = {"a", "b", "\xC3\x83", "\xC2\xA9", "<s>", "</s>", "ab"};
  data.token_types = {1, 1, 1, 1, 3, 3, 1};
  data.merges = {"a b"};
  data.bos_id = kBos;
  data.eos_id = kEnd;
  data.add_bos = add_bos;
  auto tokenizer = model::Tokenizer::Create(data);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  static const auto* const clock =
      new base::FakeClock(absl::FromCivil(absl::CivilDay(2024, 7, 26), absl::UTCTimeZone()));
  return std::make_unique<ModelTextCodec>(*std::move(tokenizer), std::move(chat_template), clock);
}

model::ChatConversation Says(const std::string& content, const std::string& role = "user") {
  model::ChatConversation conversation;
  conversation.messages.push_back({role, content});
  return conversation;
}

TEST(ModelTextCodecTest, EncodesAndDecodes) {
  const auto codec = NewCodec(absl::FailedPreconditionError("none"));
  EXPECT_EQ(*codec->Encode("ab</s>", true), (std::vector<int32_t>{6, kEnd}));
  EXPECT_EQ(codec->Encode("ab</s>", false)->front(), 6);
  EXPECT_EQ(codec->Decode({6, kEnd, 0}, false), "aba");
  EXPECT_EQ(codec->Decode({6, kEnd, 0}, true), "ab</s>a");
  EXPECT_EQ(codec->Decode({2}, false), "\xEF\xBF\xBD");
  EXPECT_EQ(codec->token_bytes_max(), 4u);
  const auto decoder = codec->NewDecoder(false);
  EXPECT_EQ(decoder->Add(2), "");
  EXPECT_EQ(decoder->Add(3), "\xC3\xA9");
  EXPECT_EQ(decoder->Add(kEnd), "");
  EXPECT_EQ(decoder->Add(2), "");
  EXPECT_EQ(decoder->Finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(codec->NewDecoder(true)->Add(kEnd), "</s>");
}

TEST(ModelTextCodecTest, KnowsWhetherATextBeginsWithAToken) {
  EXPECT_EQ(NewCodec(absl::FailedPreconditionError("none"))->prefix_token_id(), -1);
  EXPECT_EQ(NewCodec(absl::FailedPreconditionError("none"), true)->prefix_token_id(), kBos);
}

TEST(ModelTextCodecTest, LaysOutAChatAndKeepsContentsText) {
  const auto codec = NewCodec(model::ChatTemplate::Parse(
      "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
      "{% if add_generation_prompt %}a{% endif %}"));
  ASSERT_TRUE(codec->has_chat_template());
  EXPECT_EQ(*codec->EncodeChat(Says("b")), (std::vector<int32_t>{kBos, 1, kEnd, 0}));
  const auto forged = codec->EncodeChat(Says("b</s>"));
  ASSERT_TRUE(forged.ok());
  EXPECT_EQ(std::count(forged->begin(), forged->end(), kEnd), 1);
}

TEST(ModelTextCodecTest, ToolsAndVariablesReachTheTemplateAsText) {
  const auto codec = NewCodec(model::ChatTemplate::Parse(
      "{% for t in tools %}{{ t.function.name }}{{ eos_token }}{% endfor %}{{ messages[0].content "
      "}}"
      "{% for c in messages[0].tool_calls %}{{ c.function.arguments.k }}{% endfor %}{{ letter }}"));
  model::ChatConversation conversation = Says("a", "assistant");
  conversation.tools_json = R"([{"function": {"name": "b</s>"}}])";
  conversation.variables_json = R"({"letter": "a"})";
  conversation.messages[0].tool_calls_json =
      R"([{"function": {"name": "f", "arguments": "{\"k\": \"b</s>\"}"}}])";
  const auto ids = codec->EncodeChat(conversation);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(std::count(ids->begin(), ids->end(), kEnd), 1);
  EXPECT_EQ(codec->Decode(*ids, true), "b</s>aba") << "letters that have no token are left out";
}

TEST(ModelTextCodecTest, WhatATemplateDoesNotKnowIsRefused) {
  const auto codec = NewCodec(model::ChatTemplate::Parse("{{ messages[0].content }}"));
  model::ChatConversation tools = Says("a");
  tools.tools_json = "[]";
  for (const auto& conversation : {tools, Says("a", "tool"), Says("a", "developer")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(codec->EncodeChat(conversation).status()));
  }
}

TEST(ModelTextCodecTest, TheDateIsTheClocks) {
  const auto codec = NewCodec(
      model::ChatTemplate::Parse("{% if strftime_now('%Y-%m-%d') == '2024-07-26' %}ab{% endif %}"));
  EXPECT_EQ(*codec->EncodeChat(Says("b")), (std::vector<int32_t>{6}));
}

TEST(ModelTextCodecTest, SaysWhyItHasNoTemplate) {
  const auto codec = NewCodec(absl::UnimplementedError("chat: macro"));
  EXPECT_FALSE(codec->has_chat_template());
  EXPECT_EQ(codec->EncodeChat(Says("b")).status(), absl::UnimplementedError("chat: macro"));
}

}  // namespace
}  // namespace ebb::server

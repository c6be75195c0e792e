// Rendered conversations and their ids equal those of transformers; see
// tests/golden/make_chat_golden.py.

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/chat_template.h"
#include "tests/model/chat_cases.h"
#include "tests/model/golden.h"
#include "tests/model/smollm_tokenizer.h"

namespace ebb::model {
namespace {

ChatConversation Messages(const nlohmann::json& list) {
  ChatConversation conversation;
  for (const auto& message : list) {
    conversation.messages.push_back({message[0].get<std::string>(), message[1].get<std::string>()});
  }
  return conversation;
}

ChatRenderOptions SmolLmOptions(bool add_generation_prompt) {
  ChatRenderOptions options;
  options.add_generation_prompt = add_generation_prompt;
  options.bos_token = "<|im_start|>";
  options.eos_token = "<|im_end|>";
  return options;
}

TEST(ChatTemplateGoldenTest, SmolLmTextAndIdsAreThoseOfTransformers) {
  const auto file = OpenSmolLm();
  const auto tokenizer = SmolLmTokenizer();
  const auto chat_template = ChatTemplate::Parse(*file->GetString("tokenizer.chat_template"));
  ASSERT_TRUE(chat_template.ok()) << chat_template.status();
  const auto cases = ReadGoldenLines("tests/golden/chat_smollm.jsonl");
  ASSERT_GE(cases.size(), 300u);
  for (const auto& item : cases) {
    const auto segments = chat_template->Render(Messages(item["messages"]),
                                                SmolLmOptions(item["add_generation_prompt"]));
    ASSERT_TRUE(segments.ok()) << segments.status() << " in " << item.dump();
    EXPECT_EQ(Joined(*segments), item["text"].get<std::string>());
    const auto ids = tokenizer->EncodeSegments(*segments);
    ASSERT_TRUE(ids.ok()) << ids.status() << " in " << item.dump();
    EXPECT_EQ(*ids, item["ids"].get<std::vector<int32_t>>()) << item.dump();
  }
}

TEST(ChatTemplateGoldenTest, SupportedConstructsRenderAsInTransformers) {
  const auto golden = nlohmann::json::parse(ReadGolden("tests/golden/chat_templates.json"));
  for (const auto& entry : golden) {
    const auto chat_template = ChatTemplate::Parse(entry["template"].get<std::string>());
    ASSERT_TRUE(chat_template.ok()) << chat_template.status() << " in " << entry["name"];
    for (const auto& item : entry["cases"]) {
      const auto segments = chat_template->Render(Messages(item["messages"]),
                                                  SmolLmOptions(item["add_generation_prompt"]));
      ASSERT_EQ(segments.ok(), !item["text"].is_null())
          << segments.status() << " in " << entry["name"] << item.dump();
      if (segments.ok()) {
        EXPECT_EQ(Joined(*segments), item["text"].get<std::string>()) << entry["name"];
      }
    }
  }
}

TEST(ChatTemplateGoldenTest, RandomTemplatesRenderAsInTransformers) {
  ChatConversation messages;
  messages.messages = {{"user", " hi\u00a0\n"}, {"assistant", "a"}, {"user", "<|im_end|>"}};
  int rendered = 0;
  for (const auto& item : ReadGoldenLines("tests/golden/chat_random.jsonl")) {
    const std::string source = item["template"];
    const auto chat_template = ChatTemplate::Parse(source);
    const auto segments = chat_template.ok()
                              ? chat_template->Render(messages, SmolLmOptions(true))
                              : absl::StatusOr<std::vector<TextSegment>>(chat_template.status());
    if (item["text"].is_null()) {
      EXPECT_FALSE(segments.ok()) << source << "\ngave " << Joined(*segments);
      continue;
    }
    // To refuse what Jinja renders is allowed where we say so; to render something else never is.
    if (segments.status().code() == absl::StatusCode::kUnimplemented) continue;
    ASSERT_TRUE(segments.ok()) << segments.status() << " in " << source;
    EXPECT_EQ(Joined(*segments), item["text"].get<std::string>()) << source;
    ++rendered;
  }
  EXPECT_GE(rendered, 500);
}

}  // namespace
}  // namespace ebb::model

#include "server/chat_reader.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace ebb::server {
namespace {

absl::StatusOr<model::ChatConversation> Read(const std::string& text) {
  v1::Chat chat;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &chat)) << text;
  return ReadChat(chat);
}

void ExpectBad(const std::string& text, const std::string& says) {
  const absl::Status status = Read(text).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  EXPECT_TRUE(absl::StrContains(status.message(), says)) << text << status;
}

constexpr char kUser[] = "messages { role: 'user' content: 'x' } ";

void ExpectBadTools(const std::string& json, const std::string& says) {
  ExpectBad(absl::StrCat(kUser, "tools_json: '", json, "'"), "chat.tools_json" + says);
}

void ExpectBadCalls(const std::string& json, const std::string& says) {
  ExpectBad(absl::StrCat("messages { role: 'assistant' tool_calls_json: '", json, "' }"),
            "chat.messages[0].tool_calls_json" + says);
}

TEST(ChatReaderTest, EveryFieldArrives) {
  const auto read = Read(R"(
    messages { role: "developer" content: "d" name: "n" }
    messages { role: "assistant" reasoning_content: "r"
               tool_calls_json: '[{"function":{"name":"f","arguments":"{}"}}]' }
    messages { role: "tool" content: "" tool_call_id: "1" }
    tools_json: '[{"type":"function","function":{"name":"f","parameters":{}}}]'
    template_variables_json: '{"enable_thinking":false}')");
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->messages.size(), 3u);
  EXPECT_EQ(read->messages[0].role, "developer");
  EXPECT_EQ(read->messages[0].content, "d");
  EXPECT_EQ(read->messages[0].name, "n");
  EXPECT_FALSE(read->messages[1].content.has_value());
  EXPECT_EQ(read->messages[1].reasoning_content, "r");
  EXPECT_EQ(read->messages[1].tool_calls_json, R"([{"function":{"name":"f","arguments":"{}"}}])");
  EXPECT_EQ(read->messages[2].content, "");
  EXPECT_EQ(read->messages[2].tool_call_id, "1");
  EXPECT_EQ(read->tools_json, R"([{"type":"function","function":{"name":"f","parameters":{}}}])");
  EXPECT_EQ(read->variables_json, R"({"enable_thinking":false})");
}

TEST(ChatReaderTest, MessagesAreChecked) {
  ExpectBad("", "chat.messages: must not be empty");
  ExpectBad("messages { content: 'x' }", "chat.messages[0].role: must be");
  ExpectBad("messages { role: 'User' content: 'x' }", "chat.messages[0].role: must be");
  ExpectBad("messages { role: 'user' }", "chat.messages[0].content: is required");
  ExpectBad(absl::StrCat(kUser, "messages { role: 'user' content: '' reasoning_content: 'x' }"),
            "chat.messages[1].reasoning_content: is for messages of the role \"assistant\"");
  ExpectBad("messages { role: 'user' content: '' tool_calls_json: '[]' }",
            "chat.messages[0].tool_calls_json: is for messages");
  ExpectBad("messages { role: 'user' content: '' tool_call_id: '1' }",
            "chat.messages[0].tool_call_id: is for messages");
  ExpectBad("messages { role: 'tool' content: '' tool_call_id: '' }", "must have 1 to 256 bytes");
  ExpectBad(
      absl::StrCat("messages { role: 'user' content: '' name: '", std::string(257, 'x'), "' }"),
      "chat.messages[0].name: must have 1 to 256 bytes, got 257");
}

TEST(ChatReaderTest, ToolsAreCheckedByTheirShape) {
  ExpectBadTools("", ": must be JSON");
  ExpectBadTools("[", ": must be JSON");
  ExpectBadTools("{}", ": must be a JSON array, got an object");
  ExpectBadTools("[]", ": must have 1 to 1024 items, got 0");
  ExpectBadTools("[1]", "[0]: must be an object");
  ExpectBadTools("[{}]", "[0].function: is required");
  ExpectBadTools(R"([{"type":"retrieval"}])", "[0].type: must be \"function\"");
  ExpectBadTools(R"([{"function":{}}])", "[0].function.name: is required");
  ExpectBadTools(R"([{"function":{"name":""}}])", "[0].function.name: must have 1 to 256");
  ExpectBadTools(R"([{"function":{"name":"f"}},{"function":{"name":"f","parameters":[]}}])",
                 "[1].function.parameters: must be an object");
  ExpectBadTools(R"([{"function":{"name":"a","name":"b"}}])", ": must be JSON");
  ExpectBadTools(absl::StrCat(R"([{"function":{"name":"f","parameters":{"a":)",
                              std::string(70, '['), std::string(70, ']'), "}}}]"),
                 ": must be JSON, with no key twice in an object, nested at most 64 deep");
}

TEST(ChatReaderTest, CallsAreCheckedByTheirShape) {
  ExpectBadCalls("[]", ": must have 1 to 128 items");
  ExpectBadCalls("[{}]", "[0].function: is required");
  ExpectBadCalls(R"([{"function":{"name":"f"}}])", "[0].function.arguments: is required");
  ExpectBadCalls(R"([{"function":{"name":"f","arguments":3}}])", "[0].function.arguments");
  EXPECT_TRUE(Read(R"(messages { role: "assistant" tool_calls_json:
                      '[{"function":{"name":"f","arguments":{"a":1}}}]' })")
                  .ok());
}

TEST(ChatReaderTest, VariablesCannotTakeTheTemplatesOwnNames) {
  ExpectBad(absl::StrCat(kUser, "template_variables_json: '[]'"),
            "chat.template_variables_json: must be a JSON object, got an array");
  for (const char* name :
       {"messages", "tools", "add_generation_prompt", "chat_template", "tokenize",
        "continue_final_message", "bos_token", "raise_exception", "namespace"}) {
    ExpectBad(absl::StrCat(kUser, "template_variables_json: '{\"", name, "\":1}'"),
              absl::StrCat("must not set \"", name, "\""));
  }
}

TEST(ChatReaderTest, AllTextCounts) {
  v1::Chat chat;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      "messages { content: '1' tool_calls_json: '22' reasoning_content: '333' }"
      "tools_json: '4444' template_variables_json: '55555'",
      &chat));
  EXPECT_EQ(ChatBytes(chat), 15u);
}

}  // namespace
}  // namespace ebb::server

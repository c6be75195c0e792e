// Calls of tools over the wire: what the model is told, and how its calls come back.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/http/http_fixture.h"

namespace ebb::server {
namespace {

using nlohmann::json;
using tests::HttpAnswer;

constexpr char kHermes[] = "{% if tools %}<tool_call>{% endif %}";
constexpr char kMistral[] = "{% if tools %}[TOOL_CALLS]{% endif %}";
constexpr char kTools[] =
    R"("tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object",)"
    R"("properties":{"at":{"type":"string","maxLength":7,"x":[1.5,true,null,"\"\u00e9"]}}}}}])";
constexpr char kTwoCalls[] =
    "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"at\": \"Oslo\"}}\n"
    "</tool_call>\n<tool_call>\n{\"name\": \"wind\", \"arguments\": {}}\n</tool_call>";

class ChatToolsTest : public HttpTest {
 protected:
  ChatToolsTest() { UseTemplate(kHermes); }

  // A user's question with more fields.
  HttpAnswer Ask(const std::string& fields) {
    return Chat(absl::StrCat(R"({"messages":[{"role":"user","content":"hi"}],)", fields, "}"));
  }
  // What the model saw last.
  std::string Prompt() {
    std::string prompt;
    const std::vector<int32_t> ids = engine_.requests().back().prompt;
    for (const int32_t id : ids) prompt += codec_.TokenBytes(id);
    return prompt;
  }
};

// A streamed answer, put together as clients do it. Each delta adds to one thing only.
struct Streamed {
  std::string content;
  std::vector<json> calls;
  std::string reason;
};

Streamed Join(const HttpAnswer& answer) {
  Streamed out;
  EXPECT_EQ(answer.status, 200) << answer.body;
  for (const std::string& event : answer.Events()) {
    if (event == "[DONE]") continue;
    const json parsed = json::parse(event);
    const json& choice = parsed["choices"][0];
    const json& delta = choice["delta"];
    if (!choice["finish_reason"].is_null()) out.reason = choice["finish_reason"];
    out.content += delta.value("content", "");
    if (!delta.contains("tool_calls")) continue;
    EXPECT_EQ(delta["tool_calls"].size(), 1u);
    json call = delta["tool_calls"][0];
    EXPECT_EQ(call["index"], out.calls.size());
    call.erase("index");
    out.calls.push_back(call);
  }
  return out;
}

void ExpectCall(const json& call, const std::string& name, const std::string& arguments) {
  EXPECT_EQ(call["type"], "function");
  EXPECT_EQ(call["function"], json({{"name", name}, {"arguments", arguments}}));
  EXPECT_EQ(call["id"].get<std::string>().size(), 9u) << call;
}

TEST_F(ChatToolsTest, TheModelIsToldOfToolsCallsAndTheirAnswers) {
  const HttpAnswer answer = Chat(absl::StrCat(
      R"({"messages":[{"role":"user","content":"hi","name":"Ann"},
          {"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"abc","type":
          "function","function":{"name":"weather","arguments":"{\"at\": \"Oslo\"}"}}]},
          {"role":"tool","tool_call_id":"abc","content":"rain"},
          {"role":"assistant","content":"wet","tool_calls":[]}],)",
      kTools, "}"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(Prompt(),
            "<|begin|>tools:[{\"type\":\"function\",\"function\":{\"name\":\"weather\","
            "\"parameters\":{\"type\":\"object\",\"properties\":{\"at\":{\"type\":\"string\","
            "\"maxLength\":7,\"x\":[1.5,true,null,\"\\\"\xC3\xA9\"]}}}}}]<|end|>"
            "<|begin|>userAnn:hi<|end|>"
            "<|begin|>assistant:[{\"id\":\"abc\",\"type\":\"function\",\"function\":{\"name\":"
            "\"weather\",\"arguments\":\"{\\\"at\\\": \\\"Oslo\\\"}\"}}]<|end|>"
            "<|begin|>toolabc:rain<|end|><|begin|>assistant:wet<|end|><|begin|>");
  // /tokenize counts the same.
  const json tokens =
      Post("/tokenize",
           absl::StrCat(R"({"messages":[{"role":"user","content":"hi"}],)", kTools, "}"))
          .Json();
  EXPECT_GT(tokens["count"], 100);
}

TEST_F(ChatToolsTest, CallsComeBackWhole) {
  Answers(kTwoCalls);
  const json got = Ask(kTools).Json();
  const json& message = got["choices"][0]["message"];
  EXPECT_EQ(message["content"], "Let me see.\n");
  ASSERT_EQ(message["tool_calls"].size(), 2u) << got;
  ExpectCall(message["tool_calls"][0], "weather", "{\"at\": \"Oslo\"}");
  ExpectCall(message["tool_calls"][1], "wind", "{}");
  EXPECT_NE(message["tool_calls"][0]["id"], message["tool_calls"][1]["id"]);
  EXPECT_EQ(got["choices"][0]["finish_reason"], "tool_calls");
  // Names of calls stay apart over the requests of a conversation.
  EXPECT_NE(Ask(kTools).Json()["choices"][0]["message"]["tool_calls"][0]["id"],
            message["tool_calls"][0]["id"]);

  Answers("<tool_call>{\"name\":\"wind\",\"arguments\":{}}</tool_call>");
  const json alone = Ask(kTools).Json()["choices"][0]["message"];
  EXPECT_EQ(alone["content"], nullptr);
  EXPECT_EQ(alone["tool_calls"].size(), 1u);
}

TEST_F(ChatToolsTest, CallsComeBackStreamed) {
  Answers(kTwoCalls);
  const Streamed got = Join(Ask(absl::StrCat(R"("stream":true,)", kTools)));
  EXPECT_EQ(got.content, "Let me see.\n");
  ASSERT_EQ(got.calls.size(), 2u);
  ExpectCall(got.calls[0], "weather", "{\"at\": \"Oslo\"}");
  ExpectCall(got.calls[1], "wind", "{}");
  EXPECT_EQ(got.reason, "tool_calls");
}

TEST_F(ChatToolsTest, EveryTokenIsToldBesideCalls) {
  Answers("<tool_call>{\"name\":\"f\"}</tool_call>");
  int64_t logprobs = 0;
  const HttpAnswer answer =
      Ask(absl::StrCat(R"("stream":true,"logprobs":true,"return_token_ids":true,)", kTools));
  EXPECT_EQ(Join(answer).calls.size(), 1u);
  int64_t ids = 0;
  for (const std::string& event : answer.Events()) {
    if (event == "[DONE]") continue;
    const json choice = json::parse(event)["choices"][0];
    if (choice["logprobs"].is_object()) {
      logprobs += static_cast<int64_t>(choice["logprobs"]["content"].size());
    }
    ids += static_cast<int64_t>(choice.value("token_ids", json::array()).size());
  }
  EXPECT_EQ(logprobs, 35);
  EXPECT_EQ(ids, 35);
}

TEST_F(ChatToolsTest, OneCallWhereTheClientTakesOne) {
  Answers(kTwoCalls);
  const std::string fields = absl::StrCat(R"("parallel_tool_calls":false,)", kTools);
  const json whole = Ask(fields).Json()["choices"][0]["message"];
  ASSERT_EQ(whole["tool_calls"].size(), 1u);
  EXPECT_EQ(whole["tool_calls"][0]["function"]["name"], "weather");
  const Streamed streamed = Join(Ask(R"("stream":true,)" + fields));
  ASSERT_EQ(streamed.calls.size(), 1u);
  EXPECT_EQ(streamed.calls[0]["function"]["name"], "weather");
  EXPECT_EQ(streamed.reason, "tool_calls");
}

TEST_F(ChatToolsTest, WhatIsNoCallIsText) {
  for (const std::string text :
       {"<tool_call>{\"name\": 7}</tool_call>", "<tool_call>{\"name\": \"f\", \"argu",
        "<tool_call> is a mark <tool_"}) {
    Answers(text);
    const json choice = Ask(kTools).Json()["choices"][0];
    EXPECT_EQ(choice["message"]["content"], text);
    EXPECT_FALSE(choice["message"].contains("tool_calls"));
    EXPECT_EQ(choice["finish_reason"], "stop");
    const Streamed streamed = Join(Ask(absl::StrCat(R"("stream":true,)", kTools)));
    EXPECT_EQ(streamed.content, text);
    EXPECT_EQ(streamed.reason, "stop");
  }
}

// Whether the last call was whole is not known then.
TEST_F(ChatToolsTest, AnAnswerThatIsCutSaysSo) {
  Answers(kTwoCalls);
  const json choice = Ask(absl::StrCat(R"("max_tokens":100,)", kTools)).Json()["choices"][0];
  EXPECT_EQ(choice["message"]["tool_calls"].size(), 1u);
  EXPECT_EQ(choice["finish_reason"], "length");
}

TEST_F(ChatToolsTest, EachChoiceHasItsOwnCalls) {
  engine::FakeEngine::Script script;
  script.others.resize(1);
  for (const char c : std::string("no call")) {
    script.others[0].tokens.push_back(static_cast<uint8_t>(c));
  }
  Answers(kTwoCalls, script);
  const json choices = Ask(absl::StrCat(R"("n":2,)", kTools)).Json()["choices"];
  EXPECT_EQ(choices[0]["message"]["tool_calls"].size(), 2u);
  EXPECT_EQ(choices[0]["finish_reason"], "tool_calls");
  EXPECT_EQ(choices[1]["message"]["content"], "no call");
  EXPECT_EQ(choices[1]["finish_reason"], "stop");
}

TEST_F(ChatToolsTest, WithoutToolsTextIsText) {
  Answers(kTwoCalls);
  EXPECT_EQ(Ask(R"("tools":[],"tool_choice":"auto")").Json()["choices"][0]["message"]["content"],
            kTwoCalls);
  const json none = Ask(absl::StrCat(R"("tool_choice":"none",)", kTools)).Json();
  EXPECT_EQ(none["choices"][0]["message"]["content"], kTwoCalls);
  EXPECT_EQ(Prompt(), "<|begin|>user:hi<|end|><|begin|>");
}

TEST_F(ChatToolsTest, MarksThatAreControlTokensAreSeen) {
  UseTemplate(kMistral);
  Answers("[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{}}]");
  EXPECT_EQ(Ask(kTools).Json()["choices"][0]["message"]["tool_calls"].size(), 1u);
  // As text: the fake's control token.
  engine::FakeEngine::Script script;
  script.tokens = {FakeTextCodec::kBegin, 'a'};
  Answers("", script);
  EXPECT_EQ(Ask(kTools).Json()["choices"][0]["message"]["content"], "<|begin|>a");
  EXPECT_EQ(Ask(R"("tools":[])").Json()["choices"][0]["message"]["content"], "a");
}

TEST_F(ChatToolsTest, WhatCannotBeIsRefused) {
  const auto refused = [&](const std::string& fields, int status, const std::string& message) {
    const HttpAnswer answer = Ask(fields);
    EXPECT_EQ(answer.status, status) << fields << answer.body;
    const json error = answer.Json()["error"];
    EXPECT_EQ(error["message"].get<std::string>().rfind(message, 0), 0u) << answer.body;
    EXPECT_EQ(error["param"], message.substr(0, message.find(": "))) << answer.body;
  };
  const std::string tools = absl::StrCat(",", kTools);
  refused(R"("tool_choice":"required")" + tools, 501, "tool_choice: making the model call a tool");
  refused(R"("tool_choice":{"type":"function","function":{"name":"weather"}})" + tools, 501,
          "tool_choice: making the model call a tool");
  refused(R"("tool_choice":"some")" + tools, 400, "tool_choice: must be ");
  refused(R"("tools":{})", 400, "tools: must be a list, got an object");
  refused(R"("tools":[{"type":"retrieval"}])", 400, "tools[0].type: must be \"function\"");
  refused(R"("tools":[{"type":"function","function":{}}])", 400,
          "tools[0].function.name: is required");
  refused(R"("parallel_tool_calls":1)" + tools, 400, "parallel_tool_calls: must be true or false");
  const HttpAnswer call =
      Chat(R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f"}}]}]})");
  EXPECT_EQ(call.status, 400);
  EXPECT_EQ(call.Json()["error"]["param"], "messages[0].tool_calls[0].function.arguments")
      << call.body;
  // A family whose calls are not read would give its client text where it waits for calls.
  UseTemplate("{% if tools %}<function=name>{% endif %}");
  refused(kTools, 501, "tools: this model writes its calls in a form");
  EXPECT_EQ(Ask(absl::StrCat(R"("tool_choice":"none",)", kTools)).status, 200);
}

}  // namespace
}  // namespace ebb::server

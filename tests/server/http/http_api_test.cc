// OpenAI's API over the wire: what comes back, whole and streamed, and how refusals read.
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/http/http_fixture.h"

namespace ebb::server {
namespace {

using engine::FakeEngine;
using engine::FinishReason;
using nlohmann::json;
using tests::HttpAnswer;
using tests::HttpClient;
using tests::WaitUntil;

// The events' JSON, without the last one, which must be [DONE].
std::vector<json> Stream(const HttpAnswer& answer) {
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.Header("content-type"), "text/event-stream; charset=utf-8");
  std::vector<json> events;
  for (const std::string& event : answer.Events()) {
    events.push_back(event == "[DONE]" ? json(event) : json::parse(event, nullptr, false));
  }
  EXPECT_FALSE(events.empty());
  if (events.empty()) return events;
  EXPECT_EQ(events.back(), "[DONE]");
  events.pop_back();
  return events;
}

TEST_F(HttpTest, CompletionWhole) {
  FakeEngine::Script script;
  script.stop_token_id = FakeTextCodec::kEnd;
  Answers("hello", script);
  const HttpAnswer answer =
      Post("/v1/completions", R"({"model":"fake","prompt":"hi","max_tokens":50})",
           "X-Request-Id: mine\r\n");
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.Header("x-request-id"), "mine");
  const json got = answer.Json();
  EXPECT_EQ(got["id"], "cmpl-mine");
  EXPECT_EQ(got["object"], "text_completion");
  EXPECT_EQ(got["model"], "fake");
  EXPECT_GT(got["created"], 1'600'000'000);
  ASSERT_EQ(got["choices"].size(), 1u);
  EXPECT_EQ(got["choices"][0]["text"], "hello");
  EXPECT_EQ(got["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(got["choices"][0]["logprobs"], nullptr);
  EXPECT_EQ(got["usage"], json({{"prompt_tokens", 2},
                                {"completion_tokens", 5},
                                {"total_tokens", 7},
                                {"prompt_tokens_details", {{"cached_tokens", 0}}}}));
  EXPECT_EQ(engine_.requests()[0].label, "mine");
}

TEST_F(HttpTest, ChatWhole) {
  Answers("hello");
  const HttpAnswer answer = Chat(
      R"({"messages":[{"role":"developer","content":"be kind"},
         {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}],
         "max_completion_tokens":3,"seed":7,"temperature":0.5,"stop":null,"user":"ignored"})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const json got = answer.Json();
  EXPECT_EQ(got["object"], "chat.completion");
  EXPECT_EQ(got["id"].get<std::string>().rfind("chatcmpl-", 0), 0u);
  EXPECT_EQ(got["id"], answer.Header("x-request-id"));
  EXPECT_EQ(got["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(got["choices"][0]["message"]["content"], "hel");
  EXPECT_EQ(got["choices"][0]["finish_reason"], "length");
  const engine::Request seen = engine_.requests()[0];
  EXPECT_EQ(seen.sampling.seed, 7u);
  EXPECT_EQ(seen.sampling.temperature, 0.5);
  std::string prompt;
  for (const int32_t id : seen.prompt) prompt += codec_.TokenBytes(id);
  EXPECT_EQ(prompt, "<|begin|>system:be kind<|end|><|begin|>user:a\nb<|end|><|begin|>");
}

TEST_F(HttpTest, CompletionStream) {
  Answers("h\xC3\xA9llo");
  const auto events = Stream(Complete(
      R"({"prompt":"hi","max_tokens":50,"stream":true,"stream_options":{"include_usage":true}})"));
  std::string text;
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_EQ(events[i]["object"], "text_completion");
    EXPECT_EQ(events[i]["usage"], nullptr);
    EXPECT_EQ(events[i]["id"], events[0]["id"]);
    text += events[i]["choices"][0]["text"].get<std::string>();
    const bool last = i + 2 == events.size();
    EXPECT_EQ(events[i]["choices"][0]["finish_reason"], last ? json("stop") : json(nullptr));
  }
  EXPECT_EQ(text, "h\xC3\xA9llo");
  EXPECT_TRUE(events.back()["choices"].empty());
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], 6);
  EXPECT_EQ(events.back()["usage"]["prompt_tokens"], 2);
}

TEST_F(HttpTest, ChatStream) {
  Answers("hello");
  const auto events = Stream(Chat(R"({"messages":[{"role":"user","content":"hi"}],"stream":true,
               "stream_options":{"continuous_usage_stats":true}})"));
  ASSERT_GE(events.size(), 3u);
  EXPECT_EQ(events[0]["choices"][0]["delta"], json({{"role", "assistant"}, {"content", ""}}));
  std::string text;
  int64_t tokens = 0;
  for (const json& event : events) {
    EXPECT_EQ(event["object"], "chat.completion.chunk");
    text += event["choices"][0]["delta"].value("content", "");
    EXPECT_GE(event["usage"]["completion_tokens"], tokens);
    tokens = event["usage"]["completion_tokens"];
  }
  EXPECT_EQ(text, "hello");
  EXPECT_EQ(tokens, 5);
  EXPECT_EQ(events.back()["choices"][0]["delta"], json::object());
  EXPECT_EQ(events.back()["choices"][0]["finish_reason"], "stop");
}

TEST_F(HttpTest, SeveralPromptsAreAnsweredInOrder) {
  const HttpAnswer texts =
      Post("/v1/completions", R"({"prompt":["one","two"],"max_tokens":9})", "X-Request-Id: r\r\n");
  ASSERT_EQ(texts.status, 200) << texts.body;
  const json got = texts.Json();
  ASSERT_EQ(got["choices"].size(), 2u);
  EXPECT_EQ(got["choices"][0]["text"], "one");
  EXPECT_EQ(got["choices"][1]["text"], "two");
  EXPECT_EQ(got["choices"][1]["index"], 1);
  EXPECT_EQ(got["usage"]["total_tokens"], 12);
  EXPECT_EQ(engine_.requests()[1].label, "r-1");
  const json ids = Complete(R"({"prompt":[[104,105],[106]],"max_tokens":9})").Json();
  EXPECT_EQ(ids["choices"][0]["text"], "hi");
  EXPECT_EQ(ids["choices"][1]["text"], "j");
  EXPECT_EQ(Complete(R"({"prompt":[104,105]})").Json()["choices"][0]["text"], "hi");
  std::map<int, std::string> streamed;
  for (const json& event :
       Stream(Complete(R"({"prompt":["one","two"],"max_tokens":9,"stream":true})"))) {
    const json& choice = event["choices"][0];
    streamed[choice["index"].get<int>()] += choice["text"].get<std::string>();
  }
  EXPECT_EQ(streamed, (std::map<int, std::string>{{0, "one"}, {1, "two"}}));
}

TEST_F(HttpTest, CompletionLogprobsAndEcho) {
  FakeEngine::Script script;
  script.prompt_logprobs = {{'i', -2.0f, {{'i', -2.0f}, {'j', -3.0f}}}};
  Answers("ok", script);
  const std::string body = R"({"prompt":"hi","max_tokens":2,"logprobs":2,"echo":true)";
  const json whole = Complete(body + "}").Json();
  const json& choice = whole["choices"][0];
  EXPECT_EQ(choice["text"], "hiok");
  const json& logprobs = choice["logprobs"];
  EXPECT_EQ(logprobs["tokens"], json({"h", "i", "o", "k"}));
  EXPECT_EQ(logprobs["token_logprobs"], json({nullptr, -2.0, -0.5, -0.5}));
  EXPECT_EQ(logprobs["text_offset"], json({0, 1, 2, 3}));
  EXPECT_EQ(logprobs["top_logprobs"][0], nullptr);
  EXPECT_EQ(logprobs["top_logprobs"][1], json({{"i", -2.0}, {"j", -3.0}}));
  EXPECT_EQ(logprobs["top_logprobs"][2], json({{"o", -0.5}, {"p", -1.5}}));
  // The same in pieces.
  std::string text;
  json tokens = json::array();
  json offsets = json::array();
  for (const json& event : Stream(Complete(body + R"(,"stream":true})"))) {
    text += event["choices"][0]["text"].get<std::string>();
    const json& piece = event["choices"][0]["logprobs"];
    if (piece.is_null()) continue;
    tokens.insert(tokens.end(), piece["tokens"].begin(), piece["tokens"].end());
    offsets.insert(offsets.end(), piece["text_offset"].begin(), piece["text_offset"].end());
  }
  EXPECT_EQ(text, "hiok");
  EXPECT_EQ(tokens, logprobs["tokens"]);
  EXPECT_EQ(offsets, logprobs["text_offset"]);
}

TEST_F(HttpTest, ChatLogprobs) {
  Answers("\xC3\xA9");
  const json got = Chat(R"({"messages":[{"role":"user","content":"hi"}],"logprobs":true,
                            "top_logprobs":1})")
                       .Json();
  const json& content = got["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 2u);
  EXPECT_EQ(content[0]["token"], "\xEF\xBF\xBD");  // Half a character: its bytes tell.
  EXPECT_EQ(content[0]["bytes"], json({0xC3}));
  EXPECT_EQ(content[1]["bytes"], json({0xA9}));
  EXPECT_EQ(content[0]["logprob"], -0.5);
  EXPECT_EQ(content[0]["top_logprobs"].size(), 1u);
}

TEST_F(HttpTest, TokenIdsAreReturned) {
  Answers("ab");
  const std::string rest = R"("return_token_ids":true,"max_tokens":5)";
  const json whole = Complete(R"({"prompt":"hi",)" + rest + "}").Json();
  EXPECT_EQ(whole["choices"][0]["prompt_token_ids"], json({'h', 'i'}));
  EXPECT_EQ(whole["choices"][0]["token_ids"], json({'a', 'b'}));
  json prompt;
  json ids = json::array();
  for (const json& event : Stream(Complete(R"({"prompt":"hi","stream":true,)" + rest + "}"))) {
    const json& choice = event["choices"][0];
    if (choice.contains("prompt_token_ids")) prompt = choice["prompt_token_ids"];
    if (choice.contains("token_ids")) {
      ids.insert(ids.end(), choice["token_ids"].begin(), choice["token_ids"].end());
    }
  }
  EXPECT_EQ(prompt, json({'h', 'i'}));
  EXPECT_EQ(ids, json({'a', 'b'}));
}

TEST_F(HttpTest, AStopStringEndsTheWork) {
  Answers("one two three");
  for (const std::string stop : {R"(" tw")", R"(["xyz"," tw"])"}) {
    const json got = Complete(R"({"prompt":"hi","max_tokens":50,"stop":)" + stop + "}").Json();
    EXPECT_EQ(got["choices"][0]["text"], "one");
    EXPECT_EQ(got["choices"][0]["finish_reason"], "stop");
    EXPECT_EQ(got["usage"]["completion_tokens"], 6);
  }
}

TEST_F(HttpTest, ControlTokensOfAPromptAreRead) {
  EXPECT_EQ(Complete(R"({"prompt":"a<|end|>"})").Json()["usage"]["prompt_tokens"], 2);
  EXPECT_EQ(
      Complete(R"({"prompt":"a<|end|>","parse_special":false})").Json()["usage"]["prompt_tokens"],
      8);
}

TEST_F(HttpTest, TheEnginesStatusIsTheClients) {
  const std::map<absl::StatusCode, int> codes = {{absl::StatusCode::kResourceExhausted, 429},
                                                 {absl::StatusCode::kUnavailable, 503},
                                                 {absl::StatusCode::kInvalidArgument, 400},
                                                 {absl::StatusCode::kInternal, 500},
                                                 {absl::StatusCode::kDeadlineExceeded, 504}};
  const std::string hi = R"({"prompt":"hi","max_tokens":9)";
  for (const auto& [from, to] : codes) {
    engine_.SetSubmitStatus(absl::Status(from, "why"));
    for (const std::string end : {R"(})", R"(,"stream":true})"}) {
      const HttpAnswer refused = Complete(hi + end);
      EXPECT_EQ(refused.status, to);
      const bool ours = to == 500;  // Its words are our_fault_test's.
      EXPECT_EQ(refused.Json()["error"]["message"] == "why", !ours);
      EXPECT_EQ(refused.Header("retry-after"), to == 429 || to == 503 ? "1" : "");
    }
    engine_.SetSubmitStatus(absl::OkStatus());
    FakeEngine::Script script;
    script.reason = FinishReason::kError;
    script.status = absl::Status(from, "why not");
    Answers("abc", script);
    EXPECT_EQ(Complete(hi + "}").status, to);
    // Without a token, an error is still a status.
    Answers("", script);
    EXPECT_EQ(Complete(hi + R"(,"stream":true})").status, to);
  }
}

TEST_F(HttpTest, AnErrorAfterTheFirstEventIsAnEvent) {
  FakeEngine::Script script = Held(2);
  script.reason = FinishReason::kError;
  script.status = absl::ResourceExhaustedError("no room");
  Answers("ab", script);
  const auto client = Connect();
  ASSERT_TRUE(client->Send(
      HttpClient::PostText("/v1/completions", R"({"prompt":"hi","max_tokens":9,"stream":true})")));
  EXPECT_NE(client->ReadUntil("\"text\":\"a").find("200 OK"), std::string::npos);
  engine_.ReleaseHeld();
  const std::string rest = client->ReadUntil("0\r\n\r\n");
  const size_t error = rest.find(R"(data: {"error":{"message":"no room")");
  EXPECT_NE(error, std::string::npos) << rest;
  EXPECT_EQ(rest.find("[DONE]"), std::string::npos);
  // The connection is good for more.
  EXPECT_EQ(client->Get("/version").status, 200);
}

TEST_F(HttpTest, AnswersOfOnePromptAreChoices) {
  FakeEngine::Script script;
  script.others = {{{'t', 'w', 'o'}, -0.5f}, {{'f', 'o', 'u', 'r'}, -1.0f}};
  Answers("one", script);
  const HttpAnswer whole = Complete(R"({"prompt":"hi","max_tokens":9,"n":3,"echo":true})");
  ASSERT_EQ(whole.status, 200) << whole.body;
  std::vector<std::string> texts;
  const json choices = whole.Json()["choices"];
  for (const json& choice : choices) {
    EXPECT_EQ(choice["index"], texts.size());
    texts.push_back(choice["text"]);
  }
  EXPECT_EQ(texts, (std::vector<std::string>{"hione", "hitwo", "hifour"}));
  EXPECT_EQ(whole.Json()["usage"]["prompt_tokens"], 2);
  EXPECT_EQ(whole.Json()["usage"]["completion_tokens"], 3 + 3 + 4);
  EXPECT_EQ(engine_.requests()[0].n, 3) << "one request of the engine";

  const HttpAnswer stream =
      Chat(R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":9,"n":3,"stream":true,)"
           R"("stream_options":{"include_usage":true}})");
  std::map<int, std::string> streamed;
  std::map<int, int> ends;
  for (const auto& event : Stream(stream)) {
    if (event["choices"].empty()) {
      EXPECT_EQ(event["usage"]["completion_tokens"], 3 + 3 + 4);
      continue;
    }
    const auto& choice = event["choices"][0];
    streamed[choice["index"]] += choice["delta"].value("content", "");
    ends[choice["index"]] += choice["finish_reason"] == "stop" ? 1 : 0;
  }
  EXPECT_EQ(streamed, (std::map<int, std::string>{{0, "one"}, {1, "two"}, {2, "four"}}));
  EXPECT_EQ(ends, (std::map<int, int>{{0, 1}, {1, 1}, {2, 1}}));

  const HttpAnswer best = Complete(R"({"prompt":"hi","max_tokens":9,"best_of":3})");
  ASSERT_EQ(best.status, 200) << best.body;
  EXPECT_EQ(best.Json()["choices"].size(), 1u);
  for (const std::string n : {"0", "17", "-1"}) {
    EXPECT_EQ(Complete(R"({"prompt":"hi","n":)" + n + "}").Json()["error"]["param"], "n");
  }
}

// One of several prompts that is refused takes the others with it.
TEST_F(HttpTest, PromptsAreRefusedTogether) {
  Answers("abc", Held(1));
  const HttpAnswer answer = Complete(R"({"prompt":["fine",""]})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.Json()["error"]["param"], "prompt");
  EXPECT_TRUE(WaitUntil([&] { return engine_.cancel_count() == 1; }));
  EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
}

TEST_F(HttpTest, APromptThatIsTooLongHasItsOwnCode) {
  const std::string text(100'000, 'a');
  for (const HttpAnswer& answer :
       {Complete(R"({"prompt":")" + text + R"("})"),
        Chat(R"({"messages":[{"role":"user","content":")" + text + R"("}]})")}) {
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.Json()["error"]["code"], "context_length_exceeded") << answer.body;
  }
}

TEST_F(HttpTest, ALiveRequestsIdIsItsOwn) {
  Answers("abc", Held(1));
  const auto client = Connect();
  const std::string mine = "X-Request-Id: mine\r\n";
  const std::string body = R"({"prompt":"hi","max_tokens":9})";
  ASSERT_TRUE(client->Send(HttpClient::PostText("/v1/completions", body, mine)));
  EXPECT_TRUE(WaitUntil([&] { return engine_.requests().size() == 1; }));
  const HttpAnswer second = Post("/v1/completions", body, mine);
  EXPECT_EQ(second.status, 409);
  engine_.ReleaseHeld();
  EXPECT_EQ(client->Read().status, 200);
  // A client that has its answer may use the id again at once.
  EXPECT_EQ(client->Post("/v1/completions", body, mine).status, 200);
  const HttpAnswer wrong = Post("/v1/completions", body, "X-Request-Id: a b\r\n");
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(wrong.Json()["error"]["param"], "x-request-id");
  EXPECT_EQ(wrong.Header("x-request-id"), "");
}

TEST_F(HttpTest, PathsMethodsAndTypes) {
  EXPECT_EQ(Get("/v2/models").status, 404);
  EXPECT_EQ(Get("/v2/models").Json()["error"]["type"], "invalid_request_error");
  const HttpAnswer get = Get("/v1/completions?x=1");
  EXPECT_EQ(get.status, 405);
  EXPECT_EQ(get.Header("allow"), "POST");
  EXPECT_EQ(Post("/v1/models", "{}").Header("allow"), "GET, HEAD");
  const auto typed = [&](const std::string& type) {
    const auto client = Connect();
    client->Send("POST /tokenize HTTP/1.1\r\nHost: x\r\n" + type +
                 "Content-Length: 14\r\n\r\n{\"prompt\":\"a\"}");
    return client->Read().status;
  };
  EXPECT_EQ(typed(""), 200);
  EXPECT_EQ(typed("Content-Type: Application/JSON; charset=utf-8\r\n"), 200);
  EXPECT_EQ(typed("Content-Type: text/plain\r\n"), 415);
  EXPECT_EQ(typed("Content-Type: application/x-www-form-urlencoded\r\n"), 415);
  EXPECT_EQ(typed("Content-Encoding: gzip\r\n"), 415);
}

TEST_F(HttpTest, ModelsAndTokenizer) {
  const json models = Get("/v1/models").Json();
  EXPECT_EQ(models["object"], "list");
  EXPECT_EQ(models["data"][0]["id"], "fake");
  EXPECT_EQ(models["data"][0]["owned_by"], "ebb");
  EXPECT_EQ(models["data"][0]["max_model_len"], 100'000);
  EXPECT_EQ(Get("/v1/models/fake").Json(), models["data"][0]);
  EXPECT_EQ(Get("/v1/models/other").status, 404);
  const HttpAnswer other = Complete(R"({"model":"other","prompt":"a"})");
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(other.Json()["error"]["code"], "model_not_found");
  const json info = Get("/tokenizer_info").Json();
  EXPECT_EQ(info["eos_token"], "<|end|>");
  EXPECT_EQ(info["bos_token"], nullptr);
  codec_.prefix_id = FakeTextCodec::kBegin;
  const json tokens = Post("/tokenize", R"({"prompt":"a<|end|>"})").Json();
  EXPECT_EQ(tokens["tokens"], json({257, 'a', 256}));
  EXPECT_EQ(Post("/tokenize", R"({"prompt":"a","add_special_tokens":false})").Json()["count"], 1);
  const json chat = Post("/tokenize", R"({"messages":[{"role":"user","content":"a"}]})").Json();
  EXPECT_EQ(chat["count"], 9);
  EXPECT_EQ(Post("/detokenize", R"({"tokens":[97,256]})").Json()["prompt"], "a<|end|>");
  const HttpAnswer bad = Post("/detokenize", R"({"tokens":[97,999]})");
  EXPECT_EQ(bad.Json()["error"]["param"], "tokens[1]") << bad.body;
}

TEST_F(HttpTest, ADrainRefusesAndFinishes) {
  Answers("abc", Held(1));
  const auto running = Connect();
  ASSERT_TRUE(running->Send(
      HttpClient::PostText("/v1/completions", R"({"prompt":"hi","max_tokens":9,"stream":true})")));
  EXPECT_NE(running->ReadUntil("\n\n"), "");
  EXPECT_EQ(Get("/health/ready").status, 200);
  EXPECT_EQ(Get("/health").status, 200);
  live_calls_.Close();
  progress_.SetDraining();
  server_->SetClosing();
  const HttpAnswer refused = Complete(R"({"prompt":"hi"})");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.Header("retry-after"), "1");
  EXPECT_EQ(refused.Header("connection"), "close");
  EXPECT_EQ(Get("/health/ready").status, 503);
  EXPECT_EQ(Get("/health").status, 503);
  EXPECT_EQ(Get("/health/live").status, 200);
  engine_.ReleaseHeld();
  EXPECT_NE(running->ReadUntil("[DONE]"), "");
  EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
}

// Long texts hold up each other, and nobody else.
TEST_F(HttpTest, ProbesWaitForNobody) {
  codec_.HoldLongTexts();
  const std::string text(FakeTextCodec::kLongBytes, 'a');
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(Connect());
    ASSERT_TRUE(clients.back()->Send(
        HttpClient::PostText("/v1/completions", R"({"prompt":")" + text + R"("})")));
    clients.push_back(Connect());
    ASSERT_TRUE(
        clients.back()->Send(HttpClient::PostText("/tokenize", R"({"prompt":")" + text + R"("})")));
  }
  EXPECT_TRUE(WaitUntil([&] { return codec_.IsHolding(); }));
  for (const std::string path : {"/health", "/health/live", "/version", "/v1/models"}) {
    EXPECT_EQ(Get(path).status, 200) << path;
  }
  codec_.LetGo();
  for (const auto& client : clients) EXPECT_EQ(client->Read().status, 200);
}

TEST_F(HttpTest, ManyClientsAtOnceAllGetTheirOwn) {
  std::vector<std::thread> threads;
  std::vector<std::string> answers(16);
  address();
  for (size_t i = 0; i < answers.size(); ++i) {
    threads.emplace_back([&, i] {
      const std::string prompt = "client " + std::to_string(i);
      const auto client = Connect();
      for (int round = 0; round < 5; ++round) {
        const bool stream = round % 2 == 1;
        const HttpAnswer answer =
            client->Post("/v1/completions", R"({"max_tokens":50,"prompt":")" + prompt + "\"" +
                                                (stream ? R"(,"stream":true})" : "}"));
        std::string text;
        if (stream) {
          for (const json& event : Stream(answer)) {
            text += event["choices"][0]["text"].get<std::string>();
          }
        } else {
          text = answer.Json()["choices"][0]["text"];
        }
        if (text == prompt) answers[i] += "+";
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& answer : answers) EXPECT_EQ(answer, "+++++");
}

}  // namespace
}  // namespace ebb::server

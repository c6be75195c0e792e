// HTTP on the real server: the same answers as gRPC's, ports that do not collide, and the drain.
#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/e2e/client.h"
#include "tests/e2e/server_process.h"
#include "tests/server/http/http_client.h"
#include "tests/server/wait_until.h"

namespace ebb::tests {
namespace {

using nlohmann::json;

class HttpE2eTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = ServerProcess::StartReady();
    ASSERT_NE(server_, nullptr);
    http_ = std::make_unique<HttpClient>(server_->http_address());
  }

  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<HttpClient> http_;
};

TEST_F(HttpE2eTest, AnswersAsGrpcDoes) {
  const std::string prompt = "The three primary colours are";
  Client client(server_->address());
  v1::GenerateResponse wanted;
  ASSERT_TRUE(client.Generate(Greedy(prompt, 24), &wanted).ok());
  const std::string body = R"({"prompt":")" + prompt +
                           R"(","temperature":0,"max_tokens":24,"ignore_eos":true,)"
                           R"("return_token_ids":true)";
  const json whole = http_->Post("/v1/completions", body + "}").Json();
  EXPECT_EQ(whole["choices"][0]["text"], wanted.text());
  EXPECT_EQ(whole["choices"][0]["token_ids"],
            json(std::vector<int32_t>(wanted.token_ids().begin(), wanted.token_ids().end())));
  std::string text;
  const HttpAnswer streamed = http_->Post("/v1/completions", body + R"(,"stream":true})");
  EXPECT_EQ(streamed.status, 200) << streamed.body;
  for (const std::string& event : streamed.Events()) {
    if (event != "[DONE]") text += json::parse(event)["choices"][0]["text"].get<std::string>();
  }
  EXPECT_EQ(text, wanted.text());
  // A chat is laid out as gRPC's is.
  v1::GenerateRequest chat = Greedy("", 8);
  v1::ChatMessage* const message = chat.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("Say hello.");
  ASSERT_TRUE(client.Generate(chat, &wanted).ok());
  const json chatted =
      http_
          ->Post("/v1/chat/completions",
                 R"({"messages":[{"role":"user","content":"Say hello."}],"temperature":0,
                      "max_tokens":8,"ignore_eos":true})")
          .Json();
  EXPECT_EQ(chatted["choices"][0]["message"]["content"], wanted.text());
  EXPECT_EQ(chatted["usage"]["prompt_tokens"], wanted.finished().usage().prompt_tokens());
}

// A chat goes on: what it said before is not computed again, and the answer is what it is for a
// server that has never heard of it.
TEST_F(HttpE2eTest, AChatThatGoesOnIsFoundInThePrefixCache) {
  json chat = {{"messages",
                {{{"role", "system"}, {"content", "You answer briefly, and always truthfully."}},
                 {{"role", "user"}, {"content", "Which planets have rings?"}}}},
               {"temperature", 0},
               {"max_tokens", 40}};
  const json first = http_->Post("/v1/chat/completions", chat.dump()).Json();
  EXPECT_EQ(first["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  chat["messages"].push_back(first["choices"][0]["message"]);
  chat["messages"].push_back({{"role", "user"}, {"content", "And which have none?"}});
  json salted = chat;
  salted["cache_salt"] = "another";
  const json apart = http_->Post("/v1/chat/completions", salted.dump()).Json();
  EXPECT_EQ(apart["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  const json second = http_->Post("/v1/chat/completions", chat.dump()).Json();
  EXPECT_EQ(second["choices"], apart["choices"]);
  // More than the first prompt: its answer too.
  const int64_t before = first["usage"]["prompt_tokens"].get<int64_t>();
  EXPECT_GT(second["usage"]["prompt_tokens_details"]["cached_tokens"].get<int64_t>(), before);
  chat["stream"] = true;
  chat["stream_options"] = {{"include_usage", true}};
  const std::vector<std::string> events = http_->Post("/v1/chat/completions", chat.dump()).Events();
  ASSERT_GE(events.size(), 2u);
  EXPECT_GT(
      json::parse(events[events.size() - 2])["usage"]["prompt_tokens_details"]["cached_tokens"]
          .get<int64_t>(),
      before);
  const std::string metrics = http_->Get("/metrics").body;
  EXPECT_NE(metrics.find("ebb_prefix_cache_hit_tokens_total"), std::string::npos);
  EXPECT_EQ(metrics.find("ebb_prefix_cache_hit_tokens_total 0\n"), std::string::npos);
}

TEST_F(HttpE2eTest, TokensGoThereAndBack) {
  const json tokens = http_->Post("/tokenize", R"({"prompt":"<|im_start|>user\nhi there"})").Json();
  const std::string back = json({{"tokens", tokens["tokens"]}}).dump();
  EXPECT_EQ(http_->Post("/detokenize", back).Json()["prompt"], "<|im_start|>user\nhi there");
  const json info = http_->Get("/tokenizer_info").Json();
  EXPECT_EQ(info["eos_token"], "<|im_end|>");
  EXPECT_NE(info["chat_template"].get<std::string>().find("im_start"), std::string::npos);
}

// As a page would ask whose own name leads to the loopback (DNS rebinding).
TEST_F(HttpE2eTest, IsNotCalledByStrangersNames) {
  const auto status_for = [](const ServerProcess& server, const std::string& host) {
    HttpClient client(server.http_address());
    EXPECT_TRUE(client.Send("GET /v1/models HTTP/1.1\r\nHost: " + host + "\r\n\r\n"));
    return client.Read().status;
  };
  EXPECT_EQ(status_for(*server_, server_->http_address()), 200);
  EXPECT_EQ(status_for(*server_, "localhost"), 200);
  EXPECT_EQ(status_for(*server_, "attacker.example:8000"), 421);
  const auto listing = ServerProcess::StartReady({"server.http_hosts=ebb,ebb.example.com"});
  ASSERT_NE(listing, nullptr);
  EXPECT_EQ(status_for(*listing, "ebb:8000"), 200);
  EXPECT_EQ(status_for(*listing, "ebb.example.com"), 200);
  EXPECT_EQ(status_for(*listing, "attacker.example"), 421);
}

// The memory of a client that left is free at once, streamed or not.
TEST_F(HttpE2eTest, AClientThatLeavesFreesItsMemory) {
  Client client(server_->address());
  for (const std::string stream : {"false", "true"}) {
    HttpClient leaving(server_->http_address());
    ASSERT_TRUE(leaving.Send(HttpClient::PostText(
        "/v1/completions",
        R"({"prompt":"Once","max_tokens":4000,"ignore_eos":true,"stream":)" + stream + "}")));
    EXPECT_TRUE(WaitUntil([&] { return client.Info().running_requests() == 1; }));
    leaving.Close();
    EXPECT_TRUE(WaitUntil([&] { return client.Info().running_requests() == 0; }));
    EXPECT_EQ(client.Memory().needed_bytes(), 0);
  }
  EXPECT_TRUE(WaitUntil([&] { return server_->Lines("request_finished").size() == 2; }));
  for (const json& line : server_->Lines("request_finished")) {
    EXPECT_EQ(line["status"], "CANCELLED");
  }
}

TEST_F(HttpE2eTest, SigtermFinishesWhatRuns) {
  ASSERT_TRUE(http_->Send(HttpClient::PostText(
      "/v1/completions", R"({"prompt":"Once","max_tokens":200,"ignore_eos":true,"stream":true})")));
  EXPECT_NE(http_->ReadUntil("\n\n"), "");
  server_->Signal(SIGTERM);
  ASSERT_FALSE(server_->WaitForEvent("draining").is_null());
  HttpClient probe(server_->http_address());
  EXPECT_EQ(probe.Get("/health/ready").status, 503);
  HttpClient late(server_->http_address());
  EXPECT_EQ(late.Post("/v1/completions", R"({"prompt":"a"})").status, 503);
  EXPECT_NE(http_->ReadUntil("\"finish_reason\":\"length\""), "");
  EXPECT_NE(http_->ReadUntil("[DONE]"), "");
  EXPECT_EQ(server_->Wait(), 0);
  EXPECT_EQ(server_->other_line_count(), 0) << server_->output();
}

// Started each for a gRPC port, all start; a port that was asked for is had or the server ends.
TEST(HttpPortsTest, NothingCollides) {
  const auto start = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"--config", "configs/cpu.json", "--model",
                                          "random:tiny-llama"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return std::make_unique<ServerProcess>(arguments);
  };
  const auto first = start({"--listen", "127.0.0.1:0"});
  ASSERT_FALSE(first->WaitForEvent("ready").is_null()) << first->errors();
  const std::string address = first->http_address();
  EXPECT_EQ(HttpClient(address).Get("/health").status, 200);
  const auto off = start({"--listen", "127.0.0.1:0", "--http-listen", "off"});
  ASSERT_FALSE(off->WaitForEvent("ready").is_null()) << off->errors();
  EXPECT_EQ(off->http_address(), "");
  const auto taken = start({"--listen", "127.0.0.1:0", "--http-listen", address});
  EXPECT_EQ(taken->Wait(), 69);
  EXPECT_NE(taken->errors().find("--http-listen"), std::string::npos) << taken->errors();
  const auto free = start({"--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"});
  ASSERT_FALSE(free->WaitForEvent("ready").is_null()) << free->errors();
  EXPECT_NE(free->http_address(), address);
}

}  // namespace
}  // namespace ebb::tests

// Every two settings of the sampler together, at the edges of what they may be, on the real server
// with a tiny model: each request is answered, once, the same whichever way it is asked.
#include <signal.h>

#include <cmath>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "tests/e2e/client.h"
#include "tests/e2e/ledger.h"
#include "tests/e2e/server_process.h"

namespace ebb::tests {
namespace {

// One setting's value, for each of the two interfaces. Empty: left out.
struct Level {
  const char* grpc;
  const char* http;
};

const std::vector<std::vector<Level>> kSettings = {
    {{"sampling { temperature: 0 }", R"("temperature":0)"},
     {"sampling { temperature: 0.001 }", R"("temperature":0.001)"},
     {"", ""},
     {"sampling { temperature: 100 }", R"("temperature":100)"}},
    {{"", ""},
     {"sampling { top_p: 1e-30 }", R"("top_p":1e-30)"},
     {"sampling { top_p: 0.9 }", R"("top_p":0.9)"}},
    {{"", ""},
     {"sampling { top_k: 1 }", R"("top_k":1)"},
     {"sampling { top_k: 7 }", R"("top_k":7)"},
     {"sampling { top_k: 2147483647 }", R"("top_k":2147483647)"}},
    {{"", ""},
     {"sampling { min_p: 0.1 }", R"("min_p":0.1)"},
     {"sampling { min_p: 1 }", R"("min_p":1)"}},
    {{"", ""},
     {"sampling { repetition_penalty: 0.01 }", R"("repetition_penalty":0.01)"},
     {"sampling { repetition_penalty: 100 }", R"("repetition_penalty":100)"}},
    {{"", ""},
     {"sampling { presence_penalty: -2 }", R"("presence_penalty":-2)"},
     {"sampling { presence_penalty: 2 }", R"("presence_penalty":2)"}},
    {{"", ""},
     {"sampling { frequency_penalty: -2 }", R"("frequency_penalty":-2)"},
     {"sampling { frequency_penalty: 2 }", R"("frequency_penalty":2)"}},
    {{"", ""},
     {"sampling { logit_bias { key: 5 value: 100 } logit_bias { key: 6 value: -100 } }",
      R"("logit_bias":{"5":100,"6":-100})"},
     {"sampling { logit_bias { key: 0 value: -0.5 } }", R"("logit_bias":{"0":-0.5})"}},
    {{"", ""},
     {R"(sampling { bad_words: "a" bad_words: "the" bad_words: "\n" })",
      R"("bad_words":["a","the","\n"])"}},
    {{"", ""},
     {"output { logprobs: 0 }", R"("logprobs":0)"},
     {"output { logprobs: 20 }", R"("logprobs":20)"}},
    {{"", ""}, {"output { n: 3 }", R"("n":3)"}},
    {{"stopping { ignore_eos: true }", R"("ignore_eos":true)"},
     {R"(stopping { stop: "e" min_tokens: 3 })", R"("stop":["e"],"min_tokens":3)"},
     {R"(stopping { stop_token_ids: 5 stop: "zz" })", R"("stop_token_ids":[5],"stop":["zz"])"}},
    {{"", ""}, {"output { echo: true }", R"("echo":true)"}},
};

using Row = std::vector<size_t>;                          // A level of each setting.
using Pair = std::tuple<size_t, size_t, size_t, size_t>;  // A setting's level and another's.

std::set<Pair> PairsOf(const Row& row) {
  std::set<Pair> pairs;
  for (size_t a = 0; a < row.size(); ++a) {
    for (size_t b = a + 1; b < row.size(); ++b) pairs.emplace(a, row[a], b, row[b]);
  }
  return pairs;
}

std::set<Pair> AllPairs() {
  std::set<Pair> pairs;
  for (size_t a = 0; a < kSettings.size(); ++a) {
    for (size_t b = a + 1; b < kSettings.size(); ++b) {
      for (size_t i = 0; i < kSettings[a].size(); ++i) {
        for (size_t j = 0; j < kSettings[b].size(); ++j) pairs.emplace(a, i, b, j);
      }
    }
  }
  return pairs;
}

// Rows in which every pair occurs: of some random rows, each time the one with the most new pairs.
std::vector<Row> Rows(base::Rng* rng) {
  std::set<Pair> missing = AllPairs();
  std::vector<Row> rows;
  while (!missing.empty()) {
    Row best;
    size_t best_count = 0;
    for (int i = 0; i < 40; ++i) {
      Row row;
      for (const auto& levels : kSettings) {
        row.push_back(
            static_cast<size_t>(rng->Between(0, static_cast<int64_t>(levels.size()) - 1)));
      }
      // One pair that is missing, in any case.
      const auto& [a, level_a, b, level_b] = *missing.begin();
      row[a] = level_a;
      row[b] = level_b;
      size_t count = 0;
      for (const Pair& pair : PairsOf(row)) count += missing.count(pair);
      if (count > best_count) {
        best = row;
        best_count = count;
      }
    }
    for (const Pair& pair : PairsOf(best)) missing.erase(pair);
    rows.push_back(best);
  }
  return rows;
}

using Answers = std::vector<std::vector<int32_t>>;

class SamplerPairsTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = std::make_unique<ServerProcess>(
        std::vector<std::string>{"--config", "configs/cpu.json", "--model",
                                 "tests/golden/tiny_qwen3.gguf", "--listen", "127.0.0.1:0"});
    ASSERT_FALSE(server_->WaitForEvent("ready").is_null()) << server_->errors();
    client_ = std::make_unique<Client>(server_->address());
  }

  static void CheckLogprobs(const google::protobuf::RepeatedPtrField<v1::TokenLogprobs>& logprobs) {
    for (const v1::TokenLogprobs& each : logprobs) {
      EXPECT_FALSE(std::isnan(each.logprob()));
      EXPECT_LE(each.logprob(), 1e-4);
    }
  }
  Answers AskUnary(v1::GenerateRequest request, const std::string& id) {
    request.set_request_id(id);
    v1::GenerateResponse response;
    const grpc::Status status = client_->Generate(request, &response);
    EXPECT_TRUE(status.ok()) << status.error_code() << " " << status.error_message();
    ledger_.Record(id, status);
    Answers answers;
    if (response.choices().empty()) {
      answers.emplace_back(response.token_ids().begin(), response.token_ids().end());
      CheckLogprobs(response.logprobs());
    }
    for (const v1::Choice& choice : response.choices()) {
      answers.emplace_back(choice.token_ids().begin(), choice.token_ids().end());
      CheckLogprobs(choice.logprobs());
    }
    return answers;
  }
  std::vector<int32_t> AskStream(v1::GenerateRequest request, const std::string& id) {
    request.set_request_id(id);
    const Streamed streamed = client_->Stream(request);
    EXPECT_TRUE(streamed.status.ok()) << streamed.status.error_message();
    EXPECT_EQ(streamed.finished_count, 1);
    ledger_.Record(id, streamed);
    return streamed.token_ids;
  }
  Answers AskHttp(const std::string& body, const std::string& id) {
    const HttpAnswer answer = HttpClient(server_->http_address())
                                  .Post("/v1/completions", body, "X-Request-Id: " + id + "\r\n");
    EXPECT_EQ(answer.status, 200) << answer.body;
    ledger_.Record(id, answer);
    Answers answers;
    if (answer.status != 200) return answers;
    const auto json = answer.Json();
    for (const auto& choice : json["choices"]) answers.push_back(choice["token_ids"]);
    return answers;
  }

  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client> client_;
  Ledger ledger_;
};

TEST_F(SamplerPairsTest, EveryTwoSettingsAreAnsweredTheSameEachWay) {
  base::Rng rng(20);
  const std::vector<Row> rows = Rows(&rng);
  EXPECT_GE(rows.size(), 16u);
  EXPECT_LE(rows.size(), 60u);
  for (size_t i = 0; i < rows.size(); ++i) {
    v1::GenerateRequest request;
    request.set_text("Once upon a time");
    request.mutable_sampling()->set_seed(77);
    request.mutable_stopping()->set_max_tokens(12);
    request.mutable_output()->set_return_token_ids(true);
    std::string body =
        R"({"prompt":"Once upon a time","seed":77,"max_tokens":12,"return_token_ids":true)";
    for (size_t setting = 0; setting < kSettings.size(); ++setting) {
      const Level& level = kSettings[setting][rows[i][setting]];
      ASSERT_TRUE(google::protobuf::TextFormat::MergeFromString(level.grpc, &request));
      if (level.http[0] != '\0') body += std::string(",") + level.http;
    }
    body += "}";
    SCOPED_TRACE(body);
    const std::string row = std::to_string(i);
    const Answers first = AskUnary(request, "first-" + row);
    EXPECT_EQ(first, AskUnary(request, "again-" + row));
    // Of several answers, each would have an end of its own.
    if (first.size() == 1) {
      EXPECT_EQ(first[0], AskStream(request, "stream-" + row));
    }
    EXPECT_EQ(first, AskHttp(body, "http-" + row));
    if (HasFailure()) return;
  }
  server_->Signal(SIGTERM);
  EXPECT_EQ(server_->Wait(), 0) << server_->errors();
  EXPECT_EQ(server_->errors(), "");
  ledger_.ExpectBalanced(*server_);
}

}  // namespace
}  // namespace ebb::tests

// HttpTest: the HTTP server on a real socket of the loopback, over a FakeEngine and byte tokens.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "engine/engine_fake.h"
#include "gtest/gtest.h"
#include "server/http/http_api.h"
#include "server/http/http_server.h"
#include "server/text_codec_fake.h"
#include "tests/server/http/http_client.h"
#include "tests/server/keep_log.h"
#include "tests/server/wait_until.h"

namespace ebb::server {

class HttpTest : public testing::Test {
 protected:
  static constexpr size_t kCallsMax = 256;

  HttpTest() {
    RequestLimits limits;
    limits.model_name = "fake";
    limits.context_tokens = 100'000;
    limits.vocabulary_tokens = FakeTextCodec::kVocabularyTokens;
    limits.max_tokens_default = 1000;
    reader_ = std::make_unique<RequestReader>(limits, &codec_);
    resources_.engine = &engine_;
    resources_.reader = reader_.get();
    resources_.codec = &codec_;
    resources_.live_calls = &live_calls_;
    resources_.pump = &pump_;
    resources_.clock = &clock_;
    resources_.refusals = &refusals_;
    resources_.progress = &progress_;
    resources_.metrics = &request_metrics_;
    resources_.process_seed = 42;
    UseTemplate("");
    options_.listen = *ParseListenAddress("127.0.0.1:0");
    options_.body_bytes_max = 1 << 20;
  }

  // The model's chat template has this source, as far as the API looks at it. Ends the server.
  void UseTemplate(const std::string& source) {
    server_.reset();
    HttpModelInfo model;
    model.name = "fake";
    model.context_tokens = 100'000;
    model.eos_token = "<|end|>";
    if (!source.empty()) model.chat_template = source;
    api_ = std::make_unique<HttpApi>(&resources_, &metrics_, model, "test");
  }

  // Called by itself at the first connection: a test may change options_ before.
  const std::string& address() {
    if (server_ == nullptr) {
      server_ = *HttpServer::Start(options_, api_.get());
      address_ = server_->address().ToString();
    }
    return address_;
  }
  std::unique_ptr<tests::HttpClient> Connect() {
    return std::make_unique<tests::HttpClient>(address());
  }
  tests::HttpAnswer Get(const std::string& path) { return Connect()->Get(path); }
  tests::HttpAnswer Post(const std::string& path, const std::string& body,
                         const std::string& more_headers = "") {
    return Connect()->Post(path, body, more_headers);
  }
  tests::HttpAnswer Complete(const std::string& body) { return Post("/v1/completions", body); }
  tests::HttpAnswer Chat(const std::string& body) { return Post("/v1/chat/completions", body); }

  // Answers `text`, byte by byte, and then as `script` says.
  void Answers(const std::string& text, engine::FakeEngine::Script script = {}) {
    for (const char c : text) script.tokens.push_back(static_cast<uint8_t>(c));
    engine_.SetScript([script](const engine::Request&) { return script; });
  }
  static engine::FakeEngine::Script Held(int32_t after) {
    engine::FakeEngine::Script script;
    script.hold_after = after;
    return script;
  }

  engine::FakeEngine engine_;
  FakeTextCodec codec_;
  base::RealClock clock_;
  KeepLog log_;
  RefusalLog refusals_{&clock_, &log_};
  ProgressMonitor progress_{&engine_, &clock_, absl::Minutes(1)};
  RequestMetrics request_metrics_;
  const Metrics metrics_{
      {"test", "0123", "fake", "none"}, &engine_, &request_metrics_, &refusals_, &progress_};
  LiveCalls live_calls_{kCallsMax};
  CallPump pump_;
  std::unique_ptr<RequestReader> reader_;
  CallResources resources_;
  std::unique_ptr<HttpApi> api_;
  HttpServerOptions options_;
  std::string address_;
  std::unique_ptr<HttpServer> server_;  // Last: it is the first to go.
};

}  // namespace ebb::server

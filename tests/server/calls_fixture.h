// CallsTest: what every service needs, over a FakeEngine and byte tokens; a transport's fixture
// adds its own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "engine/engine_fake.h"
#include "gtest/gtest.h"
#include "server/generate_call.h"
#include "server/text_codec_fake.h"
#include "tests/server/keep_log.h"

namespace ebb::server {

class CallsTest : public testing::Test {
 protected:
  // More than any test makes that is not about it: a call counts for a moment after its client has
  // the answer.
  static constexpr size_t kCallsMax = 256;
  static constexpr int32_t kContextTokens = 100'000;

  explicit CallsTest(AccessGate* access = nullptr) {
    RequestLimits limits;
    limits.model_name = "fake";
    limits.context_tokens = kContextTokens;
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
    resources_.access = access;
    resources_.progress = &progress_;
    resources_.metrics = &request_metrics_;
    resources_.process_seed = 42;
  }

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
  LiveCalls live_calls_{kCallsMax};
  CallPump pump_;
  std::unique_ptr<RequestReader> reader_;
  CallResources resources_;
};

}  // namespace ebb::server

// SimClient: one client of the simulated engine: its request, what it should get and what it got.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "base/rng.h"
#include "engine/request.h"
#include "engine/step_runner_fake.h"
#include "model/logit_adjustments.h"
#include "tests/sim/canaries.h"

namespace ebb::sim {

inline constexpr int32_t kVocabulary = 48;
inline constexpr int32_t kEndId = 7;
inline constexpr int32_t kContextTokens = 96;
inline constexpr char kLossText[] = "planted loss";  // What the device says when it is lost.

// Lets some requests ask for penalties, biases and bad words. Of the request's own seed alone, so
// that whatever else happens in a run happens as if it had not been called.
inline void AskForRules(engine::Request* request) {
  base::Rng rng(request->sampling.seed);
  if (rng.Chance(0.2)) request->sampling.repetition_penalty = 1.25;
  if (rng.Chance(0.2)) request->sampling.presence_penalty = -0.5;
  if (rng.Chance(0.2)) request->sampling.frequency_penalty = 0.75;
  if (rng.Chance(0.2)) request->rules.logit_bias = {{5, 2.5f}, {kEndId, -100.0f}};
  if (rng.Chance(0.2)) {
    // A pair is banned only after its first token, so with so few ids many pairs are.
    request->rules.bad_words = {{9}};
    for (int32_t id = 0; id + 1 < kVocabulary; id += 2) {
      request->rules.bad_words.push_back({id, id + 1});
      request->rules.bad_words.push_back({id + 1, id, id + 1});
    }
  }
}

// The last tokens of bad words that `answer` has all but finished.
inline std::vector<int32_t> BannedByWords(const engine::Request& request,
                                          const std::vector<int32_t>& answer) {
  std::vector<int32_t> banned;
  for (const std::vector<int32_t>& word : request.rules.bad_words) {
    std::vector<int32_t> said = answer;
    said.push_back(word.back());
    if (said.size() < word.size()) continue;
    if (std::vector<int32_t>(said.end() - static_cast<int64_t>(word.size()), said.end()) == word) {
      banned.push_back(word.back());
    }
  }
  return banned;
}

// What an answer is when nothing else runs: computed with no engine and no memory.
struct QuietAnswer {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;  // Of those tokens.
  engine::FinishReason reason = engine::FinishReason::kLength;
  int32_t stop_token_id = -1;
};

inline QuietAnswer Quiet(const engine::Request& request, int32_t answer, int32_t sink_stops_at) {
  QuietAnswer quiet;
  engine::SamplingParams sampling = request.sampling;
  sampling.seed = engine::SeedOfAnswer(sampling.seed, answer);
  std::vector<int32_t> tokens = request.prompt;
  std::set<int32_t> stops(request.stopping.stop_token_ids.begin(),
                          request.stopping.stop_token_ids.end());
  if (!request.stopping.ignore_eos) stops.insert(kEndId);
  for (int32_t index = 0;; ++index) {
    std::vector<int32_t> banned = BannedByWords(request, quiet.tokens);
    if (index < request.stopping.min_tokens) {
      banned.insert(banned.end(), stops.begin(), stops.end());
    }
    model::LogitAdjustments adjustments(sampling, request.rules.logit_bias, request.prompt);
    for (const int32_t token : quiet.tokens) adjustments.Add(token);
    const int32_t id = engine::FakeStepRunner::NextToken(tokens, index, sampling, banned,
                                                         kVocabulary, &adjustments);
    if (stops.count(id) > 0) {
      quiet.reason = engine::FinishReason::kStop;
      quiet.stop_token_id = id;
      return quiet;
    }
    quiet.logprobs.push_back(engine::FakeStepRunner::LogprobOf(tokens, id));
    tokens.push_back(id);
    quiet.tokens.push_back(id);
    if (index == sink_stops_at) {
      quiet.reason = engine::FinishReason::kStop;
      return quiet;
    }
    if (index + 1 == request.stopping.max_tokens) return quiet;
    if (static_cast<int32_t>(tokens.size()) == kContextTokens) return quiet;
  }
}

// One client: its request, what its answers should be and what it got.
class SimClient final : public engine::RequestSink {
 public:
  // stop_at: the index of the token at which the sink stops every other answer; negative: none.
  SimClient(engine::Request request, int32_t stop_at, Canary canary)
      : request_(std::move(request)), stop_at_(stop_at), canary_(canary) {
    for (int32_t i = 0; i < request_.n; ++i) {
      answers_.push_back({Quiet(request_, i, StopAt(i)), {}, std::nullopt});
    }
  }

  void OnPromptLogprobs(std::vector<engine::PromptLogprob> logprobs) override {
    if (prompt_calls_++ > 0) Fail("prompt log-probabilities came twice");
    if (token_count() > 0) Fail("prompt log-probabilities after a token");
    if (logprobs.size() + 1 != request_.prompt.size()) Fail("prompt log-probabilities are missing");
    for (size_t i = 0; i < logprobs.size(); ++i) {
      if (i + 1 >= request_.prompt.size() || logprobs[i].token_id != request_.prompt[i + 1]) {
        Fail("a prompt log-probability of another token");
        return;
      }
      const std::vector<int32_t> before(request_.prompt.begin(),
                                        request_.prompt.begin() + static_cast<int64_t>(i) + 1);
      if (logprobs[i].logprob !=
          engine::FakeStepRunner::LogprobOf(before, request_.prompt[i + 1])) {
        Fail("a prompt log-probability that is not that of the quiet run");
      }
    }
  }
  engine::SinkAnswer OnToken(const engine::Token& token) override {
    TakeToken(token);
    if (canary_ == Canary::kRepeatedToken && token.index == 2) TakeToken(token);
    return token.index == StopAt(token.answer) ? engine::SinkAnswer::kStop
                                               : engine::SinkAnswer::kContinue;
  }
  void OnAnswerFinish(int32_t answer, const engine::Finish& finish) override {
    if (finishes_ > 0) Fail("an answer's end after the request's");
    SimAnswer& one = answers_.at(static_cast<size_t>(answer));
    if (one.end.has_value()) Fail("an answer ended twice");
    one.end = finish;
  }
  void OnFinish(const engine::Finish& finish) override {
    TakeFinish(finish);
    if (canary_ == Canary::kDoubleFinish && finish.completion_tokens > 3) TakeFinish(finish);
  }

  // What may have ended it before its time.
  struct World {
    bool cancelled = false;
    bool limit_moved = false;
    bool memory_stuck = false;
    bool step_failed = false;
    bool drained = false;
    bool device_lost = false;
  };
  // Whether the end is one that this world explains. Called once, after the end.
  void CheckEnd(const World& world, absl::Time now) {
    if (finishes_ != 1) return Fail("ended " + std::to_string(finishes_) + " times");
    if (finish_.completion_tokens != token_count()) Fail("a wrong count");
    int32_t preemptions = 0;
    for (const SimAnswer& answer : answers_) {
      if (!answer.end.has_value()) return Fail("an answer without an end");
      if (answer.end->completion_tokens != static_cast<int32_t>(answer.got.size())) {
        Fail("a wrong count of an answer");
      }
      preemptions += answer.end->preemptions;
      if (!answer.end->status.ok() && finish_.status.ok()) Fail("an answer's failure is forgotten");
      CheckAnswer(answer, world, now);
    }
    if (finish_.preemptions != preemptions) Fail("a wrong count of preemptions");
    if (finish_.cached_tokens < 0 || finish_.cached_tokens >= finish_.prompt_tokens ||
        (finish_.cached_tokens > 0 && request_.sampling.prompt_logprobs >= 0)) {
      Fail("a wrong count of cached tokens");
    }
    if (finish_.status.ok() && finish_.reason != answers_[0].end->reason) {
      Fail("another reason than the first answer's");
    }
  }

  const engine::Request& request() const { return request_; }
  // What there is of the first answer.
  const std::vector<int32_t>& answer() const { return answers_[0].got; }
  bool finished() const { return finishes_ > 0; }
  int64_t token_count() const {
    int64_t count = 0;
    for (const SimAnswer& answer : answers_) count += static_cast<int64_t>(answer.got.size());
    return count;
  }
  const std::string& failure() const { return failure_; }

  engine::RequestId id = 0;
  bool cancelled = false;

 private:
  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = "request " + std::to_string(id) + ": " + what;
  }
  struct SimAnswer {
    QuietAnswer quiet;
    std::vector<int32_t> got;
    std::optional<engine::Finish> end;
  };

  int32_t StopAt(int32_t answer) const { return answer % 2 == 0 ? stop_at_ : -1; }

  void TakeToken(const engine::Token& token) {
    SimAnswer& answer = answers_.at(static_cast<size_t>(token.answer));
    const size_t at = answer.got.size();
    if (answer.end.has_value()) Fail("a token after the end");
    if (token.index != static_cast<int32_t>(at)) Fail("a token out of order");
    const std::string name =
        "token " + std::to_string(at) + " of answer " + std::to_string(token.answer);
    if (at >= answer.quiet.tokens.size() || answer.quiet.tokens[at] != token.id) {
      Fail(name + " is not that of the quiet run");
    } else if (answer.quiet.logprobs[at] != token.logprob) {
      Fail(name + " has another log-probability");
    }
    answer.got.push_back(token.id);
  }
  void CheckAnswer(const SimAnswer& answer, const World& world, absl::Time now) {
    const engine::Finish& end = *answer.end;
    switch (end.reason) {
      case engine::FinishReason::kStop:
      case engine::FinishReason::kLength:
        if (!end.status.ok()) Fail("an error status for a whole answer");
        if (answer.got != answer.quiet.tokens) Fail("a whole answer that is not whole");
        if (end.reason != answer.quiet.reason) Fail("another reason than in the quiet run");
        if (end.stop_token_id != answer.quiet.stop_token_id) Fail("another stop id");
        if (request_.sampling.prompt_logprobs >= 0 && prompt_calls_ != 1) {
          Fail("no prompt log-probabilities");
        }
        break;
      case engine::FinishReason::kCancelled:
        if (!world.cancelled) Fail("cancelled by nobody");
        break;
      case engine::FinishReason::kDeadline:
        if (now < request_.deadline) Fail("ended before its deadline");
        break;
      case engine::FinishReason::kError:
        CheckError(end.status, world);
        break;
    }
  }
  void TakeFinish(const engine::Finish& finish) {
    ++finishes_;
    finish_ = finish;
    if (finishes_ > 1) Fail("ended twice");
  }
  void CheckError(const absl::Status& status, const World& world) {
    switch (status.code()) {
      case absl::StatusCode::kInternal:
        if (!world.step_failed && !world.memory_stuck) Fail("a failed step that did not fail");
        if (absl::StrContains(status.message(), kLossText)) Fail("a loss, told as a step's");
        break;
      case absl::StatusCode::kResourceExhausted:
        if (!world.limit_moved && !world.memory_stuck) Fail("no memory, though it sufficed");
        break;
      case absl::StatusCode::kUnavailable:
        if (!world.drained && !world.device_lost) Fail("drained by nobody");
        break;
      default:
        Fail("ended with " + status.ToString());
    }
  }

  const engine::Request request_;
  const int32_t stop_at_;
  const Canary canary_;
  std::vector<SimAnswer> answers_;
  int prompt_calls_ = 0;
  int finishes_ = 0;
  engine::Finish finish_;
  std::string failure_;
};

}  // namespace ebb::sim

#include "server/answer.h"

#include <limits>
#include <utility>

#include "absl/time/time.h"
#include "base/check.h"

namespace ebb::server {
namespace {

void FillLogprobs(int32_t token_id, float logprob, const std::vector<engine::TokenLogprob>& top,
                  v1::TokenLogprobs* out) {
  out->set_token_id(token_id);
  out->set_logprob(logprob);
  for (const engine::TokenLogprob& alternative : top) {
    v1::TokenLogprobs::Alternative* const added = out->add_top();
    added->set_token_id(alternative.token_id);
    added->set_logprob(alternative.logprob);
  }
}

}  // namespace

Answer::Answer(const AnswerOptions& options, std::unique_ptr<TextDecoder> decoder)
    : options_(options), decoder_(std::move(decoder)), matcher_(options_.stop) {}

void Answer::AddPromptLogprobs(const std::vector<engine::PromptLogprob>& logprobs) {
  for (const engine::PromptLogprob& token : logprobs) {
    FillLogprobs(token.token_id, token.logprob, token.top, prompt_logprobs_.add_logprobs());
  }
  has_prompt_logprobs_ = true;
}

engine::SinkAnswer Answer::AddToken(const engine::Token& token) {
  CHECK(!ended_ && matcher_.matched() == nullptr);
  AddEcho();
  ++token_count_;
  logprob_sum_ += token.logprob;
  if (options_.return_token_ids) {
    pending_.add_token_ids(token.id);
    has_pending_ = true;
  }
  if (options_.return_logprobs) {
    FillLogprobs(token.id, token.logprob, token.top, pending_.add_logprobs());
    has_pending_ = true;
  }
  AddText(matcher_.Feed(decoder_->Add(token.id), token_count_ >= options_.min_tokens));
  return matcher_.matched() != nullptr ? engine::SinkAnswer::kStop : engine::SinkAnswer::kContinue;
}

void Answer::End(const engine::Finish& finish) {
  CHECK(!ended_);
  ended_ = true;
  finish_ = finish;
  if (!finish_.status.ok()) return;
  AddEcho();
  AddText(matcher_.Feed(decoder_->Finish(), token_count_ >= options_.min_tokens));
  AddText(matcher_.Flush());
  if (matcher_.matched() != nullptr) finish_.reason = engine::FinishReason::kStop;
}

void Answer::AddText(const std::string& text) {
  if (text.empty() || !options_.return_text) return;
  pending_.mutable_text()->append(text);
  has_pending_ = true;
}

void Answer::AddEcho() {
  if (!std::exchange(echoed_, true)) AddText(options_.echo);
}

bool Answer::TakePromptLogprobs(v1::PromptLogprobs* logprobs) {
  if (!has_prompt_logprobs_) return false;
  has_prompt_logprobs_ = false;
  *logprobs = std::exchange(prompt_logprobs_, v1::PromptLogprobs());
  return true;
}

bool Answer::TakeDelta(v1::Delta* delta) {
  if (!has_pending_) return false;
  has_pending_ = false;
  *delta = std::exchange(pending_, v1::Delta());
  return true;
}

double Answer::mean_logprob() const {
  if (token_count_ == 0) return -std::numeric_limits<double>::infinity();
  return logprob_sum_ / token_count_;
}

v1::Finished Answer::Finished() const {
  CHECK(ended_ && finish_.status.ok());
  v1::Finished finished;
  if (finish_.reason == engine::FinishReason::kLength) {
    finished.set_finish_reason(v1::FINISH_REASON_LENGTH);
  } else {
    finished.set_finish_reason(v1::FINISH_REASON_STOP);
  }
  if (matcher_.matched() != nullptr) {
    finished.set_stop_text(*matcher_.matched());
  } else if (finish_.stop_token_id >= 0) {
    finished.set_stop_token_id(finish_.stop_token_id);
  }
  FillCost(finish_, &finished);
  return finished;
}

void FillCost(const engine::Finish& finish, v1::Finished* out) {
  v1::Usage* const usage = out->mutable_usage();
  usage->set_prompt_tokens(finish.prompt_tokens);
  usage->set_completion_tokens(finish.completion_tokens);
  usage->set_preemptions(finish.preemptions);
  usage->set_cached_tokens(finish.cached_tokens);
  v1::Timings* const timings = out->mutable_timings();
  timings->set_queue_seconds(absl::ToDoubleSeconds(finish.queue_time));
  timings->clear_first_token_seconds();
  if (finish.first_token_time != absl::InfiniteDuration()) {
    timings->set_first_token_seconds(absl::ToDoubleSeconds(finish.first_token_time));
  }
  timings->set_total_seconds(absl::ToDoubleSeconds(finish.total_time));
}

}  // namespace ebb::server

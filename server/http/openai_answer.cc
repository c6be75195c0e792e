#include "server/http/openai_answer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/http/openai_error.h"

namespace ebb::server {
namespace {

size_t ChoiceCount(const OpenAiRequest& request) {
  return request.prompts.size() * static_cast<size_t>(request.style.n);
}

}  // namespace

OpenAiAnswer::OpenAiAnswer(CallResources* resources, std::shared_ptr<Exchange> exchange,
                           OpenAiRequest request, const AnswerHead& head,
                           const std::string& request_id, const Caller& caller)
    : resources_(resources),
      exchange_(std::move(exchange)),
      request_(std::move(request)),
      request_id_(request_id),
      caller_(caller),
      json_(head, request_.style, ChoiceCount(request_), resources->codec),
      whole_(ChoiceCount(request_)),
      ended_(ChoiceCount(request_)) {}

void OpenAiAnswer::MakeCalls() {
  // The calls outlive an answer that nobody waits for.
  const auto wake = [weak = weak_from_this(), exchange = exchange_] {
    exchange->Post([weak] {
      if (const std::shared_ptr<OpenAiAnswer> answer = weak.lock()) answer->Advance();
    });
  };
  const bool several = request_.prompts.size() > 1;
  for (size_t i = 0; i < request_.prompts.size(); ++i) {
    calls_.push_back(std::make_shared<HttpCall>(resources_, n(), request_.style.stream, wake));
    request_.prompts[i].set_request_id(several ? absl::StrCat(request_id_, "-", i) : request_id_);
  }
}

void OpenAiAnswer::Start() {
  MakeCalls();
  exchange_->Post([self = shared_from_this()] { self->exchange_->SetResponder(self); });
  for (size_t i = 0; i < calls_.size() && !over_; ++i) {
    calls_[i]->Start(request_.prompts[i], caller_);
    request_.prompts[i].Clear();  // It may be large.
  }
}

void OpenAiAnswer::OnSent() {
  sending_ = false;
  Advance();
}

void OpenAiAnswer::OnEnd(bool) {
  over_ = true;
  AbandonCalls();
}

void OpenAiAnswer::AbandonCalls() {
  if (std::exchange(abandoned_, true)) return;
  for (const std::shared_ptr<HttpCall>& call : calls_) call->Abandon();
}

void OpenAiAnswer::Advance() {
  if (over_) return;
  if (request_.style.stream) {
    AdvanceEvents();
  } else {
    AdvanceWhole();
  }
}

void OpenAiAnswer::AdvanceWhole() {
  for (size_t i = 0; i < calls_.size(); ++i) {
    if (ended_[i * n()] || calls_[i]->state() != HttpCall::State::kEnded) continue;
    v1::GenerateResponse response;
    const absl::Status status = calls_[i]->TakeWhole(&response);
    if (!status.ok()) return Fail(status);
    TakeChoices(i, std::move(response));
  }
  if (ended_count_ < ended_.size()) return;
  over_ = true;
  HttpReply reply;
  reply.headers.push_back({"x-request-id", request_id_});
  reply.body = json_.Whole(whole_, usage_);
  exchange_->Reply(std::move(reply));
}

void OpenAiAnswer::TakeChoices(size_t call, v1::GenerateResponse response) {
  const v1::Usage& usage = response.finished().usage();
  usage_.set_prompt_tokens(usage_.prompt_tokens() + usage.prompt_tokens());
  usage_.set_completion_tokens(usage_.completion_tokens() + usage.completion_tokens());
  usage_.set_cached_tokens(usage_.cached_tokens() + usage.cached_tokens());
  for (size_t answer = 0; answer < n(); ++answer) {
    CallNews& news = whole_[call * n() + answer];
    news.has_finished = true;
    *news.prompt_info.mutable_prompt_token_ids() = response.prompt_token_ids();
    *news.prompt_logprobs.mutable_logprobs() = response.prompt_logprobs();
    if (n() == 1) {
      news.delta.set_text(std::move(*response.mutable_text()));
      news.delta.mutable_token_ids()->Swap(response.mutable_token_ids());
      news.delta.mutable_logprobs()->Swap(response.mutable_logprobs());
      news.finished = response.finished();
    } else {
      v1::Choice* const choice = response.mutable_choices(static_cast<int>(answer));
      news.delta.set_text(std::move(*choice->mutable_text()));
      news.delta.mutable_token_ids()->Swap(choice->mutable_token_ids());
      news.delta.mutable_logprobs()->Swap(choice->mutable_logprobs());
      news.finished = choice->finished();
    }
    ended_[call * n() + answer] = true;
    ++ended_count_;
  }
}

void OpenAiAnswer::AdvanceEvents() {
  if (sending_) return;
  // One that is refused refuses the request, before anything is sent.
  for (const std::shared_ptr<HttpCall>& call : calls_) {
    if (call->state() == HttpCall::State::kStarting) return;
  }
  std::string events;
  for (size_t i = 0; i < calls_.size() && !over_; ++i) {
    const std::vector<CallNews> all = calls_[i]->Take();
    const absl::Status& failure = all[0].failure;
    if (!failure.ok() && !begun_ && events.empty()) return Fail(failure);
    for (size_t answer = 0; answer < n(); ++answer) {
      const size_t choice = i * n() + answer;
      if (ended_[choice]) continue;
      events += json_.Events(choice, all[answer]);
      if (!all[answer].has_finished) continue;
      ended_[choice] = true;
      ++ended_count_;
    }
    if (failure.ok()) continue;
    events += ErrorEvent(failure, request_id_);
    over_ = true;
    AbandonCalls();
  }
  if (!over_ && ended_count_ == ended_.size()) {
    events += json_.LastEvents();
    over_ = true;
  }
  if (events.empty()) return;
  if (!std::exchange(begun_, true)) exchange_->StartEvents({{"x-request-id", request_id_}});
  sending_ = true;
  exchange_->SendEvents(std::move(events), over_);
}

void OpenAiAnswer::Fail(const absl::Status& status) {
  over_ = true;
  AbandonCalls();
  HttpReply reply = ErrorReply(status, request_id_);
  reply.headers.push_back({"x-request-id", request_id_});
  exchange_->Reply(std::move(reply));
}

}  // namespace ebb::server

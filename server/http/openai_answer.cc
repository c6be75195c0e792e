#include "server/http/openai_answer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/http/openai_error.h"

namespace ebb::server {
namespace {

std::vector<std::string> PromptTexts(const OpenAiRequest& request) {
  std::vector<std::string> texts(request.prompts.size());
  if (!request.style.echo) return texts;
  for (size_t i = 0; i < texts.size(); ++i) texts[i] = request.prompts[i].text();
  return texts;
}

}  // namespace

OpenAiAnswer::OpenAiAnswer(CallResources* resources, std::shared_ptr<Exchange> exchange,
                           OpenAiRequest request, const AnswerHead& head,
                           const std::string& request_id)
    : resources_(resources),
      exchange_(std::move(exchange)),
      request_(std::move(request)),
      request_id_(request_id),
      json_(head, request_.style, PromptTexts(request_), resources->codec),
      whole_(request_.prompts.size()),
      ended_(request_.prompts.size()) {}

void OpenAiAnswer::MakeCalls() {
  // The calls outlive an answer that nobody waits for.
  const auto wake = [weak = weak_from_this(), exchange = exchange_] {
    exchange->Post([weak] {
      if (const std::shared_ptr<OpenAiAnswer> answer = weak.lock()) answer->Advance();
    });
  };
  const bool several = request_.prompts.size() > 1;
  for (size_t i = 0; i < request_.prompts.size(); ++i) {
    calls_.push_back(std::make_shared<HttpCall>(resources_, wake));
    request_.prompts[i].set_request_id(several ? absl::StrCat(request_id_, "-", i) : request_id_);
  }
}

void OpenAiAnswer::Start() {
  MakeCalls();
  exchange_->Post([self = shared_from_this()] { self->exchange_->SetResponder(self); });
  for (size_t i = 0; i < calls_.size() && !over_; ++i) {
    calls_[i]->Start(request_.prompts[i]);
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
    if (ended_[i] || calls_[i]->state() != HttpCall::State::kEnded) continue;
    whole_[i] = calls_[i]->Take();
    if (!whole_[i].failure.ok()) return Fail(whole_[i].failure);
    ended_[i] = true;
    ++ended_count_;
  }
  if (ended_count_ < calls_.size()) return;
  over_ = true;
  HttpReply reply;
  reply.headers.push_back({"x-request-id", request_id_});
  reply.body = json_.Whole(whole_);
  exchange_->Reply(std::move(reply));
}

void OpenAiAnswer::AdvanceEvents() {
  if (sending_) return;
  // One that is refused refuses the request, before anything is sent.
  for (const std::shared_ptr<HttpCall>& call : calls_) {
    if (call->state() == HttpCall::State::kStarting) return;
  }
  std::string events;
  for (size_t i = 0; i < calls_.size(); ++i) {
    if (ended_[i]) continue;
    const CallNews news = calls_[i]->Take();
    if (!news.failure.ok() && !begun_ && events.empty()) return Fail(news.failure);
    events += json_.Events(i, news);
    if (!news.failure.ok()) {
      events += ErrorEvent(news.failure);
      over_ = true;
      AbandonCalls();
      break;
    }
    if (!news.has_finished) continue;
    ended_[i] = true;
    ++ended_count_;
  }
  if (!over_ && ended_count_ == calls_.size()) {
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
  HttpReply reply = ErrorReply(status);
  reply.headers.push_back({"x-request-id", request_id_});
  exchange_->Reply(std::move(reply));
}

}  // namespace ebb::server

#include "server/answers.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace ebb::server {

Answers::Answers(const AnswerOptions& options, int32_t made, int32_t returned, bool show_special,
                 const TextCodec& codec)
    : indexed_(returned > 1),
      returned_(static_cast<size_t>(returned)),
      end_taken_(static_cast<size_t>(made), false) {
  CHECK(1 <= returned && returned <= made);
  for (int32_t i = 0; i < made; ++i) {
    answers_.push_back(std::make_unique<Answer>(options, codec.NewDecoder(show_special)));
  }
}

void Answers::AddPromptLogprobs(const std::vector<engine::PromptLogprob>& logprobs) {
  answers_[0]->AddPromptLogprobs(logprobs);
}

engine::SinkAnswer Answers::AddToken(const engine::Token& token) {
  return answers_.at(static_cast<size_t>(token.answer))->AddToken(token);
}

void Answers::EndAnswer(int32_t answer, const engine::Finish& finish) {
  answers_.at(static_cast<size_t>(answer))->End(finish);
}

void Answers::End(const engine::Finish& finish) {
  for (const auto& answer : answers_) CHECK(answer->ended());
  finish_ = finish;
  ended_ = true;
}

bool Answers::TakePromptLogprobs(v1::PromptLogprobs* logprobs) {
  return answers_[0]->TakePromptLogprobs(logprobs);
}

bool Answers::TakeDelta(v1::Delta* delta) {
  const std::vector<size_t> ranked = Ranked();
  for (size_t place = 0; place < ranked.size(); ++place) {
    if (!answers_[ranked[place]]->TakeDelta(delta)) continue;
    if (indexed_) delta->set_index(static_cast<int64_t>(place));
    return true;
  }
  return false;
}

bool Answers::TakeAnswerEnd(v1::Finished* finished) {
  if (!indexed_) return false;
  for (size_t i = 0; i < answers_.size(); ++i) {
    const Answer& answer = *answers_[i];
    if (end_taken_[i] || !answer.ended() || !answer.status().ok() || answer.has_pending()) continue;
    end_taken_[i] = true;
    *finished = answer.Finished();
    finished->set_index(static_cast<int64_t>(i));
    return true;
  }
  return false;
}

// Those that are returned, in the order in which they are.
std::vector<size_t> Answers::Ranked() const {
  std::vector<size_t> ranked(answers_.size());
  std::iota(ranked.begin(), ranked.end(), size_t{0});
  if (returned_ == answers_.size()) return ranked;
  CHECK(ended_) << "which answers are the best is known at the end";
  std::stable_sort(ranked.begin(), ranked.end(), [this](size_t a, size_t b) {
    return answers_[a]->mean_logprob() > answers_[b]->mean_logprob();
  });
  ranked.resize(returned_);
  return ranked;
}

v1::Finished Answers::Finished() const {
  CHECK(ended_ && finish_.status.ok());
  v1::Finished finished = answers_[Ranked().front()]->Finished();
  FillCost(finish_, &finished);
  return finished;
}

void Answers::TakeAll(v1::GenerateResponse* response) {
  *response->mutable_finished() = Finished();
  for (const size_t i : Ranked()) {
    v1::Delta delta;
    answers_[i]->TakeDelta(&delta);
    if (!indexed_) {
      response->set_text(std::move(*delta.mutable_text()));
      response->mutable_token_ids()->Swap(delta.mutable_token_ids());
      response->mutable_logprobs()->Swap(delta.mutable_logprobs());
      return;
    }
    v1::Choice* const choice = response->add_choices();
    choice->set_index(response->choices_size() - 1);
    choice->set_text(std::move(*delta.mutable_text()));
    choice->mutable_token_ids()->Swap(delta.mutable_token_ids());
    choice->mutable_logprobs()->Swap(delta.mutable_logprobs());
    *choice->mutable_finished() = answers_[i]->Finished();
  }
}

}  // namespace ebb::server

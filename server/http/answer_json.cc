#include "server/http/answer_json.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "base/rng.h"

namespace ebb::server {
namespace {

using Json = nlohmann::ordered_json;

Json Usage(int64_t prompt_tokens, int64_t completion_tokens, int64_t cached_tokens) {
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", completion_tokens},
          {"total_tokens", prompt_tokens + completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", cached_tokens}}}};
}

std::string ReasonOf(const v1::Finished& finished, int64_t calls) {
  if (finished.finish_reason() == v1::FINISH_REASON_LENGTH) return "length";
  return calls > 0 ? "tool_calls" : "stop";
}

// Nine letters and digits: there are templates that refuse every other form.
std::string CallId(uint64_t bits) {
  constexpr absl::string_view kLetters =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string id(9, ' ');
  for (char& letter : id) {
    letter = kLetters[bits % kLetters.size()];
    bits /= kLetters.size();
  }
  return id;
}

std::string DataEvent(const Json& json) { return absl::StrCat("data: ", JsonText(json), "\n\n"); }

Json ListOf(const google::protobuf::RepeatedField<int32_t>& ids) {
  Json list = Json::array();
  for (const int32_t id : ids) list.push_back(id);
  return list;
}

}  // namespace

AnswerJson::AnswerJson(const AnswerHead& head, const AnswerStyle& style, size_t choices,
                       const TextCodec* codec)
    : head_(head), style_(style), codec_(codec) {
  for (size_t i = 0; i < choices; ++i) choices_.emplace_back(codec, style.tool_calls);
}

Json AnswerJson::NewObject(bool chunk) const {
  const char* const object = !is_chat() ? "text_completion"
                             : chunk    ? "chat.completion.chunk"
                                        : "chat.completion";
  return {{"id", head_.id},
          {"object", object},
          {"created", head_.created_seconds},
          {"model", head_.model}};
}

void AnswerJson::AddEcho(Choice* choice, const CallNews& news) {
  const auto& ids = choice->prompt_info.prompt_token_ids();
  if (!ids.empty()) choice->logprobs.AddWithout(ids[0]);
  for (const v1::TokenLogprobs& token : news.prompt_logprobs.logprobs()) {
    choice->logprobs.Add(token);
  }
}

Json AnswerJson::LogprobsOf(Choice* choice, const v1::Delta& delta) {
  if (!style_.logprobs) return nullptr;
  if (is_chat()) return ChatLogprobs(delta.logprobs(), *codec_);
  for (const v1::TokenLogprobs& token : delta.logprobs()) choice->logprobs.Add(token);
  return choice->logprobs.Take();
}

ToolCallPiece AnswerJson::TakePiece(Choice* choice, const CallNews& news) const {
  ToolCallPiece piece = choice->parser.Feed(news.delta.text());
  if (news.has_finished) {
    ToolCallPiece last = choice->parser.Flush();
    piece.content += last.content;
    for (ToolCall& call : last.calls) piece.calls.push_back(std::move(call));
  }
  if (!style_.parallel_tool_calls) {
    piece.calls.resize(std::min<size_t>(piece.calls.size(), choice->calls == 0 ? 1 : 0));
  }
  return piece;
}

Json AnswerJson::CallJson(const ToolCall& call) {
  return {{"id", CallId(base::RandomBits(head_.call_seed, next_call_++))},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

Json AnswerJson::MessageOf(Choice* choice, const CallNews& news) {
  const ToolCallPiece piece = TakePiece(choice, news);
  Json message = {{"role", "assistant"}, {"content", piece.content}, {"refusal", nullptr}};
  if (piece.calls.empty()) return message;
  if (piece.content.empty()) message["content"] = nullptr;
  for (const ToolCall& call : piece.calls) message["tool_calls"].push_back(CallJson(call));
  choice->calls = static_cast<int64_t>(piece.calls.size());
  return message;
}

Json AnswerJson::WholeChoice(size_t index, const CallNews& news) {
  Choice& choice = choices_[index];
  choice.prompt_info = news.prompt_info;
  if (style_.echo_logprobs) AddEcho(&choice, news);
  Json out = {{"index", index}};
  if (is_chat()) {
    out["message"] = MessageOf(&choice, news);
  } else {
    out["text"] = news.delta.text();
  }
  out["logprobs"] = LogprobsOf(&choice, news.delta);
  out["finish_reason"] = ReasonOf(news.finished, choice.calls);
  if (style_.return_token_ids) {
    if (!is_chat()) out["prompt_token_ids"] = ListOf(news.prompt_info.prompt_token_ids());
    out["token_ids"] = ListOf(news.delta.token_ids());
  }
  return out;
}

std::string AnswerJson::Whole(const std::vector<CallNews>& choices, const v1::Usage& usage) {
  CHECK_EQ(choices.size(), choices_.size());
  Json out = NewObject(/*chunk=*/false);
  Json& list = out["choices"] = Json::array();
  for (size_t i = 0; i < choices.size(); ++i) list.push_back(WholeChoice(i, choices[i]));
  out["usage"] = Usage(usage.prompt_tokens(), usage.completion_tokens(), usage.cached_tokens());
  if (is_chat() && style_.return_token_ids) {
    out["prompt_token_ids"] = ListOf(choices[0].prompt_info.prompt_token_ids());
  }
  return JsonText(out);
}

std::string AnswerJson::Event(size_t index, Json content, Json logprobs, Json finish_reason,
                              const Json& extra) {
  Json choice = {{"index", index}};
  choice[is_chat() ? "delta" : "text"] = std::move(content);
  choice["logprobs"] = std::move(logprobs);
  choice["finish_reason"] = std::move(finish_reason);
  choice.update(extra);
  Json out = NewObject(/*chunk=*/true);
  out["choices"] = Json::array({std::move(choice)});
  if (style_.continuous_usage) {
    const Choice& choice_so_far = choices_[index];
    out["usage"] = Usage(choice_so_far.prompt_info.prompt_tokens(), choice_so_far.completion_tokens,
                         choice_so_far.cached_tokens);
  } else if (style_.include_usage) {
    out["usage"] = nullptr;
  }
  return DataEvent(out);
}

std::string AnswerJson::Events(size_t index, const CallNews& news) {
  Choice& choice = choices_[index];
  if (news.has_prompt_info) choice.prompt_info = news.prompt_info;
  // Nothing is told before there is something of the answer: until then an error is a status.
  if (!news.has_prompt_logprobs && !news.has_delta && !news.has_finished) return "";
  std::string events;
  if (!std::exchange(choice.opened, true)) {
    if (style_.echo_logprobs) AddEcho(&choice, news);
    Json extra = Json::object();
    if (style_.return_token_ids) {
      extra["prompt_token_ids"] = ListOf(choice.prompt_info.prompt_token_ids());
    }
    if (is_chat()) {
      events += Event(index, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr, extra);
    } else if (!extra.empty()) {
      events += Event(index, "", LogprobsOf(&choice, v1::Delta()), nullptr, extra);
    }
  }
  const v1::Delta& delta = news.delta;
  choice.completion_tokens += delta.token_ids_size();
  const ToolCallPiece piece = TakePiece(&choice, news);
  if (!piece.content.empty() || delta.logprobs_size() > 0 || delta.token_ids_size() > 0) {
    Json extra = Json::object();
    if (style_.return_token_ids) extra["token_ids"] = ListOf(delta.token_ids());
    Json content = is_chat() ? Json{{"content", piece.content}} : Json(piece.content);
    events += Event(index, std::move(content), LogprobsOf(&choice, delta), nullptr, extra);
  }
  // One in each event: there are clients that look at the first alone.
  for (const ToolCall& call : piece.calls) {
    Json told = {{"index", choice.calls++}};
    told.update(CallJson(call));
    events += Event(index, {{"tool_calls", Json::array({std::move(told)})}}, nullptr, nullptr,
                    Json::object());
  }
  if (news.has_finished) {
    choice.completion_tokens = news.finished.usage().completion_tokens();
    choice.cached_tokens = news.finished.usage().cached_tokens();
    events += Event(index, is_chat() ? Json::object() : Json(""), nullptr,
                    ReasonOf(news.finished, choice.calls), Json::object());
  }
  return events;
}

std::string AnswerJson::LastEvents() const {
  std::string events;
  if (style_.include_usage) {
    int64_t prompt_tokens = 0;
    int64_t completion_tokens = 0;
    int64_t cached_tokens = 0;
    for (size_t i = 0; i < choices_.size(); ++i) {
      const bool opens_prompt = i % static_cast<size_t>(style_.n) == 0;
      if (opens_prompt) {
        prompt_tokens += choices_[i].prompt_info.prompt_tokens();
        cached_tokens += choices_[i].cached_tokens;
      }
      completion_tokens += choices_[i].completion_tokens;
    }
    Json out = NewObject(/*chunk=*/true);
    out["choices"] = Json::array();
    out["usage"] = Usage(prompt_tokens, completion_tokens, cached_tokens);
    events += DataEvent(out);
  }
  return events + "data: [DONE]\n\n";
}

}  // namespace ebb::server

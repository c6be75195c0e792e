#include "server/http/openai_request.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "engine/request.h"
#include "server/field_checks.h"
#include "server/http/body_fields.h"
#include "server/http/openai_chat.h"
#include "server/http/unsupported_fields.h"

namespace ebb::server {
namespace {

using model::JsonValue;

constexpr int64_t kCompletionTokensDefault = 16;  // As OpenAI's.
constexpr uint32_t kPromptsMax = 128;

// {"50256": -100}: the keys are token ids.
absl::Status ReadLogitBias(JsonValue body, v1::Sampling* sampling) {
  const std::optional<JsonValue> biases = FindField(body, "logit_bias");
  if (!biases.has_value()) return absl::OkStatus();
  if (!biases->IsObject()) return FieldError("logit_bias", "must be an object");
  return biases->ForEachMember([&](absl::string_view key, JsonValue value) -> absl::Status {
    int64_t id = 0;
    if (!absl::SimpleAtoi(key, &id)) {
      return FieldError("logit_bias", "must have token ids for keys");
    }
    const std::optional<double> bias = value.Number();
    if (!bias.has_value()) return FieldError("logit_bias", "must have numbers for values");
    (*sampling->mutable_logit_bias())[id] = *bias;
    return absl::OkStatus();
  });
}

absl::Status ReadPenalties(JsonValue body, v1::Sampling* sampling) {
  RETURN_IF_ERROR(ReadNumber(body, "repetition_penalty",
                             [&](double v) { sampling->set_repetition_penalty(v); }));
  RETURN_IF_ERROR(
      ReadNumber(body, "presence_penalty", [&](double v) { sampling->set_presence_penalty(v); }));
  return ReadNumber(body, "frequency_penalty",
                    [&](double v) { sampling->set_frequency_penalty(v); });
}

absl::Status ReadSampling(JsonValue body, v1::Sampling* sampling) {
  RETURN_IF_ERROR(ReadPenalties(body, sampling));
  RETURN_IF_ERROR(ReadLogitBias(body, sampling));
  RETURN_IF_ERROR(ReadStrings(
      body, "bad_words", [&](absl::string_view v) { sampling->add_bad_words(std::string(v)); }));
  RETURN_IF_ERROR(ReadNumber(body, "temperature", [&](double v) { sampling->set_temperature(v); }));
  RETURN_IF_ERROR(ReadNumber(body, "top_p", [&](double v) { sampling->set_top_p(v); }));
  RETURN_IF_ERROR(ReadNumber(body, "min_p", [&](double v) { sampling->set_min_p(v); }));
  // Others write -1 for "all", which is 0 here.
  RETURN_IF_ERROR(
      ReadInteger(body, "top_k", [&](int64_t v) { sampling->set_top_k(v == -1 ? 0 : v); }));
  return ReadInteger(body, "seed",
                     [&](int64_t v) { sampling->set_seed(static_cast<uint64_t>(v)); });
}

absl::Status ReadStopping(JsonValue body, v1::Stopping* stopping) {
  RETURN_IF_ERROR(ReadInteger(body, "max_tokens", [&](int64_t v) { stopping->set_max_tokens(v); }));
  RETURN_IF_ERROR(ReadInteger(body, "min_tokens", [&](int64_t v) { stopping->set_min_tokens(v); }));
  RETURN_IF_ERROR(
      ReadStrings(body, "stop", [&](absl::string_view v) { stopping->add_stop(std::string(v)); }));
  RETURN_IF_ERROR(
      ReadIntegers(body, "stop_token_ids", [&](int64_t v) { stopping->add_stop_token_ids(v); }));
  return ReadBool(body, "ignore_eos", [&](bool v) { stopping->set_ignore_eos(v); });
}

absl::Status ReadStyle(JsonValue body, AnswerStyle* style) {
  RETURN_IF_ERROR(ReadBool(body, "stream", [&](bool v) { style->stream = v; }));
  RETURN_IF_ERROR(ReadBool(body, "return_token_ids", [&](bool v) { style->return_token_ids = v; }));
  const std::optional<JsonValue> options = FindField(body, "stream_options");
  if (!options.has_value()) return absl::OkStatus();
  if (!options->IsObject()) return FieldError("stream_options", "must be an object");
  if (!style->stream) return FieldError("stream_options", "is for streamed answers only");
  RETURN_IF_ERROR(ReadBool(*options, "include_usage", [&](bool v) { style->include_usage = v; }));
  return ReadBool(*options, "continuous_usage_stats", [&](bool v) { style->continuous_usage = v; });
}

// What both kinds have in common.
absl::Status ReadCommon(JsonValue body, v1::GenerateRequest* request, AnswerStyle* style) {
  RETURN_IF_ERROR(
      ReadString(body, "model", [&](absl::string_view v) { request->set_model(std::string(v)); }));
  RETURN_IF_ERROR(ReadInteger(body, "priority", [&](int64_t v) { request->set_priority(v); }));
  RETURN_IF_ERROR(ReadString(
      body, "cache_salt", [&](absl::string_view v) { request->set_cache_salt(std::string(v)); }));
  RETURN_IF_ERROR(ReadSampling(body, request->mutable_sampling()));
  RETURN_IF_ERROR(ReadStopping(body, request->mutable_stopping()));
  RETURN_IF_ERROR(ReadStyle(body, style));
  // The ids are also how tokens are counted while they stream.
  v1::Output* const output = request->mutable_output();
  output->set_return_token_ids(style->return_token_ids || style->continuous_usage);
  output->set_return_prompt_token_ids(style->return_token_ids);
  RETURN_IF_ERROR(ReadInteger(body, "n", [&](int64_t v) { output->set_n(v); }));
  RETURN_IF_ERROR(ReadInteger(body, "best_of", [&](int64_t v) { output->set_best_of(v); }));
  if (!output->has_n()) return absl::OkStatus();
  // More than that is refused when the request is read, but choices are made before.
  if (output->n() < 1 || output->n() > engine::kAnswersMax) {
    return FieldError(
        "n", absl::StrCat("must be from 1 to ", engine::kAnswersMax, ", got ", output->n()));
  }
  style->n = output->n();
  return absl::OkStatus();
}

absl::Status AddTokens(JsonValue list, const std::string& name, v1::TokenIds* out) {
  return list.ForEachElement([&](JsonValue element) -> absl::Status {
    if (const std::optional<int64_t> id = element.Int64()) {
      out->add_ids(*id);
      return absl::OkStatus();
    }
    return FieldError(
        name, absl::StrCat("must be a list of token ids, got ", element.TypeName(), " in it"));
  });
}

// A string, token ids, or a list of either: `base` with each of the prompts.
absl::Status ReadPrompts(JsonValue body, const v1::GenerateRequest& base,
                         std::vector<v1::GenerateRequest>* out) {
  const std::optional<JsonValue> prompt = FindField(body, "prompt");
  if (!prompt.has_value()) return FieldError("prompt", "is required");
  if (const std::optional<absl::string_view> text = prompt->String()) {
    out->emplace_back(base).set_text(std::string(*text));
    return absl::OkStatus();
  }
  if (!prompt->IsArray()) {
    return FieldError("prompt", absl::StrCat("must be a string, a list of token ids, or a list of ",
                                             "either, got ", prompt->TypeName()));
  }
  if (prompt->size() == 0) return FieldError("prompt", "must not be an empty list");
  bool is_ids = false;
  RETURN_IF_ERROR(prompt->ForEachElement([&](JsonValue element) {
    is_ids |= element.Number().has_value();
    return absl::OkStatus();
  }));
  if (is_ids) return AddTokens(*prompt, "prompt", out->emplace_back(base).mutable_token_ids());
  RETURN_IF_ERROR(CountAtMost("prompt", prompt->size(), kPromptsMax));
  return prompt->ForEachElement([&](JsonValue element) -> absl::Status {
    const std::string name = absl::StrCat("prompt[", out->size(), "]");
    v1::GenerateRequest& request = out->emplace_back(base);
    if (const std::optional<absl::string_view> text = element.String()) {
      request.set_text(std::string(*text));
      return absl::OkStatus();
    }
    if (element.IsArray()) return AddTokens(element, name, request.mutable_token_ids());
    return FieldError(
        name, absl::StrCat("must be a string or a list of token ids, got ", element.TypeName()));
  });
}

}  // namespace

absl::StatusOr<OpenAiRequest> ReadCompletionsRequest(JsonValue body) {
  RETURN_IF_ERROR(CheckCompletionsFields(body));
  OpenAiRequest out;
  out.style.api = OpenAiApi::kCompletions;
  v1::GenerateRequest base;
  base.mutable_stopping()->set_max_tokens(kCompletionTokensDefault);
  RETURN_IF_ERROR(ReadCommon(body, &base, &out.style));
  v1::Output* const output = base.mutable_output();
  RETURN_IF_ERROR(ReadBool(body, "echo", [&](bool v) { output->set_echo(v); }));
  RETURN_IF_ERROR(ReadInteger(body, "logprobs", [&](int64_t v) {
    out.style.logprobs = true;
    output->set_logprobs(v);
  }));
  // The first prompt token, which has no log-probability, is told by its id.
  out.style.echo_logprobs = output->echo() && out.style.logprobs;
  if (out.style.echo_logprobs) output->set_return_prompt_token_ids(true);
  // Who scores a prompt asks for one token and leaves the last one out: so there must be one, also
  // where it would end the answer.
  if (out.style.echo_logprobs && base.stopping().max_tokens() == 1) {
    base.mutable_stopping()->set_ignore_eos(true);
  }
  bool parse_special = true;
  RETURN_IF_ERROR(ReadBool(body, "parse_special", [&](bool v) { parse_special = v; }));
  RETURN_IF_ERROR(ReadPrompts(body, base, &out.prompts));
  for (v1::GenerateRequest& prompt : out.prompts) {
    if (prompt.has_text()) prompt.set_parse_special(parse_special);
  }
  return out;
}

absl::StatusOr<OpenAiRequest> ReadChatRequest(JsonValue body, ToolCallFormat tool_calls) {
  RETURN_IF_ERROR(CheckChatFields(body));
  OpenAiRequest out;
  out.style.api = OpenAiApi::kChat;
  v1::GenerateRequest request;
  RETURN_IF_ERROR(ReadCommon(body, &request, &out.style));
  // OpenAI's newer name for max_tokens; with both, the newer one counts.
  RETURN_IF_ERROR(ReadInteger(body, "max_completion_tokens",
                              [&](int64_t v) { request.mutable_stopping()->set_max_tokens(v); }));
  RETURN_IF_ERROR(ReadBool(body, "logprobs", [&](bool v) { out.style.logprobs = v; }));
  if (out.style.logprobs) request.mutable_output()->set_logprobs(0);
  bool top_without_logprobs = false;
  RETURN_IF_ERROR(ReadInteger(body, "top_logprobs", [&](int64_t v) {
    top_without_logprobs = v != 0 && !out.style.logprobs;
    if (out.style.logprobs) request.mutable_output()->set_logprobs(v);
  }));
  if (top_without_logprobs) return FieldError("top_logprobs", "needs logprobs to be true");
  RETURN_IF_ERROR(ReadConversation(body, request.mutable_chat()));
  RETURN_IF_ERROR(
      ReadBool(body, "parallel_tool_calls", [&](bool v) { out.style.parallel_tool_calls = v; }));
  out.style.tools = request.chat().has_tools_json();
  if (out.style.tools) {
    out.style.tool_calls = tool_calls;
    request.mutable_output()->set_show_special(MarksAreControlTokens(tool_calls));
  }
  out.prompts.push_back(std::move(request));
  return out;
}

}  // namespace ebb::server

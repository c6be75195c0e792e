#include "server/request_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "server/chat_reader.h"
#include "server/field_checks.h"

namespace ebb::server {
namespace {

constexpr int32_t kInt32Max = std::numeric_limits<int32_t>::max();
constexpr size_t kModelBytesMax = 256;
constexpr size_t kCacheSaltBytesMax = 256;
constexpr double kTemperatureMin = 0.001;
constexpr double kTemperatureMax = 100;
constexpr double kRepetitionMin = 0.01;
constexpr double kRepetitionMax = 100;
constexpr double kPenaltyMax = 2;
constexpr int kLogitBiasesMax = 1024;
constexpr double kLogitBiasMax = 100;
constexpr size_t kBadWordBytesMax = 256;
constexpr int64_t kPriorityMax = 100;

// 64-bit ids of the wire as the engine's. `limit` is one past the highest.
absl::StatusOr<std::vector<int32_t>> ReadTokenIds(
    absl::string_view field, const google::protobuf::RepeatedField<int64_t>& ids, int32_t limit) {
  std::vector<int32_t> out;
  out.reserve(ids.size());
  for (int i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= limit) {
      return FieldError(absl::StrCat(field, "[", i, "]"),
                        absl::StrCat("must be a token id from 0 to ", limit - 1, ", got ", ids[i]));
    }
    out.push_back(static_cast<int32_t>(ids[i]));
  }
  return out;
}

}  // namespace

RequestReader::RequestReader(const RequestLimits& limits, const TextCodec* codec)
    : limits_(limits), codec_(codec) {
  CHECK_GE(limits_.context_tokens, 2);
  CHECK_GE(limits_.vocabulary_tokens, 1);
}

absl::StatusOr<ReadRequest> RequestReader::Read(const v1::GenerateRequest& in,
                                                uint64_t default_seed) const {
  ReadRequest out;
  RETURN_IF_ERROR(CheckNoUnknownFields(in));
  if (in.has_request_id()) {
    RETURN_IF_ERROR(CheckRequestId(in.request_id()));
    out.request.label = in.request_id();
  }
  if (in.has_model() && in.model() != limits_.model_name) {
    if (in.model().size() > kModelBytesMax) return FieldError("model", "is too long for a name");
    return absl::NotFoundError(absl::StrCat("model: this server serves \"", limits_.model_name,
                                            "\"; leave the field out or give that name"));
  }
  ASSIGN_OR_RETURN(
      const int64_t priority,
      IntegerIn("priority", in.has_priority() ? in.priority() : 0, -kPriorityMax, kPriorityMax));
  out.request.priority = static_cast<int32_t>(priority);
  if (in.cache_salt().size() > kCacheSaltBytesMax) {
    return FieldError("cache_salt", absl::StrCat("has ", in.cache_salt().size(), " bytes; at most ",
                                                 kCacheSaltBytesMax, " are taken"));
  }
  out.request.cache_salt = in.cache_salt();
  RETURN_IF_ERROR(ReadSampling(in, default_seed, &out));
  RETURN_IF_ERROR(ReadStopping(in.stopping(), &out));
  RETURN_IF_ERROR(ReadOutput(in.output(), &out));

  RETURN_IF_ERROR(ReadBadWords(in.sampling(), &out.request.rules));
  ASSIGN_OR_RETURN(out.request.prompt, ReadPrompt(in));
  if (in.output().echo()) {
    ASSIGN_OR_RETURN(out.answer.echo, ReadEcho(in, out.request.prompt));
  }
  const int32_t room = limits_.context_tokens - static_cast<int32_t>(out.request.prompt.size());
  engine::StoppingParams& stopping = out.request.stopping;
  if (!in.stopping().has_max_tokens()) stopping.max_tokens = limits_.max_tokens_default;
  // Not a clamp of what the client may see: an answer ends at the end of the context anyway.
  stopping.max_tokens = std::min(stopping.max_tokens, room);
  stopping.min_tokens = std::min(stopping.min_tokens, room);
  out.answer.min_tokens = stopping.min_tokens;
  return out;
}

absl::Status RequestReader::ReadSampling(const v1::GenerateRequest& in, uint64_t default_seed,
                                         ReadRequest* out) const {
  const v1::Sampling& sampling = in.sampling();
  engine::SamplingParams& params = out->request.sampling;
  if (sampling.has_temperature()) {
    ASSIGN_OR_RETURN(params.temperature,
                     NumberIn("sampling.temperature", sampling.temperature(), 0, kTemperatureMax));
    if (params.temperature != 0 && params.temperature < kTemperatureMin) {
      return FieldError("sampling.temperature",
                        absl::StrCat("must be 0 (greedy) or at least ", kTemperatureMin, ", got ",
                                     params.temperature));
    }
  }
  if (sampling.has_top_p()) {
    ASSIGN_OR_RETURN(params.top_p, NumberIn("sampling.top_p", sampling.top_p(), 0, 1));
    if (params.top_p <= 0) return FieldError("sampling.top_p", "must be above 0, got 0");
  }
  if (sampling.has_top_k()) {
    ASSIGN_OR_RETURN(const int64_t top_k,
                     IntegerIn("sampling.top_k", sampling.top_k(), 0, kInt32Max));
    params.top_k = static_cast<int32_t>(top_k);
  }
  if (sampling.has_min_p()) {
    ASSIGN_OR_RETURN(params.min_p, NumberIn("sampling.min_p", sampling.min_p(), 0, 1));
  }
  params.seed = sampling.has_seed() ? sampling.seed() : default_seed;
  RETURN_IF_ERROR(ReadPenalties(sampling, &params));
  return ReadLogitBias(sampling, &out->request.rules);
}

absl::Status RequestReader::ReadPenalties(const v1::Sampling& in,
                                          engine::SamplingParams* params) const {
  if (in.has_repetition_penalty()) {
    ASSIGN_OR_RETURN(params->repetition_penalty,
                     NumberIn("sampling.repetition_penalty", in.repetition_penalty(),
                              kRepetitionMin, kRepetitionMax));
  }
  if (in.has_presence_penalty()) {
    ASSIGN_OR_RETURN(
        params->presence_penalty,
        NumberIn("sampling.presence_penalty", in.presence_penalty(), -kPenaltyMax, kPenaltyMax));
  }
  if (in.has_frequency_penalty()) {
    ASSIGN_OR_RETURN(
        params->frequency_penalty,
        NumberIn("sampling.frequency_penalty", in.frequency_penalty(), -kPenaltyMax, kPenaltyMax));
  }
  return absl::OkStatus();
}

absl::Status RequestReader::ReadLogitBias(const v1::Sampling& in, engine::TokenRules* rules) const {
  RETURN_IF_ERROR(CountAtMost("sampling.logit_bias", in.logit_bias_size(), kLogitBiasesMax));
  for (const auto& [id, bias] : in.logit_bias()) {
    const std::string field = absl::StrCat("sampling.logit_bias[", id, "]");
    if (id < 0 || id >= limits_.vocabulary_tokens) {
      return FieldError(
          field, absl::StrCat("must be for a token id from 0 to ", limits_.vocabulary_tokens - 1));
    }
    ASSIGN_OR_RETURN(const double checked, NumberIn(field, bias, -kLogitBiasMax, kLogitBiasMax));
    rules->logit_bias.push_back({static_cast<int32_t>(id), static_cast<float>(checked)});
  }
  // The wire gives a map in no order.
  std::sort(rules->logit_bias.begin(), rules->logit_bias.end(),
            [](const auto& a, const auto& b) { return a.token_id < b.token_id; });
  return absl::OkStatus();
}

// A word as the tokenizer has it at the begin of a text and inside of one, where the two differ.
absl::Status RequestReader::ReadBadWords(const v1::Sampling& in, engine::TokenRules* rules) const {
  RETURN_IF_ERROR(CountAtMost("sampling.bad_words", in.bad_words_size(), kBadWordsMax));
  for (int i = 0; i < in.bad_words_size(); ++i) {
    const std::string field = absl::StrCat("sampling.bad_words[", i, "]");
    const size_t bytes = in.bad_words(i).size();
    if (bytes < 1 || bytes > kBadWordBytesMax) {
      return FieldError(field,
                        absl::StrCat("must have 1 to ", kBadWordBytesMax, " bytes, got ", bytes));
    }
    const size_t begin = in.bad_words(i).find_first_not_of(' ');
    if (begin == std::string::npos) return FieldError(field, "must be more than spaces");
    const std::string word = in.bad_words(i).substr(begin);
    ASSIGN_OR_RETURN(std::vector<int32_t> plain, codec_->Encode(word, /*parse_special=*/false));
    ASSIGN_OR_RETURN(std::vector<int32_t> spaced,
                     codec_->Encode(" " + word, /*parse_special=*/false));
    if (plain.empty()) return FieldError(field, "has no tokens");
    const bool ends_alike =
        spaced.size() >= plain.size() && std::equal(plain.rbegin(), plain.rend(), spaced.rbegin());
    rules->bad_words.push_back(std::move(plain));
    if (!ends_alike && !spaced.empty()) rules->bad_words.push_back(std::move(spaced));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> RequestReader::ReadEcho(const v1::GenerateRequest& in,
                                                    const std::vector<int32_t>& prompt) const {
  switch (in.prompt_case()) {
    case v1::GenerateRequest::kText:
      return in.text();
    case v1::GenerateRequest::kTokenIds:
      // As log-probabilities of the same tokens read.
      return codec_->Decode(prompt, /*show_special=*/true);
    default:
      return FieldError("output.echo", "is for a prompt of text or token_ids, not for a chat");
  }
}

absl::Status RequestReader::ReadStopping(const v1::Stopping& in, ReadRequest* out) const {
  engine::StoppingParams& stopping = out->request.stopping;
  if (in.has_max_tokens()) {
    ASSIGN_OR_RETURN(const int64_t max_tokens,
                     IntegerIn("stopping.max_tokens", in.max_tokens(), 1, kInt32Max));
    stopping.max_tokens = static_cast<int32_t>(max_tokens);
  }
  if (in.has_min_tokens()) {
    ASSIGN_OR_RETURN(const int64_t min_tokens,
                     IntegerIn("stopping.min_tokens", in.min_tokens(), 0, kInt32Max));
    if (min_tokens > 0 && !in.has_max_tokens()) {
      return FieldError("stopping.min_tokens", "needs stopping.max_tokens");
    }
    if (min_tokens > stopping.max_tokens) {
      return FieldError("stopping.min_tokens",
                        absl::StrCat("must be at most stopping.max_tokens, got ", min_tokens,
                                     " and ", stopping.max_tokens));
    }
    stopping.min_tokens = static_cast<int32_t>(min_tokens);
  }
  RETURN_IF_ERROR(CountAtMost("stopping.stop", in.stop_size(), limits_.stop_strings_max));
  for (int i = 0; i < in.stop_size(); ++i) {
    const size_t bytes = in.stop(i).size();
    if (bytes < 1 || bytes > static_cast<size_t>(limits_.stop_string_bytes_max)) {
      return FieldError(
          absl::StrCat("stopping.stop[", i, "]"),
          absl::StrCat("must have 1 to ", limits_.stop_string_bytes_max, " bytes, got ", bytes));
    }
    out->answer.stop.push_back(in.stop(i));
  }
  RETURN_IF_ERROR(
      CountAtMost("stopping.stop_token_ids", in.stop_token_ids_size(), limits_.stop_token_ids_max));
  ASSIGN_OR_RETURN(
      stopping.stop_token_ids,
      ReadTokenIds("stopping.stop_token_ids", in.stop_token_ids(), limits_.vocabulary_tokens));
  stopping.ignore_eos = in.ignore_eos();
  return absl::OkStatus();
}

absl::Status RequestReader::ReadOutput(const v1::Output& in, ReadRequest* out) const {
  if (in.has_return_text()) out->answer.return_text = in.return_text();
  out->answer.return_token_ids = in.return_token_ids();
  out->show_special = in.show_special();
  out->return_prompt_token_ids = in.return_prompt_token_ids();
  if (in.has_logprobs()) {
    ASSIGN_OR_RETURN(const int64_t count,
                     IntegerIn("output.logprobs", in.logprobs(), 0, limits_.logprobs_max));
    out->request.sampling.logprobs = static_cast<int32_t>(count);
    out->answer.return_logprobs = true;
  }
  if (in.has_prompt_logprobs()) {
    ASSIGN_OR_RETURN(const int64_t count, IntegerIn("output.prompt_logprobs", in.prompt_logprobs(),
                                                    0, limits_.logprobs_max));
    out->request.sampling.prompt_logprobs = static_cast<int32_t>(count);
  }
  if (in.echo()) {
    if (!out->answer.return_text) return FieldError("output.echo", "needs output.return_text");
    if (in.has_logprobs() && !in.has_prompt_logprobs()) {
      out->request.sampling.prompt_logprobs = out->request.sampling.logprobs;
    }
  }
  return ReadAnswers(in, out);
}

absl::Status RequestReader::ReadAnswers(const v1::Output& in, ReadRequest* out) const {
  ASSIGN_OR_RETURN(const int64_t n,
                   IntegerIn("output.n", in.has_n() ? in.n() : 1, 1, limits_.answers_max));
  ASSIGN_OR_RETURN(
      const int64_t best_of,
      IntegerIn("output.best_of", in.has_best_of() ? in.best_of() : n, 1, limits_.answers_max));
  if (best_of < n) {
    return FieldError("output.best_of",
                      absl::StrCat("must be at least output.n, got ", best_of, " and ", n));
  }
  out->returned_answers = static_cast<int32_t>(n);
  out->request.n = static_cast<int32_t>(best_of);
  // What they are ranked by.
  if (best_of > n && !in.has_logprobs()) out->request.sampling.logprobs = 0;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> RequestReader::ReadPrompt(
    const v1::GenerateRequest& in) const {
  if (in.parse_special() && in.prompt_case() != v1::GenerateRequest::kText) {
    return FieldError("parse_special", "is for a text prompt only");
  }
  switch (in.prompt_case()) {
    case v1::GenerateRequest::kText:
      return ReadText(in);
    case v1::GenerateRequest::kTokenIds: {
      const auto& ids = in.token_ids().ids();
      if (ids.empty()) return FieldError("token_ids.ids", "must not be empty");
      RETURN_IF_ERROR(CheckPromptFits("token_ids.ids", ids.size()));
      return ReadTokenIds("token_ids.ids", ids, limits_.vocabulary_tokens);
    }
    case v1::GenerateRequest::kChat:
      return EncodeChat(in.chat());
    case v1::GenerateRequest::PROMPT_NOT_SET:
      break;
  }
  return FieldError("prompt", "is required: set text, token_ids or chat");
}

absl::StatusOr<std::vector<int32_t>> RequestReader::ReadText(const v1::GenerateRequest& in) const {
  if (in.text().empty()) return FieldError("text", "must not be empty");
  RETURN_IF_ERROR(CheckTextFits("text", in.text().size()));
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, codec_->Encode(in.text(), in.parse_special()));
  if (codec_->prefix_token_id() >= 0) ids.insert(ids.begin(), codec_->prefix_token_id());
  if (ids.empty()) return FieldError("text", "has no tokens");
  RETURN_IF_ERROR(CheckPromptFits("text", ids.size()));
  return ids;
}

absl::StatusOr<std::vector<int32_t>> RequestReader::EncodeChat(const v1::Chat& chat) const {
  RETURN_IF_ERROR(CheckTextFits("chat", ChatBytes(chat)));
  ASSIGN_OR_RETURN(const model::ChatConversation conversation, ReadChat(chat));
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, codec_->EncodeChat(conversation));
  if (ids.empty()) return FieldError("chat.messages", "the chat template gave no tokens");
  RETURN_IF_ERROR(CheckPromptFits("chat.messages", ids.size()));
  return ids;
}

absl::Status RequestReader::CheckTextFits(absl::string_view field, size_t text_bytes) const {
  const size_t tokens_at_least = text_bytes / codec_->token_bytes_max();
  if (tokens_at_least < static_cast<size_t>(limits_.context_tokens)) return absl::OkStatus();
  return FieldError(field, absl::StrCat("has ", text_bytes, " bytes, so at least ", tokens_at_least,
                                        " tokens; the context holds ", limits_.context_tokens,
                                        ", one of them for the answer"));
}

absl::Status RequestReader::CheckPromptFits(absl::string_view field, size_t token_count) const {
  if (token_count < static_cast<size_t>(limits_.context_tokens)) return absl::OkStatus();
  return FieldError(field, absl::StrCat("has ", token_count, " tokens; the context holds ",
                                        limits_.context_tokens, ", one of them for the answer"));
}

absl::StatusOr<std::vector<int32_t>> RequestReader::ReadTokenize(
    const v1::TokenizeRequest& in) const {
  RETURN_IF_ERROR(CheckNoUnknownFields(in));
  if (!in.has_text()) return FieldError("text", "is required");
  return codec_->Encode(in.text(), in.parse_special());
}

absl::StatusOr<std::string> RequestReader::ReadDetokenize(const v1::DetokenizeRequest& in) const {
  RETURN_IF_ERROR(CheckNoUnknownFields(in));
  RETURN_IF_ERROR(CountAtMost("token_ids", in.token_ids_size(), limits_.detokenize_tokens_max));
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                   ReadTokenIds("token_ids", in.token_ids(), limits_.vocabulary_tokens));
  return codec_->Decode(ids, in.show_special());
}

}  // namespace ebb::server

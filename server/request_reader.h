// RequestReader: checks a GenerateRequest, field by field, and turns it into what the engine takes.
//
//   GenerateRequest ──> ranges ──> sizes ──> tokens ──> engine::Request + AnswerOptions
//
// Everything that can be refused is refused here, before the request is queued: the engine gets ids
// and numbers that it need not look at again. The cheap checks come first; text is tokenised only
// when its size allows it to fit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/request.h"
#include "proto/ebb.pb.h"
#include "server/answer.h"
#include "server/text_codec.h"

namespace ebb::server {

// Token ids that bad words may forbid at once: a word is read with and without a space before it.
inline constexpr int32_t kBadWordsMax = 128;
inline constexpr int32_t kBadWordIdsMax = 2 * kBadWordsMax;

struct RequestLimits {
  std::string model_name;         // What `model` must be, if it is set.
  int32_t context_tokens = 0;     // Prompt and answer together. At least 2.
  int32_t vocabulary_tokens = 0;  // Token ids are below this: the embedding's rows.
  int32_t max_tokens_default = 0;
  int32_t answers_max = engine::kAnswersMax;
  int32_t logprobs_max = 20;
  int32_t stop_strings_max = 16;
  int32_t stop_string_bytes_max = 256;
  int32_t stop_token_ids_max = 64;
  int32_t detokenize_tokens_max = 1 << 16;
};

struct ReadRequest {
  engine::Request request;  // Without deadline; `label` is the client's request_id or empty.
  AnswerOptions answer;
  int32_t returned_answers = 1;  // Of the request's `n`, those with the highest log-probability.
  bool return_prompt_token_ids = false;
  bool show_special = false;  // Control tokens in the answer give their text.
};

// Thread-safe and immutable.
class RequestReader {
 public:
  // `codec` outlives this.
  RequestReader(const RequestLimits& limits, const TextCodec* codec);

  // `default_seed` stands in for a seed that is not set. INVALID_ARGUMENT names the field, its
  // range and what came; NOT_FOUND for another model; FAILED_PRECONDITION for a chat without a
  // template.
  absl::StatusOr<ReadRequest> Read(const v1::GenerateRequest& in, uint64_t default_seed) const;

  absl::StatusOr<std::vector<int32_t>> ReadTokenize(const v1::TokenizeRequest& in) const;
  absl::StatusOr<std::string> ReadDetokenize(const v1::DetokenizeRequest& in) const;

 private:
  absl::Status ReadSampling(const v1::GenerateRequest& in, uint64_t default_seed,
                            ReadRequest* out) const;
  absl::Status ReadStopping(const v1::Stopping& in, ReadRequest* out) const;
  absl::Status ReadOutput(const v1::Output& in, ReadRequest* out) const;
  absl::Status ReadAnswers(const v1::Output& in, ReadRequest* out) const;
  absl::Status ReadPenalties(const v1::Sampling& in, engine::SamplingParams* params) const;
  absl::Status ReadLogitBias(const v1::Sampling& in, engine::TokenRules* rules) const;
  absl::Status ReadBadWords(const v1::Sampling& in, engine::TokenRules* rules) const;
  absl::StatusOr<std::string> ReadEcho(const v1::GenerateRequest& in,
                                       const std::vector<int32_t>& prompt) const;
  absl::StatusOr<std::vector<int32_t>> ReadPrompt(const v1::GenerateRequest& in) const;
  absl::StatusOr<std::vector<int32_t>> ReadText(const v1::GenerateRequest& in) const;
  absl::StatusOr<std::vector<int32_t>> EncodeChat(const v1::Chat& chat) const;
  absl::Status CheckTextFits(absl::string_view field, size_t text_bytes) const;
  absl::Status CheckPromptFits(absl::string_view field, size_t token_count) const;

  const RequestLimits limits_;
  const TextCodec* const codec_;
};

}  // namespace ebb::server

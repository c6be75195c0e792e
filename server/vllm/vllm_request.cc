#include "server/vllm/vllm_request.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "server/field_checks.h"

namespace ebb::server {
namespace {

namespace wire = ::vllm::grpc::engine;

absl::Status Unsupported(absl::string_view field, absl::string_view why) {
  return absl::UnimplementedError(absl::StrCat("sampling_params.", field, ": ", why));
}

absl::Status CheckNoConstraint(const wire::SamplingParams& params) {
  if (params.constraint_case() == wire::SamplingParams::CONSTRAINT_NOT_SET) return absl::OkStatus();
  if (params.constraint_case() == wire::SamplingParams::kJsonObject && !params.json_object()) {
    return absl::OkStatus();
  }
  return Unsupported(
      wire::SamplingParams::descriptor()->FindFieldByNumber(params.constraint_case())->name(),
      "this server cannot constrain answers");
}

void FillSampling(const wire::SamplingParams& params, v1::Sampling* out) {
  if (params.has_temperature()) out->set_temperature(params.temperature());
  if (params.top_p() != 0) out->set_top_p(params.top_p());
  if (params.top_k() != 0) out->set_top_k(params.top_k());
  if (params.min_p() != 0) out->set_min_p(params.min_p());
  if (params.repetition_penalty() != 0) out->set_repetition_penalty(params.repetition_penalty());
  out->set_presence_penalty(params.presence_penalty());
  out->set_frequency_penalty(params.frequency_penalty());
  for (const auto& [id, bias] : params.logit_bias()) (*out->mutable_logit_bias())[id] = bias;
  if (params.has_seed() && params.seed() != -1) {
    out->set_seed(static_cast<uint64_t>(int64_t{params.seed()}));
  }
}

void FillStopping(const wire::SamplingParams& params, v1::Stopping* out) {
  if (params.has_max_tokens()) out->set_max_tokens(params.max_tokens());
  if (params.min_tokens() != 0) out->set_min_tokens(params.min_tokens());
  *out->mutable_stop() = params.stop();
  out->mutable_stop_token_ids()->Add(params.stop_token_ids().begin(),
                                     params.stop_token_ids().end());
  out->set_ignore_eos(params.ignore_eos());
}

void FillOutput(const wire::SamplingParams& params, v1::Output* out) {
  if (params.n() != 0) out->set_n(params.n());
  if (params.has_logprobs()) out->set_logprobs(params.logprobs());
  if (params.has_prompt_logprobs()) out->set_prompt_logprobs(params.prompt_logprobs());
  out->set_show_special(!params.skip_special_tokens());
}

}  // namespace

absl::Status FillSampling(const wire::SamplingParams& params, v1::GenerateRequest* out) {
  RETURN_IF_ERROR(CheckNoConstraint(params));
  if (params.has_truncate_prompt_tokens()) {
    return Unsupported("truncate_prompt_tokens", "this server takes prompts as they are");
  }
  FillSampling(params, out->mutable_sampling());
  FillStopping(params, out->mutable_stopping());
  FillOutput(params, out->mutable_output());
  return absl::OkStatus();
}

absl::StatusOr<v1::GenerateRequest> ToGenerateRequest(const wire::GenerateRequest& in) {
  // Images, transfers between servers and what a newer contract may add: without them the answer
  // would be another one.
  if (const absl::Status known = CheckNoUnknownFields(in); !known.ok()) {
    return absl::UnimplementedError(known.message());
  }
  if (in.data_parallel_rank() != 0) {
    return FieldError("data_parallel_rank",
                      absl::StrCat("must be 0, the only one, got ", in.data_parallel_rank()));
  }
  const wire::SamplingParams& params = in.sampling_params();
  if (params.include_stop_str_in_output() && (params.has_logprobs() || params.n() > 1)) {
    return Unsupported("include_stop_str_in_output",
                       "not together with logprobs, for a stop token has none, nor with n above 1");
  }
  v1::GenerateRequest out;
  RETURN_IF_ERROR(FillSampling(params, &out));
  if (!in.request_id().empty()) out.set_request_id(in.request_id());
  if (in.input_case() == wire::GenerateRequest::kTokenized) {
    const auto& ids = in.tokenized().input_ids();
    out.mutable_token_ids()->mutable_ids()->Add(ids.begin(), ids.end());
  } else if (in.input_case() == wire::GenerateRequest::kText) {
    out.set_text(in.text());
    out.set_parse_special(true);
  } else {
    return FieldError("input", "is required: set tokenized or text");
  }
  out.mutable_output()->set_return_text(false);
  out.mutable_output()->set_return_token_ids(true);
  // The first prompt token has an entry among the prompt's log-probabilities.
  out.mutable_output()->set_return_prompt_token_ids(params.has_prompt_logprobs());
  return out;
}

}  // namespace ebb::server

#include "cli/answer_json.h"

#include "absl/strings/string_view.h"

namespace ebb::cli {
namespace {

using nlohmann::ordered_json;
using LogprobList = google::protobuf::RepeatedPtrField<v1::TokenLogprobs>;

ordered_json Numbers(const LogprobList& tokens) {
  ordered_json list = ordered_json::array();
  for (const v1::TokenLogprobs& token : tokens) list.push_back(token.logprob());
  return list;
}

ordered_json Alternatives(const LogprobList& tokens) {
  ordered_json list = ordered_json::array();
  for (const v1::TokenLogprobs& token : tokens) {
    ordered_json top = ordered_json::array();
    for (const auto& other : token.top()) {
      top.push_back({{"token_id", other.token_id()}, {"logprob", other.logprob()}});
    }
    list.push_back(std::move(top));
  }
  return list;
}

absl::string_view FinishReasonName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_STOP:
      return "stop";
    case v1::FINISH_REASON_LENGTH:
      return "length";
    default:
      return "unknown";
  }
}

ordered_json TimingsJson(const v1::Timings& timings) {
  ordered_json out = {{"queue_seconds", timings.queue_seconds()}};
  if (timings.has_first_token_seconds()) {
    out["first_token_seconds"] = timings.first_token_seconds();
  }
  out["total_seconds"] = timings.total_seconds();
  return out;
}

}  // namespace

ordered_json AnswerJson(const v1::GenerateRequest& request, const v1::GenerateResponse& response) {
  const v1::Finished& finished = response.finished();
  ordered_json out = {{"request_id", response.request_id()},
                      {"text", response.text()},
                      {"token_ids", response.token_ids()},
                      {"prompt_token_ids", response.prompt_token_ids()},
                      {"finish_reason", std::string(FinishReasonName(finished.finish_reason()))}};
  if (finished.has_stop_token_id()) out["stop_token_id"] = finished.stop_token_id();
  if (finished.has_stop_text()) out["stop_text"] = finished.stop_text();
  out["usage"] = {{"prompt_tokens", finished.usage().prompt_tokens()},
                  {"completion_tokens", finished.usage().completion_tokens()},
                  {"cached_tokens", finished.usage().cached_tokens()},
                  {"preemptions", finished.usage().preemptions()}};
  out["timings"] = TimingsJson(finished.timings());
  const v1::Output& asked = request.output();
  if (asked.has_logprobs()) {
    out["logprobs"] = Numbers(response.logprobs());
    if (asked.logprobs() > 0) out["top_logprobs"] = Alternatives(response.logprobs());
  }
  if (asked.has_prompt_logprobs()) {
    out["prompt_logprobs"] = Numbers(response.prompt_logprobs());
    if (asked.prompt_logprobs() > 0) {
      out["prompt_top_logprobs"] = Alternatives(response.prompt_logprobs());
    }
  }
  return out;
}

ordered_json MemoryJson(const v1::GetMemoryResponse& memory) {
  return {{"held_bytes", memory.held_bytes()},
          {"needed_bytes", memory.needed_bytes()},
          {"cached_bytes", memory.cached_bytes()},
          {"limit_bytes", memory.limit_bytes()},
          {"pages_mapped", memory.pages_mapped()},
          {"page_bytes", memory.page_bytes()},
          {"block_tokens", memory.block_tokens()},
          {"moved_bytes_total", memory.moved_bytes_total()},
          {"flips_per_minute", memory.flips_per_minute()},
          {"swapped_bytes", memory.swapped_bytes()},
          {"swap_limit_bytes", memory.swap_limit_bytes()}};
}

ordered_json LimitJson(const v1::SetMemoryLimitResponse& answer) {
  const bool applied = answer.outcome() == v1::SetMemoryLimitResponse::OUTCOME_APPLIED;
  return {{"outcome", applied ? "applied" : "deferred"},
          {"limit_bytes", answer.limit_bytes()},
          {"held_bytes", answer.held_bytes()},
          {"deferred_bytes", answer.deferred_bytes()},
          {"stale", answer.stale()},
          {"revision", answer.revision()},
          {"first_needs_bytes", answer.first_needs_bytes()},
          {"preempted_sequences", answer.preempted_sequences()},
          {"ended_requests", answer.ended_requests()},
          {"pages_unmapped", answer.pages_unmapped()},
          {"held_before_bytes", answer.held_before_bytes()},
          {"took_ms", answer.took_ms()}};
}

std::string JsonLine(const ordered_json& object) {
  return object.dump(-1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace ebb::cli

#include "engine/endings.h"

#include <string>

namespace ebb::engine {
namespace {

// Null for a time that never came.
nlohmann::ordered_json Milliseconds(absl::Duration duration) {
  if (duration == absl::InfiniteDuration()) return nullptr;
  return absl::ToDoubleMilliseconds(duration);
}

nlohmann::ordered_json RequestLine(const LiveRequest& request, const Finish& finish) {
  nlohmann::ordered_json line = {{"id", request.id},
                                 {"label", request.request.label},
                                 {"status", absl::StatusCodeToString(finish.status.code())},
                                 {"finish_reason", FinishReasonName(finish.reason)},
                                 {"answers", request.request.n},
                                 {"prompt_tokens", finish.prompt_tokens},
                                 {"cached_tokens", finish.cached_tokens},
                                 {"completion_tokens", finish.completion_tokens},
                                 {"queue_ms", Milliseconds(finish.queue_time)},
                                 {"first_token_ms", Milliseconds(finish.first_token_time)},
                                 {"total_ms", Milliseconds(finish.total_time)},
                                 {"preemptions", finish.preemptions}};
  // Its client is told no more than that there is one.
  if (finish.reason == FinishReason::kError) line["reason"] = std::string(finish.status.message());
  if (!request.request.trace_id.empty()) line["trace_id"] = request.request.trace_id;
  return line;
}

}  // namespace

void TellEnding(Ending* ending, bool logs_all, base::Log* log) {
  LiveRequest& request = *ending->request;
  base::MutexLock lock(&request.telling);
  request.sink->OnAnswerFinish(ending->answer, ending->finish);
  const bool first_told = request.untold_answers == request.request.n;
  AddAnswer(ending->answer, ending->finish, first_told, &request.total);
  if (--request.untold_answers > 0) return;
  if (logs_all || request.total.reason == FinishReason::kError) {
    log->Write("request_finished", RequestLine(request, request.total));
  }
  request.sink->OnFinish(request.total);
}

}  // namespace ebb::engine

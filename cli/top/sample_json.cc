#include "cli/top/sample_json.h"

#include <optional>
#include <string>

#include "cli/answer_json.h"
#include "cli/top/window_table.h"

namespace ebb::cli {
namespace {

using nlohmann::ordered_json;

template <typename Value>
ordered_json OrNull(bool has, Value value) {
  return has ? ordered_json(value) : ordered_json(nullptr);
}

ordered_json RateJson(const std::optional<double>& rate) {
  return OrNull(rate.has_value(), rate.value_or(0));
}

const char* StateName(v1::ServerState state) {
  switch (state) {
    case v1::SERVER_STATE_READY:
      return "ready";
    case v1::SERVER_STATE_DRAINING:
      return "draining";
    default:
      return "unknown";
  }
}

ordered_json ServerJson(const v1::GetServerInfoResponse& server) {
  return {{"state", StateName(server.state())},
          {"uptime_seconds", OrNull(server.has_uptime_seconds(), server.uptime_seconds())},
          {"waiting_requests", OrNull(server.has_waiting_requests(), server.waiting_requests())},
          {"running_requests", OrNull(server.has_running_requests(), server.running_requests())},
          {"finished_total", OrNull(server.has_finished_total(), server.finished_total())},
          {"preemptions_total", OrNull(server.has_preemptions_total(), server.preemptions_total())},
          {"prefilled_tokens_total",
           OrNull(server.has_prefilled_tokens_total(), server.prefilled_tokens_total())},
          {"completion_tokens_total",
           OrNull(server.has_completion_tokens_total(), server.completion_tokens_total())}};
}

ordered_json WindowJson(const v1::Window& window) {
  return {{"queue", QueueText(window.queue())},
          {"number", window.number()},
          {"age_seconds", window.age_seconds()},
          {"length_seconds", window.length_seconds()},
          {"steps", window.steps()},
          {"sequences", window.sequences()},
          {"static_blocks", window.static_blocks()},
          {"dynamic_blocks", window.dynamic_blocks()},
          {"slack_blocks", window.slack_blocks()},
          {"demand_blocks", window.demand_blocks()},
          {"grant_blocks", window.grant_blocks()},
          {"pages_before", window.pages_before()},
          {"pages_after", window.pages_after()},
          {"reason", ReasonText(window.reason())}};
}

}  // namespace

ordered_json SampleJson(const Sample& sample, const Rates& rates) {
  ordered_json out = {
      {"time", absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", sample.time, absl::UTCTimeZone())},
      {"answered", sample.answered()}};
  if (!sample.answered()) {
    out["error"] = sample.error;
    return out;
  }
  out["model"] = sample.model.name();
  out["server"] = ServerJson(sample.server);
  out["rates"] = {{"finished_per_second", RateJson(rates.finished)},
                  {"preemptions_per_second", RateJson(rates.preemptions)},
                  {"prefilled_tokens_per_second", RateJson(rates.prefilled_tokens)},
                  {"completion_tokens_per_second", RateJson(rates.completion_tokens)}};
  out["memory"] = MemoryJson(sample.memory);
  out["windows"] = nullptr;
  if (!sample.windows.has_value()) return out;
  out["windows"] = ordered_json::array();
  for (const v1::Window& window : sample.windows->windows()) {
    out["windows"].push_back(WindowJson(window));
  }
  return out;
}

}  // namespace ebb::cli

#include "cli/top/rates.h"

namespace ebb::cli {
namespace {

// Start times are seen through the calls' delays; no server starts, serves and starts again within
// so short a time.
constexpr double kStartSlackSeconds = 1;

bool WentBack(std::optional<int64_t> before, std::optional<int64_t> after) {
  return before.has_value() && after.has_value() && *after < *before;
}

std::optional<double> RateOf(std::optional<int64_t> before, std::optional<int64_t> after,
                             double seconds) {
  if (!before.has_value() || !after.has_value()) return std::nullopt;
  return (static_cast<double>(*after) - static_cast<double>(*before)) / seconds;
}

}  // namespace

Counters CountersOf(const Sample& sample) {
  const v1::GetServerInfoResponse& server = sample.server;
  Counters counters;
  counters.time = sample.time;
  if (server.has_uptime_seconds()) counters.uptime_seconds = server.uptime_seconds();
  if (server.has_finished_total()) counters.finished = server.finished_total();
  if (server.has_preemptions_total()) counters.preemptions = server.preemptions_total();
  if (server.has_prefilled_tokens_total()) {
    counters.prefilled_tokens = server.prefilled_tokens_total();
  }
  if (server.has_completion_tokens_total()) {
    counters.completion_tokens = server.completion_tokens_total();
  }
  return counters;
}

bool Restarted(const Counters& before, const Counters& after) {
  if (before.uptime_seconds.has_value() && after.uptime_seconds.has_value()) {
    const double passed = absl::ToDoubleSeconds(after.time - before.time);
    if (*after.uptime_seconds + kStartSlackSeconds < *before.uptime_seconds + passed) return true;
  }
  return WentBack(before.finished, after.finished) ||
         WentBack(before.preemptions, after.preemptions) ||
         WentBack(before.prefilled_tokens, after.prefilled_tokens) ||
         WentBack(before.completion_tokens, after.completion_tokens);
}

Rates RatesBetween(const Counters& before, const Counters& after) {
  const double seconds = absl::ToDoubleSeconds(after.time - before.time);
  if (!(seconds > 0) || Restarted(before, after)) return {};
  return {RateOf(before.finished, after.finished, seconds),
          RateOf(before.preemptions, after.preemptions, seconds),
          RateOf(before.prefilled_tokens, after.prefilled_tokens, seconds),
          RateOf(before.completion_tokens, after.completion_tokens, seconds)};
}

}  // namespace ebb::cli

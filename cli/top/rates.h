// Rates: what a server did per second between two samples of the same run.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "cli/top/sample.h"

namespace ebb::cli {

// A server's totals at one moment; absent where it does not tell them.
struct Counters {
  absl::Time time;
  std::optional<double> uptime_seconds;
  std::optional<int64_t> finished;
  std::optional<int64_t> preemptions;
  std::optional<int64_t> prefilled_tokens;
  std::optional<int64_t> completion_tokens;
};

// REQUIRES: the sample was answered.
Counters CountersOf(const Sample& sample);

// Whether another process has answered than before: it started later, or a total went back.
bool Restarted(const Counters& before, const Counters& after);

// Per second; absent where a total is.
struct Rates {
  std::optional<double> finished;
  std::optional<double> preemptions;
  std::optional<double> prefilled_tokens;
  std::optional<double> completion_tokens;
};

// Nothing after a restart, or when no time has passed.
Rates RatesBetween(const Counters& before, const Counters& after);

}  // namespace ebb::cli

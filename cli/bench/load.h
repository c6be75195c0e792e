// RunLoad: sends requests at their times, whatever the answers do, and records what came back.
//
// Open loop: a slow server changes no send time, and every wait is counted from the time at which a
// request was due, not from when it left (otherwise the waits that a stall causes are not seen:
// "coordinated omission"). The one bound is on requests in flight; an arrival that finds it reached
// is not sent, and is reported.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "cli/bench/arrivals.h"
#include "cli/connection.h"
#include "cli/interrupt.h"

namespace ebb::cli {

struct LoadOptions {
  int64_t in_flight_max = 1024;
  uint64_t seed = 0;              // Of the prompts' tokens.
  int64_t vocabulary_tokens = 0;  // At least 8.
  double temperature = 0;
  absl::Duration request_timeout = absl::InfiniteDuration();
  absl::Duration memory_interval = absl::Milliseconds(200);
};

// What became of one arrival. Times are in seconds since it was due.
struct RequestOutcome {
  Arrival arrival;
  bool sent = false;
  double send_lag = 0;  // From due to sent.
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string message;
  int64_t output_tokens = 0;
  double first_token = 0;    // Valid if output_tokens > 0.
  double last_token = 0;     // Likewise.
  double total = 0;          // Until the call ended.
  std::vector<double> gaps;  // Between messages that carried tokens.
};

struct MemorySample {
  double at_seconds = 0;  // Since the start of the load.
  int64_t held_bytes = 0;
  int64_t needed_bytes = 0;
  int64_t cached_bytes = 0;
  int64_t limit_bytes = 0;
};

struct LoadResult {
  std::vector<RequestOutcome> requests;  // In the order of arrival; those that came due.
  std::vector<MemorySample> memory;
  double seconds = 0;  // From the start to the last answer.
  bool interrupted = false;
};

// Returns when every request that was sent has ended. An interrupt cancels what runs and sends no
// more. REQUIRES: `arrivals` is sorted.
LoadResult RunLoad(const std::vector<Arrival>& arrivals, const LoadOptions& options,
                   const base::Clock& clock, Connection* connection, Interrupt* interrupt);

// The prompt of request `index`: ids from the middle of the vocabulary, since control tokens stand
// at its ends.
std::vector<int64_t> BenchPrompt(int64_t tokens, int64_t vocabulary_tokens, uint64_t seed,
                                 uint64_t index);

}  // namespace ebb::cli

// Traces: arrivals and lengths that somebody recorded, from the formats that are about.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/bench/arrivals.h"

namespace ebb::cli {

// How a trace made elsewhere is fitted to the server at hand.
struct TraceScale {
  double speed = 1;           // Times are divided by it.
  double length_divisor = 1;  // Lengths are divided by it, and are at least 1.
  // And at most this; REQUIRES: at least 1.
  int64_t length_max = std::numeric_limits<int64_t>::max();
};

// CSV with a header line that names, in any order and among other columns:
//   arrival_s | TIMESTAMP      seconds, or a date and time ("2023-11-16 18:15:46.6805900")
//   prompt_tokens | ContextTokens | num_prefill_tokens
//   output_tokens | GeneratedTokens | num_decode_tokens
// or JSON lines with timestamp (milliseconds), input_length and output_length (Mooncake). The first
// arrival is at 0. INVALID_ARGUMENT names `source` and the line.
absl::StatusOr<std::vector<Arrival>> ParseTrace(absl::string_view text, absl::string_view source,
                                                const TraceScale& scale);

}  // namespace ebb::cli

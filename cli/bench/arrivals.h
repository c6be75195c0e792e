// Arrivals: when each request of a load is sent and how long it is, all fixed before the first one.
//
//   rate      high            ┌─────┐     ┌─────┐
//             low       ──────┘     └─────┘     └──      (low == high: a plain Poisson process)
//                       |<- period ->|
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace ebb::cli {

struct Arrival {
  absl::Duration at;  // Since the start of the load.
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
};

// Lengths are uniform between the two, both included.
struct LengthRange {
  int64_t min = 0;
  int64_t max = 0;
};

// Requests per second: `low` in the first half of each period, `high` in the second.
struct RateWave {
  double low = 0;
  double high = 0;
  absl::Duration period = absl::Seconds(1);
};

inline constexpr int64_t kArrivalsMax = 1'000'000;

// A Poisson process of that rate over `duration`, sorted. The same seed gives the same arrivals.
// INVALID_ARGUMENT if more than kArrivalsMax are to be expected.
absl::StatusOr<std::vector<Arrival>> DrawArrivals(const RateWave& wave, absl::Duration duration,
                                                  LengthRange prompt, LengthRange output,
                                                  uint64_t seed);

// "128" or "64:512". INVALID_ARGUMENT names `option`. At least 1 and at most 10^7.
absl::StatusOr<LengthRange> ParseLengthRange(absl::string_view text, absl::string_view option);

// "LOW:HIGH:PERIOD" in requests per second and seconds.
absl::StatusOr<RateWave> ParseRateWave(absl::string_view text, absl::string_view option);

}  // namespace ebb::cli

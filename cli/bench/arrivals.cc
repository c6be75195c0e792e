#include "cli/bench/arrivals.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/rng.h"

namespace ebb::cli {
namespace {

// The time at which the integral of the rate, from `at` on, reaches `hazard`. Seconds.
double AfterHazard(const RateWave& wave, double at, double hazard, double end) {
  const double half = absl::ToDoubleSeconds(wave.period) / 2;
  while (at < end) {
    const double index = std::floor(at / half);
    const double rate = std::fmod(index, 2) == 0 ? wave.low : wave.high;
    const double segment_end = (index + 1) * half;
    if (rate > 0 && at + hazard / rate <= segment_end) return at + hazard / rate;
    hazard -= rate * (segment_end - at);
    at = std::max(segment_end, std::nextafter(at, end));  // Rounding never stops us.
  }
  return end;
}

}  // namespace

absl::StatusOr<std::vector<Arrival>> DrawArrivals(const RateWave& wave, absl::Duration duration,
                                                  LengthRange prompt, LengthRange output,
                                                  uint64_t seed) {
  const double end = absl::ToDoubleSeconds(duration);
  if (std::max(wave.low, wave.high) * end > static_cast<double>(kArrivalsMax)) {
    return absl::InvalidArgumentError(absl::StrCat("this load has more than ", kArrivalsMax,
                                                   " requests; lower the rate or the duration"));
  }
  base::Rng rng(seed);
  std::vector<Arrival> arrivals;
  // The gaps of a process of any rate are exponential in the integral of its rate.
  for (double at = 0;;) {
    at = AfterHazard(wave, at, -std::log1p(-rng.Unit()), end);
    if (at >= end) return arrivals;
    arrivals.push_back({absl::Seconds(at), rng.Between(prompt.min, prompt.max),
                        rng.Between(output.min, output.max)});
  }
}

absl::StatusOr<LengthRange> ParseLengthRange(absl::string_view text, absl::string_view option) {
  constexpr int64_t kLengthMax = 10'000'000;
  const std::pair<absl::string_view, absl::string_view> ends =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  LengthRange range;
  const bool numbers = absl::SimpleAtoi(ends.first, &range.min) &&
                       absl::SimpleAtoi(ends.second.empty() ? ends.first : ends.second, &range.max);
  if (!numbers || range.min < 1 || range.max < range.min || range.max > kLengthMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--", option, ": must be a length or a range, such as 128 or 64:512; not ", text));
  }
  return range;
}

absl::StatusOr<RateWave> ParseRateWave(absl::string_view text, absl::string_view option) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  RateWave wave;
  double period = 0;
  constexpr double kRateMax = 1e6;
  const bool good = parts.size() == 3 && absl::SimpleAtod(parts[0], &wave.low) &&
                    absl::SimpleAtod(parts[1], &wave.high) && absl::SimpleAtod(parts[2], &period) &&
                    wave.low >= 0 && wave.high > 0 && wave.low <= kRateMax &&
                    wave.high <= kRateMax && period >= 0.01 && period <= 1e6;
  if (!good) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", option, ": must be LOW:HIGH:PERIOD in requests per second and seconds, ",
                     "such as 0.5:8:20; not ", text));
  }
  wave.period = absl::Seconds(period);
  return wave;
}

}  // namespace ebb::cli

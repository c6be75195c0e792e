#include "cli/top/number_text.h"

#include <cmath>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace ebb::cli {
namespace {

constexpr double kPlainMax = 99'999;  // Above it in thousands, millions and so on.

// In the first of the units, each `step` of the one before, in which it has no more than three
// digits before the point, or in the last.
std::string InUnits(double number, double step, std::initializer_list<absl::string_view> units) {
  absl::string_view unit;
  for (const absl::string_view next : units) {
    // What would be rounded to 1000 goes into the next unit.
    if (!unit.empty() && std::abs(number) < 999.5) break;
    unit = next;
    number /= step;
  }
  return absl::StrFormat(std::abs(number) < 99.95 ? "%.1f%s" : "%.0f%s", number, unit);
}

std::string Scaled(double number) { return InUnits(number, 1000, {"k", "M", "G", "T", "P", "E"}); }

}  // namespace

std::string CountText(std::optional<int64_t> count) {
  if (!count.has_value()) return "-";
  const auto number = static_cast<double>(*count);
  return std::abs(number) <= kPlainMax ? absl::StrCat(*count) : Scaled(number);
}

std::string RateText(std::optional<double> per_second) {
  if (!per_second.has_value() || !std::isfinite(*per_second)) return "-";
  const double size = std::abs(*per_second);
  if (size > kPlainMax) return Scaled(*per_second) + "/s";
  return absl::StrFormat(size < 9.95 ? "%.1f/s" : "%.0f/s", *per_second);
}

std::string SizeText(std::optional<double> bytes) {
  if (!bytes.has_value()) return "-";
  if (std::abs(*bytes) < 999.5) return absl::StrFormat("%.0f bytes", *bytes);
  return InUnits(*bytes, 1024, {" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"});
}

std::string DurationText(std::optional<double> seconds) {
  constexpr double kMinute = 60, kHour = 3600, kDay = 86400;
  if (!seconds.has_value() || !std::isfinite(*seconds)) return "-";
  const double size = std::abs(*seconds);
  if (size < 0.9995) return absl::StrFormat("%.0f ms", *seconds * 1000);
  if (size < 9.95) return absl::StrFormat("%.1f s", *seconds);
  if (size < 2 * kMinute) return absl::StrFormat("%.0f s", *seconds);
  if (size < 2 * kHour) return absl::StrFormat("%.0f min", *seconds / kMinute);
  if (size < 2 * kDay) return absl::StrFormat("%.1f h", *seconds / kHour);
  if (size < kPlainMax * kDay) return absl::StrFormat("%.0f d", *seconds / kDay);
  return Scaled(*seconds / kDay) + " d";
}

}  // namespace ebb::cli

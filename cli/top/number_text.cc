#include "cli/top/number_text.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ebb::cli {
namespace {

constexpr double kPlainMax = 99'999;  // Above it in thousands, millions and so on.

std::string Scaled(double number) {
  const char* unit = "k";
  number /= 1000;
  for (const char* next : {"M", "G", "T", "P", "E"}) {
    // What would be rounded to 1000 goes into the next unit.
    if (std::abs(number) < 999.5) break;
    unit = next;
    number /= 1000;
  }
  return absl::StrFormat(std::abs(number) < 99.95 ? "%.1f%s" : "%.0f%s", number, unit);
}

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
  double number = *bytes;
  if (std::abs(number) < 999.5) return absl::StrFormat("%.0f bytes", number);
  const char* unit = "KiB";
  number /= 1024;
  for (const char* next : {"MiB", "GiB", "TiB", "PiB", "EiB"}) {
    // Never four digits before the unit.
    if (std::abs(number) < 999.5) break;
    unit = next;
    number /= 1024;
  }
  return absl::StrFormat(std::abs(number) < 99.95 ? "%.1f %s" : "%.0f %s", number, unit);
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

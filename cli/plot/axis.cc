#include "cli/plot/axis.h"

#include <cmath>

#include "absl/strings/str_format.h"
#include "base/check.h"

namespace ebb::cli {
namespace {

struct Unit {
  const char* name;
  double size;
};

constexpr Unit kByteUnits[] = {
    {"bytes", 1}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
constexpr Unit kTimeUnits[] = {
    {"milliseconds", 0.001}, {"seconds", 1}, {"minutes", 60}, {"hours", 3600}, {"days", 86400}};

// The largest unit that the span has at least `least` of, or the smallest there is.
template <size_t n>
const Unit& UnitFor(const Unit (&units)[n], double span, double least) {
  const Unit* chosen = &units[0];
  for (const Unit& unit : units) {
    if (span >= least * unit.size) chosen = &unit;
  }
  return *chosen;
}

Axis AxisOf(const Unit& unit, double span, int count) {
  Axis axis;
  axis.unit = unit.name;
  const double step = NiceStep(span / unit.size, count);
  // A hair more, so that a tick at the very end is not lost to rounding.
  for (int i = 0; i * step * unit.size <= span * (1 + 1e-9); ++i) {
    axis.ticks.push_back({i * step * unit.size, absl::StrFormat("%.10g", i * step)});
  }
  return axis;
}

}  // namespace

double NiceStep(double span, int count) {
  CHECK(span > 0 && count > 0);
  const double least = span / count * (1 - 1e-9);
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const int factor : {1, 2, 5}) {
    if (factor * power >= least) return factor * power;
  }
  return 10 * power;
}

Axis ByteAxis(double bytes) { return AxisOf(UnitFor(kByteUnits, bytes, 4), bytes, 6); }

Axis TimeAxis(double seconds) { return AxisOf(UnitFor(kTimeUnits, seconds, 3), seconds, 9); }

std::string BytesText(double bytes) {
  const Unit& unit = UnitFor(kByteUnits, bytes, 1);
  return absl::StrFormat(unit.size == 1 ? "%.0f %s" : "%.1f %s", bytes / unit.size, unit.name);
}

std::string SecondsText(double seconds) {
  if (seconds < 300) return absl::StrFormat("%.1f s", seconds);
  if (seconds < 3 * 3600) return absl::StrFormat("%.1f min", seconds / 60);
  return absl::StrFormat("%.1f h", seconds / 3600);
}

}  // namespace ebb::cli

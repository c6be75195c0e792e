// Axis: the unit and the ticks that suit a span, for bytes and for time.
#pragma once

#include <string>
#include <vector>

namespace ebb::cli {

struct Axis {
  struct Tick {
    double value = 0;  // In the span's unit: bytes, or seconds.
    std::string text;  // In the axis's unit.
  };
  std::string unit;  // "MiB", "minutes"
  std::vector<Tick> ticks;
};

// From 0 to `bytes`, both above 0, in about five ticks.
Axis ByteAxis(double bytes);
// From 0 to `seconds`, above 0, in about eight.
Axis TimeAxis(double seconds);

// A step of 1, 2 or 5 times a power of ten that cuts `span` into at most `count` parts.
// REQUIRES: both above 0.
double NiceStep(double span, int count);

// "398.7 MiB"; "0 bytes". The unit is the largest of which there is at least one.
std::string BytesText(double bytes);
// "27.3 s", "12.5 min", "3.2 h"
std::string SecondsText(double seconds);

}  // namespace ebb::cli

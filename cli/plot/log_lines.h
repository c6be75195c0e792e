// The server's log as the plot reads it: JSON lines, of which a few fields matter.
//
//   {"time":"2026-11-23T06:44:00.123Z","event":"window",...,"held_bytes":1,"needed_bytes":1,...}
//
// A log may be cut short, mixed with other text, or made to do harm: lines are bounded in length
// and depth, and whatever does not parse is for the caller to count. Nothing is kept but one line.
#pragma once

#include <cstdint>
#include <istream>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace ebb::cli {

// Memory as a line gives it.
struct MemorySample {
  int64_t held_bytes = 0;
  int64_t needed_bytes = 0;
  int64_t limit_bytes = 0;
};

struct LogEvent {
  std::string name;
  int64_t time_ms = 0;  // Since 1970, UTC.
  std::optional<MemorySample> memory;
  std::optional<int64_t> preemptions_total;  // Of the server since its start.
  std::optional<int64_t> preemptions;        // Of one request.
  std::string model;
};

// Nothing if the line is not an object with a time from 1970 to 2200 and an event's name, nests
// deeper than 16, or gives a field above another type than the server does or a negative number.
std::optional<LogEvent> ParseLogLine(absl::string_view line);

// One line after the other. Not thread-safe.
class LineReader {
 public:
  static constexpr size_t kLineBytesMax = size_t{64} << 10;

  // `in` is borrowed and outlives the reader.
  explicit LineReader(std::istream* in) : in_(in) {}

  enum class Result { kLine, kTooLong, kEnd };
  // kLine: `line` holds the next one without its end ('\n', or '\r' and '\n'). kTooLong: it was
  // longer than kLineBytesMax and has been passed over.
  Result Next(std::string* line);

 private:
  // False at the end of the input.
  bool Fill();

  std::istream* const in_;
  std::string chunk_;
  size_t at_ = 0;
};

}  // namespace ebb::cli

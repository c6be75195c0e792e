// MemoryHistory: what a log, or several one after the other, tells about KV memory.
#pragma once

#include <cstdint>
#include <istream>
#include <string>

#include "cli/plot/memory_series.h"

namespace ebb::cli {

struct MemoryHistory {
  MemorySeries series;
  int64_t windows = 0;
  int64_t requests_finished = 0;
  // By the requests' own count where the log's windows do not tell; then the series has no marks.
  int64_t preemptions = 0;
  int64_t server_runs = 0;
  int64_t first_time_ms = 0;  // Of the first sample, since 1970, UTC; 0 without samples.
  std::string model;          // As the first server called it; any text; empty where none did.

  // Lines that were passed over, and why.
  int64_t lines_foreign = 0;   // Not a line of a server's log, or cut short.
  int64_t lines_too_long = 0;  // Over LineReader::kLineBytesMax.
  // Times that stepped back by a second or more. What follows is drawn right after what was before.
  int64_t steps_back = 0;
};

// Reads to the end of `in`. Time runs only forward: a line up to a second older than the one before
// (two threads write the log) counts as of the same time.
MemoryHistory ReadMemoryHistory(std::istream* in);

}  // namespace ebb::cli

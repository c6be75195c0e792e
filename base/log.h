// JSON lines: every line the server writes to stdout is one object with an event's name.
//
//   log.Write("window", {{"queue", "decode"}, {"pages_after", 3}});
//   {"time":"2026-11-23T06:44:00.123Z","event":"window","queue":"decode","pages_after":3}
//
// A slow reader of the log never holds up the engine: lines wait in a bounded queue for one writer
// thread, and those that find it full are counted and reported in the next line that fits. Nor does
// one that has stopped reading hold up the end of the process.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string>
#include <thread>

#include "absl/strings/string_view.h"
#include "base/bounded_queue.h"
#include "base/clock.h"
#include "nlohmann/json.hpp"

namespace ebb::base {

// Thread-safe.
class Log {
 public:
  virtual ~Log() = default;
  // `fields` is a JSON object; strings that are not UTF-8 are written with replacement characters,
  // and whatever is not printable ASCII is escaped.
  virtual void Write(absl::string_view event, nlohmann::ordered_json fields) = 0;
};

// Writes to the file of a C stream that outlives it and that nobody else writes to meanwhile.
class StreamLog final : public Log {
 public:
  StreamLog(std::FILE* out, const Clock* clock, size_t queue_lines_max = 8192);
  // Writes what is queued, unless nothing can be written for a second.
  ~StreamLog() override;
  StreamLog(const StreamLog&) = delete;
  StreamLog& operator=(const StreamLog&) = delete;

  void Write(absl::string_view event, nlohmann::ordered_json fields) override;

 private:
  void WriteLines();
  // False when it gave up.
  bool WriteText(absl::string_view text);

  const int fd_;
  const Clock* const clock_;
  BoundedQueue<std::string> lines_;
  std::atomic<int64_t> dropped_count_ = 0;
  std::atomic<bool> closing_ = false;
  std::thread writer_;  // Must be the last member: it uses the others.
};

// Forgets everything.
class NullLog final : public Log {
 public:
  void Write(absl::string_view, nlohmann::ordered_json) override {}
};

}  // namespace ebb::base

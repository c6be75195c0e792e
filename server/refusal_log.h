// RefusalLog: counts requests that were turned away, and writes a log line for them: at most one a
// second for each status code, so that a client that hammers the server does not drown its log. A
// fault of our own has a line each time, as an accepted request has: its client is told to look
// there.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"

namespace ebb::server {

// Thread-safe. `clock` and `log` outlive it.
class RefusalLog {
 public:
  RefusalLog(const base::Clock* clock, base::Log* log) : clock_(clock), log_(log) {}

  // How many of each canonical code.
  using Counts = std::array<int64_t, 17>;
  Counts counts() const;

  // `status` is not OK, and its message holds nothing of the client's text. `request_id` has been
  // checked, or is empty; it is written for our own faults.
  void Write(const absl::Status& status, const std::string& request_id = "");

 private:
  struct PerCode {
    absl::Time last_line = absl::InfinitePast();
    int64_t unlogged_count = 0;
    int64_t total_count = 0;
  };

  const base::Clock* const clock_;
  base::Log* const log_;
  mutable base::Mutex mutex_;
  std::array<PerCode, 17> codes_ ABSL_GUARDED_BY(mutex_);  // By canonical code.
};

}  // namespace ebb::server

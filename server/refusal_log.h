// RefusalLog: counts requests that were turned away, and writes a log line for them: at most one a
// second for each status code, so that a client that hammers the server does not drown its log.
#pragma once

#include <array>
#include <cstdint>

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

  // `status` is not OK, and its message holds nothing of the client's text.
  void Write(const absl::Status& status);

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

// StatsLog: one `stats` line every so often, for people who watch the log: how fast, how many, how
// full. Silent while nothing is done.
#pragma once

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"

namespace ebb::server {

// Thread-compatible. Everything passed in outlives it.
class StatsLog {
 public:
  // REQUIRES: interval > 0.
  StatsLog(const engine::Engine* engine, const base::Clock* clock, base::Log* log,
           absl::Duration interval);

  // Writes the line if it is time. To be called a few times in an interval.
  void Tick();

 private:
  const engine::Engine* const engine_;
  const base::Clock* const clock_;
  base::Log* const log_;
  const absl::Duration interval_;
  absl::Time last_;  // When Tick last looked.
  engine::LoadView before_;
};

}  // namespace ebb::server

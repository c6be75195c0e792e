// LengthsFile: what was learned of the lengths of answers, kept over restarts.
//
//   start:  Read  ──> the step policy ──> the engine ──(Tick, Save)──> the file
//
// A file that cannot be used is never a reason not to serve: the log says why, and the server
// begins without.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "scheduler/learned_tables.h"

namespace ebb::server {

// Thread-compatible. Clock and log outlive it.
class LengthsFile {
 public:
  static constexpr absl::Duration kSaveEvery = absl::Minutes(5);

  // `model` says which one it is: no other goes on with the file.
  LengthsFile(std::string path, std::string model, const base::Clock* clock, base::Log* log);

  // What was learned before; empty tables where there is nothing that can be used.
  scheduler::LearnedTables Read();
  // Saves when it is time, if any request has ended since.
  void Tick(const engine::Engine& engine);
  void Save(const engine::Engine& engine);

 private:
  const std::string path_;
  const std::string model_;
  const base::Clock* const clock_;
  base::Log* const log_;
  absl::Time looked_;           // When Tick last thought of saving.
  int64_t finished_total_ = 0;  // When it was last saved.
};

}  // namespace ebb::server

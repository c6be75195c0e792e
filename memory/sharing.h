// Sharing: this server's part in the ledger of its device, and what it does without one.
//
//   engine's keeper ── Renew ──> Sharing ──> LedgerSeat ──> LedgerFile
//
// A ledger that is missing, foreign, damaged, full or taken away while in use is no reason to stop
// serving: the server then keeps to its own limit alone, says so in one `sharing_off` line, and
// tries again every second.
//
// Log lines: `sharing` (a seat was taken), `sharing_changed` (others came, left, or want memory
// back), `handed_over` (a share that others still held has come, and after how long).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "memory/ledger.h"
#include "memory/ledger_file.h"

namespace ebb::memory {

// Thread-compatible: driven by the keeper's thread.
class Sharing {
 public:
  struct Options {
    std::string directory;
    std::string device_id;
    LedgerSeat::Terms terms;  // unit_bytes is given by Renew's caller.
  };

  // Touches no file yet. Everything passed in outlives it.
  Sharing(Options options, const base::Clock* clock, base::Log* log);

  // LedgerSeat::Renew; without a ledger nothing is bounded. Opens the ledger if need be.
  LedgerSeat::Answer Renew(const LedgerSeat::Needs& needs, int64_t unit_bytes);

  // The last Renew found a ledger.
  bool joined() const { return seat_ != nullptr; }

 private:
  absl::Status Join(int64_t unit_bytes);
  void Leave(const absl::Status& why);
  void LogPressure(const LedgerSeat::Needs& needs, const LedgerSeat::Answer& answer);
  void LogHandOver(const LedgerSeat::Answer& answer, int64_t unit_bytes, absl::Time now);

  // Something of our share that others have not given back yet.
  struct Claim {
    absl::Time since;
    int64_t lease_bytes = 0;  // Then.
  };

  const Options options_;
  const base::Clock* const clock_;
  base::Log* const log_;
  std::unique_ptr<LedgerFile> file_;
  std::unique_ptr<LedgerSeat> seat_;  // Uses the file.
  absl::Time join_at_ = absl::InfinitePast();
  std::string reason_;  // The last that was logged.
  int64_t servers_ = 0;
  bool pressed_ = false;
  std::optional<Claim> claim_;
};

}  // namespace ebb::memory

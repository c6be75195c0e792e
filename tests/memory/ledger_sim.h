// LedgerSim: several servers over one ledger and one device, in one thread.
//
// Each server runs on a fiber that stops before every touch of the ledger and of the device: there
// the scheduler may let others run, stop it for long, or kill it. So every interleaving of steps,
// and a death at every step, comes from a seed.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/cuda/simt/fiber.h"
#include "memory/ledger.h"

namespace ebb::memory {

// A planted bug, which the simulation must find.
enum class LedgerCanary {
  kNone,
  kStoppedCountAsDead,  // Life is told by signs of life instead of by the lock.
  kOldLooks,            // Who looks around sees leases as they were before its claim.
  kBlindSweep,          // A late sweep does not see that the slot has a new owner.
  kLocksStay,           // A dead server's lock is not dropped.
  kUnchecked,           // A server creates more than its lease.
};

class LedgerSim {
 public:
  struct Counts {
    int64_t kills = 0;
    int64_t stops = 0;
    int64_t thefts = 0;
    int64_t misses = 0;      // Creates that failed although the look before showed room.
    int64_t give_backs = 0;  // Units given back because others were short.
    std::vector<int64_t> kills_by_word = std::vector<int64_t>(kLedgerSlotWords + 4);
  };

  LedgerSim(uint64_t seed, LedgerCanary canary);
  ~LedgerSim();
  LedgerSim(const LedgerSim&) = delete;
  LedgerSim& operator=(const LedgerSim&) = delete;

  // Runs `steps` steps with everything that can happen, then a quiet time. The first broken rule,
  // or empty.
  std::string Run(int steps);
  const Counts& counts() const { return counts_; }

 private:
  class View;
  struct Server {
    std::unique_ptr<kernels::cuda::simt::Fiber> fiber;
    std::unique_ptr<View> view;
    LedgerSeat* seat = nullptr;
    int64_t floor_bytes = 0;
    int64_t weight = 1;
    int64_t unit_bytes = 1;
    int64_t wanted_bytes = 0;
    int64_t committed_bytes = 0;  // And goes on being so in the quiet time.
    int64_t first_bytes = 0;
    int64_t first_unix_ms = 0;
    int64_t held_bytes = 0;
    int64_t renewals = 0;
    absl::Duration clock_skew;  // Jumps forward.
    int64_t stopped_steps = 0;
    int at = 0;            // The word that its next step touches.
    bool running = false;  // Its fiber has begun and not ended.
    bool dead = false;
    bool ending = false;  // Asked to end in good order.
  };

  void Start(int index);
  void Life(int index);
  void Create(Server* server, int64_t lease_bytes);
  void GiveBack(Server* server, int64_t keep_bytes);
  void Kill(int index);
  void Yield(int index, int at);
  void Happen();
  void StepOf(int index);
  std::string Broken() const;
  std::string QuietTime();
  std::string EldestLacks(int stopped, int64_t rest_bytes, int64_t slack_bytes) const;
  int64_t DeviceFree() const;
  absl::Time NowOf(const Server& server) const;

  base::Rng rng_;
  const LedgerCanary canary_;
  int64_t capacity_bytes_ = 0;
  int64_t device_bytes_ = 0;
  int64_t stolen_bytes_ = 0;
  int64_t steps_ = 0;
  bool quiet_ = false;
  std::vector<std::array<uint64_t, kLedgerSlotWords>> words_;
  std::vector<int> lock_owner_;  // By slot; -1: none.
  std::vector<Server> servers_;
  Counts counts_;
};

}  // namespace ebb::memory

// Ledger: several servers, one device: who may hold how much.
//
//   keeper ── Renew(held, wanted, free) ──> LedgerSeat ──> own slot: claim, then look at all
//          <── lease, keep ──────────────
//
// No lock is ever waited for, and no word belongs to two. A lease is taken by claim and look:
//
//   1. write the larger lease into the own slot;
//   2. sum the leases of all living servers;
//   3. above the capacity: lower the own lease by the excess (never below what it was).
//
// Safe: of all who got more, take the one whose look came last. It saw every other's claim, for
// those had been written before their own looks, and a claim is only ever lowered to what is got.
// So the sum of what all got is at most the sum that it saw, cut down to the capacity. Two who look
// at the same time may both be cut short; they ask again.
//
// A crash at any step loses nothing: the kernel drops the lock of a dead server's slot, and a slot
// without a lock counts for nothing from that moment. There is no total that could be left wrong.
// A stopped server keeps its lease and stops nobody; what it wants beyond that no longer counts
// once its revision has stood still for kSilentAfter.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "memory/ledger_math.h"
#include "memory/ledger_slots.h"

namespace ebb::memory {

inline constexpr absl::Duration kLedgerPollTime = absl::Milliseconds(50);
inline constexpr absl::Duration kLedgerSilentAfter = absl::Seconds(1);
inline constexpr int64_t kLedgerWeightMax = 1000000;
inline constexpr int64_t kLedgerUnbounded = std::numeric_limits<int64_t>::max();

// One living server, as the slots show it.
struct LedgerEntry {
  int slot = 0;
  std::string name;
  int64_t pid = 0;  // In its own PID namespace.
  int64_t started_unix_ms = 0;
  uint64_t revision = 0;
  int64_t held_bytes = 0;
  int64_t needed_bytes = 0;
  int64_t keep_bytes = 0;
  int64_t share_bytes = 0;
  int64_t capacity_bytes = 0;
  LedgerParty party;
};

// The living servers but that of slot `own` (-1: all of them). Values that no server writes are
// clamped: a damaged slot can starve, not crash.
std::vector<LedgerEntry> ReadLedger(const LedgerSlots& slots, int own = -1);

// One server's seat. Thread-compatible: driven by the keeper's thread.
class LedgerSeat {
 public:
  struct Terms {
    std::string name;  // Its first 63 bytes are kept.
    int64_t pid = 0;
    int64_t started_unix_ms = 0;
    int64_t floor_bytes = 0;
    int64_t weight = 1;
    int64_t capacity_bytes = 0;  // 0: no bound but what the device can give.
    int64_t unit_bytes = 1;
  };
  struct Needs {
    int64_t held_bytes = 0;
    int64_t wanted_bytes = 0;
    int64_t needed_bytes = 0;
    int64_t ceiling_bytes = 0;
    // What the first of the requests is expected to need, and when it came. 0 bytes: there is none.
    int64_t first_bytes = 0;
    int64_t first_unix_ms = 0;
    // What requests that run are expected to need to their ends: kept, as far as it is leased, even
    // above the share, unless somebody's floor is lacking.
    int64_t committed_bytes = 0;
    int64_t free_bytes = 0;  // What the device can still give, headroom taken off.
  };
  struct Answer {
    int64_t lease_bytes = 0;  // Never more than this may be held.
    // Go down to this and grow no further; kLedgerUnbounded where nothing is to be given back.
    int64_t keep_bytes = 0;
    int64_t share_bytes = 0;
    // Others lack something, and more is leased here than the share.
    bool pressed = false;
    // An elder first, another server's, lacks memory that is to be given back here: to it even the
    // first of our requests gives way.
    bool first_yields = false;
    // The smallest that any server accepts for all together; kLedgerUnbounded where none says one.
    int64_t capacity_bytes = 0;
    int64_t servers = 1;
  };

  // RESOURCE_EXHAUSTED when every slot is taken. The slots outlive the seat.
  static absl::StatusOr<std::unique_ptr<LedgerSeat>> Take(LedgerSlots* slots, const Terms& terms);
  // Gives the lease up. REQUIRES: nothing is held under it any more.
  ~LedgerSeat();
  LedgerSeat(const LedgerSeat&) = delete;
  LedgerSeat& operator=(const LedgerSeat&) = delete;

  // Tells the others, and asks for min(wanted, share). Call it every kLedgerPollTime, before growth
  // and after release. `now` is this process's own clock.
  Answer Renew(const Needs& needs, absl::Time now);

  // The slots may not be touched any more, not even by the destructor.
  void Abandon() { abandoned_ = true; }

  int slot() const { return slot_; }
  // The living servers besides this, as the last Renew saw them.
  const std::vector<LedgerEntry>& others() const { return others_; }

 private:
  struct Seen {
    uint64_t revision = 0;
    int64_t started_unix_ms = 0;
    absl::Time since;
  };
  LedgerSeat(LedgerSlots* slots, int slot, const Terms& terms)
      : slots_(slots), slot_(slot), terms_(terms), seen_(slots->slot_count()) {}

  void Open();
  void Put(LedgerWord word, int64_t value);
  void StoreLease(int64_t bytes);
  void LookAround(absl::Time now);
  int64_t StatedCapacity() const;
  int64_t Capacity(const Needs& needs) const;
  std::vector<LedgerParty> Parties(const Needs& needs) const;
  int64_t RankOf(int64_t unix_ms) const;
  bool SomeFloorLacks() const;
  void Raise(int64_t goal_bytes, int64_t capacity_bytes);

  LedgerSlots* const slots_;
  const int slot_;
  const Terms terms_;
  bool abandoned_ = false;
  uint64_t generation_ = 0;
  uint64_t revision_ = 0;
  int64_t lease_bytes_ = 0;
  bool cut_short_ = false;  // The last claim was.
  std::vector<LedgerEntry> others_;
  std::vector<Seen> seen_;  // By slot.
};

}  // namespace ebb::memory

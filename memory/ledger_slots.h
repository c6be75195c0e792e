// LedgerSlots: the words and locks that servers share, as the ledger's protocol sees them.
//
//   slot 0   [ words of server A ]   lock held while A lives
//   slot 1   [ words of B ]          lock free: B has died, or the slot was never used
//   ...
//
// Each word of a slot is written by the slot's owner alone, but for kLease, which anybody may zero
// once the owner is dead. Forms: LedgerFile (a mapped file, locks of the kernel), and a simulated
// one in the tests, where each call is a step at which a server may stop or die.
#pragma once

#include <cstdint>

namespace ebb::memory {

enum class LedgerWord {
  kLease,  // Generation << 48 | bytes.
  kOpen,   // The generation for which the words below are valid.
  kHeldBytes,
  kWantedBytes,
  kNeededBytes,
  kFloorBytes,
  kWeight,
  kCeilingBytes,
  kCapacityBytes,  // The sum of leases that its owner accepts; 0: no bound.
  kUnitBytes,
  kKeepBytes,   // What its owner was told to go down to; its lease where it was not.
  kShareBytes,  // As its owner sees it.
  kPid,
  kStartedUnixMs,
  kRevision,  // Counts renewals: what stands still belongs to a server that is stopped.
  kFirstBytes,
  kFirstRank,
  kName,  // The first of kLedgerNameWords.
};
inline constexpr int kLedgerNameWords = 8;
inline constexpr int kLedgerSlotWords = 32;
static_assert(static_cast<int>(LedgerWord::kName) + kLedgerNameWords <= kLedgerSlotWords);

// Thread-compatible. Loads and stores of all processes are in one order (sequential consistency).
class LedgerSlots {
 public:
  virtual ~LedgerSlots() = default;

  virtual int slot_count() const = 0;
  virtual uint64_t Load(int slot, LedgerWord word, int offset = 0) const = 0;
  virtual void Store(int slot, LedgerWord word, uint64_t value, int offset = 0) = 0;
  // False, and nothing is stored, when the word is not `expected`.
  virtual bool CompareExchange(int slot, LedgerWord word, uint64_t expected, uint64_t value) = 0;

  // Whether somebody else holds the slot's lock. It goes with its holder, however that ends.
  virtual bool IsLockedByOther(int slot) const = 0;
  // Never waits. False when somebody else holds it.
  virtual bool TryLock(int slot) = 0;
  virtual void Unlock(int slot) = 0;
};

}  // namespace ebb::memory

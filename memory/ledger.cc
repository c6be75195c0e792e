#include "memory/ledger.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace ebb::memory {
namespace {

constexpr int kBytesBits = 48;
constexpr int64_t kBytesMax = (int64_t{1} << kBytesBits) - 1;

int64_t BytesOf(uint64_t lease) { return static_cast<int64_t>(lease & kBytesMax); }
uint64_t GenerationOf(uint64_t lease) { return lease >> kBytesBits; }
uint64_t LeaseWord(uint64_t generation, int64_t bytes) {
  return generation << kBytesBits | static_cast<uint64_t>(bytes);
}
uint64_t NextGeneration(uint64_t generation) { return (generation + 1) & 0xffff; }

int64_t LoadBytes(const LedgerSlots& slots, int slot, LedgerWord word) {
  return static_cast<int64_t>(std::min<uint64_t>(slots.Load(slot, word), kBytesMax));
}

std::string LoadName(const LedgerSlots& slots, int slot) {
  char text[kLedgerNameWords * sizeof(uint64_t)];
  for (int i = 0; i < kLedgerNameWords; ++i) {
    const uint64_t word = slots.Load(slot, LedgerWord::kName, i);
    std::memcpy(text + i * sizeof(word), &word, sizeof(word));
  }
  std::string name(text, strnlen(text, sizeof(text)));
  // It goes to terminals and logs.
  for (char& c : name) c = c < 0x20 || c > 0x7e ? '?' : c;
  return name;
}

// A dead server's lease goes. The generation changes, so that whoever looked before and comes late
// takes nothing from the slot's next owner.
void Sweep(LedgerSlots* slots, int slot) {
  const uint64_t lease = slots->Load(slot, LedgerWord::kLease);
  if (BytesOf(lease) == 0 || slots->IsLockedByOther(slot)) return;
  slots->CompareExchange(slot, LedgerWord::kLease, lease,
                         LeaseWord(NextGeneration(GenerationOf(lease)), 0));
}

LedgerEntry ReadSlot(const LedgerSlots& slots, int slot, uint64_t lease) {
  LedgerEntry entry;
  entry.slot = slot;
  entry.party.lease_bytes = BytesOf(lease);
  entry.party.wanted_bytes = entry.party.lease_bytes;
  entry.party.ceiling_bytes = kBytesMax;
  // Between its lock and its first words a server is nothing but its lease.
  if (slots.Load(slot, LedgerWord::kOpen) != GenerationOf(lease)) {
    entry.party.silent = true;
    return entry;
  }
  entry.name = LoadName(slots, slot);
  entry.pid = LoadBytes(slots, slot, LedgerWord::kPid);
  entry.started_unix_ms = LoadBytes(slots, slot, LedgerWord::kStartedUnixMs);
  entry.revision = slots.Load(slot, LedgerWord::kRevision);
  entry.held_bytes = LoadBytes(slots, slot, LedgerWord::kHeldBytes);
  entry.needed_bytes = LoadBytes(slots, slot, LedgerWord::kNeededBytes);
  entry.keep_bytes = LoadBytes(slots, slot, LedgerWord::kKeepBytes);
  entry.share_bytes = LoadBytes(slots, slot, LedgerWord::kShareBytes);
  entry.capacity_bytes = LoadBytes(slots, slot, LedgerWord::kCapacityBytes);
  entry.party.floor_bytes = LoadBytes(slots, slot, LedgerWord::kFloorBytes);
  entry.party.weight =
      std::clamp<int64_t>(LoadBytes(slots, slot, LedgerWord::kWeight), 1, kLedgerWeightMax);
  entry.party.ceiling_bytes = LoadBytes(slots, slot, LedgerWord::kCeilingBytes);
  entry.party.wanted_bytes = LoadBytes(slots, slot, LedgerWord::kWantedBytes);
  entry.party.unit_bytes = std::max<int64_t>(1, LoadBytes(slots, slot, LedgerWord::kUnitBytes));
  entry.party.first_bytes = LoadBytes(slots, slot, LedgerWord::kFirstBytes);
  entry.party.first_rank = LoadBytes(slots, slot, LedgerWord::kFirstRank);
  return entry;
}

// What the last of the parties claims after a claim that was cut short: its share, or, where others
// still keep some of that, its part of what nobody has. Whole shares would then never fit together,
// and those who always claim at the same time would be cut short each time.
int64_t GoalOf(int64_t capacity_bytes, const std::vector<LedgerParty>& parties,
               const std::vector<int64_t>& share_bytes) {
  int64_t missing = 0, unleased = capacity_bytes;
  for (size_t i = 0; i < parties.size(); ++i) {
    missing += std::max<int64_t>(0, share_bytes[i] - parties[i].lease_bytes);
    unleased -= parties[i].lease_bytes;
  }
  const int64_t share = share_bytes.back(), lease = parties.back().lease_bytes;
  unleased = std::max<int64_t>(0, unleased);
  if (missing <= unleased) return share;
  return lease + static_cast<int64_t>(static_cast<__int128>(share - lease) * unleased / missing);
}

}  // namespace

std::vector<LedgerEntry> ReadLedger(const LedgerSlots& slots, int own) {
  std::vector<LedgerEntry> entries;
  for (int slot = 0; slot < slots.slot_count(); ++slot) {
    if (slot == own) continue;
    // The lease first: if the slot dies and is taken again meanwhile, the generations differ.
    const uint64_t lease = slots.Load(slot, LedgerWord::kLease);
    const bool used = GenerationOf(lease) != 0 || BytesOf(lease) != 0;
    if (used && slots.IsLockedByOther(slot)) entries.push_back(ReadSlot(slots, slot, lease));
  }
  return entries;
}

absl::StatusOr<std::unique_ptr<LedgerSeat>> LedgerSeat::Take(LedgerSlots* slots,
                                                             const Terms& terms) {
  CHECK_GE(terms.weight, 1);
  for (int slot = 0; slot < slots->slot_count(); ++slot) {
    if (slots->IsLockedByOther(slot)) continue;
    // Before the lock: whoever stops right after it must not keep a dead server's lease alive.
    Sweep(slots, slot);
    if (!slots->TryLock(slot)) continue;
    std::unique_ptr<LedgerSeat> seat(new LedgerSeat(slots, slot, terms));
    seat->Open();
    return seat;
  }
  return absl::ResourceExhaustedError("every seat of the ledger is taken");
}

LedgerSeat::~LedgerSeat() {
  if (abandoned_) return;
  StoreLease(0);
  slots_->Unlock(slot_);
}

void LedgerSeat::Open() {
  generation_ = NextGeneration(GenerationOf(slots_->Load(slot_, LedgerWord::kLease)));
  if (generation_ == 0) generation_ = 1;  // 0 is that of a slot which was never used.
  StoreLease(0);
  Put(LedgerWord::kHeldBytes, 0);
  Put(LedgerWord::kWantedBytes, 0);
  Put(LedgerWord::kNeededBytes, 0);
  Put(LedgerWord::kKeepBytes, 0);
  Put(LedgerWord::kShareBytes, 0);
  Put(LedgerWord::kCeilingBytes, 0);
  Put(LedgerWord::kFirstBytes, 0);
  Put(LedgerWord::kFirstRank, 0);
  Put(LedgerWord::kFloorBytes, terms_.floor_bytes);
  Put(LedgerWord::kWeight, terms_.weight);
  Put(LedgerWord::kCapacityBytes, terms_.capacity_bytes);
  Put(LedgerWord::kUnitBytes, terms_.unit_bytes);
  Put(LedgerWord::kPid, terms_.pid);
  Put(LedgerWord::kStartedUnixMs, terms_.started_unix_ms);
  char text[kLedgerNameWords * sizeof(uint64_t)] = {};
  std::memcpy(text, terms_.name.data(), std::min(terms_.name.size(), sizeof(text) - 1));
  for (int i = 0; i < kLedgerNameWords; ++i) {
    uint64_t word = 0;
    std::memcpy(&word, text + i * sizeof(word), sizeof(word));
    slots_->Store(slot_, LedgerWord::kName, word, i);
  }
  slots_->Store(slot_, LedgerWord::kOpen, generation_);
}

LedgerSeat::Answer LedgerSeat::Renew(const Needs& needs, absl::Time now) {
  // What is held is the truth, whatever was leased: after a ledger was lost, say.
  if (needs.held_bytes > lease_bytes_) StoreLease(needs.held_bytes);
  Put(LedgerWord::kHeldBytes, needs.held_bytes);
  Put(LedgerWord::kWantedBytes, needs.wanted_bytes);
  Put(LedgerWord::kNeededBytes, needs.needed_bytes);
  Put(LedgerWord::kCeilingBytes, needs.ceiling_bytes);
  Put(LedgerWord::kFirstBytes, needs.first_bytes);
  Put(LedgerWord::kFirstRank, RankOf(needs.first_unix_ms));
  Put(LedgerWord::kRevision, static_cast<int64_t>(++revision_));
  LookAround(now);

  const std::vector<LedgerParty> parties = Parties(needs);
  const int64_t capacity = Capacity(needs);
  const LedgerDivision division = DivideCapacity(capacity, parties);
  const int64_t share = division.share_bytes.back();
  const int64_t keep = division.keep_bytes.back();
  // Above its share nobody keeps what it only leased, does not hold and is not committed to: no
  // page moves for that. (Even when nobody seems short: another's claim, not yet cut, hides what it
  // lacks.)
  const int64_t committed = SomeFloorLacks() ? 0 : needs.committed_bytes;
  const int64_t useful =
      std::max(needs.held_bytes, std::min(std::max(share, committed), lease_bytes_));
  const bool must_give = keep < lease_bytes_;
  if (useful < lease_bytes_) StoreLease(useful);
  if (share > lease_bytes_) {
    const int64_t goal = cut_short_ ? GoalOf(capacity, parties, division.share_bytes) : share;
    Raise(goal, capacity);
    cut_short_ = lease_bytes_ < goal;
  }

  Answer answer;
  answer.lease_bytes = lease_bytes_;
  answer.keep_bytes =
      must_give ? std::max(keep, std::min(committed, lease_bytes_)) : kLedgerUnbounded;
  answer.pressed = must_give;
  answer.first_yields = must_give && division.lacking_first >= 0 &&
                        division.lacking_first != static_cast<int>(others_.size());
  answer.capacity_bytes = StatedCapacity();
  answer.share_bytes = share;
  answer.servers = static_cast<int64_t>(others_.size()) + 1;
  Put(LedgerWord::kShareBytes, share);
  Put(LedgerWord::kKeepBytes, std::min(answer.keep_bytes, lease_bytes_));
  return answer;
}

void LedgerSeat::Put(LedgerWord word, int64_t value) {
  CHECK_GE(value, 0);
  slots_->Store(slot_, word, static_cast<uint64_t>(value));
}

void LedgerSeat::StoreLease(int64_t bytes) {
  CHECK_GE(bytes, 0);
  lease_bytes_ = std::min(bytes, kBytesMax);
  slots_->Store(slot_, LedgerWord::kLease, LeaseWord(generation_, lease_bytes_));
}

// Who lives, and who has said nothing for long. Dead servers' leases are wiped: they count for
// nothing anyway, but the next server to lock such a slot should find it empty.
void LedgerSeat::LookAround(absl::Time now) {
  for (int slot = 0; slot < slots_->slot_count(); ++slot) {
    if (slot != slot_) Sweep(slots_, slot);
  }
  others_ = ReadLedger(*slots_, slot_);
  for (LedgerEntry& other : others_) {
    Seen& seen = seen_[other.slot];
    if (seen.revision != other.revision || seen.started_unix_ms != other.started_unix_ms) {
      seen = {other.revision, other.started_unix_ms, now};
    }
    // By our own clock: those of others may jump.
    other.party.silent |= now - seen.since >= kLedgerSilentAfter;
  }
}

// Our own comes last.
std::vector<LedgerParty> LedgerSeat::Parties(const Needs& needs) const {
  std::vector<LedgerParty> parties;
  for (const LedgerEntry& other : others_) parties.push_back(other.party);
  LedgerParty own;
  own.floor_bytes = terms_.floor_bytes;
  own.weight = terms_.weight;
  own.ceiling_bytes = needs.ceiling_bytes;
  own.wanted_bytes = needs.wanted_bytes;
  own.lease_bytes = lease_bytes_;
  own.unit_bytes = terms_.unit_bytes;
  own.first_bytes = needs.first_bytes;
  own.first_rank = RankOf(needs.first_unix_ms);
  parties.push_back(own);
  return parties;
}

// By arrival, then by slot: all servers see the same order.
int64_t LedgerSeat::RankOf(int64_t unix_ms) const {
  const int64_t slots = slots_->slot_count();
  return std::clamp<int64_t>(unix_ms, 0, kBytesMax / slots - 1) * slots + slot_;
}

int64_t LedgerSeat::StatedCapacity() const {
  int64_t capacity = terms_.capacity_bytes > 0 ? terms_.capacity_bytes : kLedgerUnbounded;
  for (const LedgerEntry& other : others_) {
    if (other.capacity_bytes > 0) capacity = std::min(capacity, other.capacity_bytes);
  }
  return capacity;
}

// The smallest that any server accepts, and no more than there is: servers that were told no
// number, and neighbours that know nothing of the ledger, are seen by what the device has free.
int64_t LedgerSeat::Capacity(const Needs& needs) const {
  int64_t there = needs.held_bytes + std::max<int64_t>(0, needs.free_bytes);
  for (const LedgerEntry& other : others_) {
    there += std::min(other.held_bytes, other.party.lease_bytes);
  }
  return std::min({StatedCapacity(), kBytesMax, there});
}

// By what is held: a lease may be a claim that is not yet cut.
bool LedgerSeat::SomeFloorLacks() const {
  return std::any_of(others_.begin(), others_.end(), [](const LedgerEntry& other) {
    const LedgerParty& party = other.party;
    const int64_t due = std::min({party.floor_bytes, party.wanted_bytes, party.ceiling_bytes});
    return !party.silent && due - other.held_bytes >= party.unit_bytes;
  });
}

void LedgerSeat::Raise(int64_t goal_bytes, int64_t capacity_bytes) {
  const int64_t before = lease_bytes_;
  StoreLease(goal_bytes);
  int64_t sum = goal_bytes;
  for (int slot = 0; slot < slots_->slot_count(); ++slot) {
    if (slot == slot_) continue;
    const int64_t bytes = BytesOf(slots_->Load(slot, LedgerWord::kLease));
    if (bytes > 0 && slots_->IsLockedByOther(slot)) sum += bytes;
  }
  if (sum > capacity_bytes) StoreLease(std::max(before, goal_bytes - (sum - capacity_bytes)));
}

}  // namespace ebb::memory

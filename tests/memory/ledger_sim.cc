#include "tests/memory/ledger_sim.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ebb::memory {
namespace {

// Steps that are no touch of a word.
constexpr int kAtLock = kLedgerSlotWords;
constexpr int kAtLook = kLedgerSlotWords + 1;
constexpr int kAtCreate = kLedgerSlotWords + 2;
constexpr int kAtPause = kLedgerSlotWords + 3;
constexpr absl::Duration kStepTime = absl::Milliseconds(1);
// Renewals in which, once all is quiet, everybody reaches what is its. A stopped server counts as
// silent after a second, in steps of a millisecond shared by all.
constexpr int64_t kQuietRenewals = 120;
constexpr int64_t kQuietSteps = 50000;  // Far more than these renewals take.

}  // namespace

// One server's sight of the ledger.
class LedgerSim::View final : public LedgerSlots {
 public:
  View(LedgerSim* sim, int index) : sim_(sim), index_(index) {}

  int slot_count() const override { return static_cast<int>(sim_->words_.size()); }
  uint64_t Load(int slot, LedgerWord word, int offset) const override {
    const int at = static_cast<int>(word) + offset;
    // Only what the protocol rests on is worth a switch each time.
    if (word == LedgerWord::kLease || word == LedgerWord::kOpen) sim_->Yield(index_, at);
    if (dead()) return 0;
    if (word == LedgerWord::kLease && sim_->canary_ == LedgerCanary::kOldLooks && !old_.empty()) {
      return old_[slot][at];
    }
    return sim_->words_[slot][at];
  }
  void Store(int slot, LedgerWord word, uint64_t value, int offset) override {
    if (word == LedgerWord::kRevision) old_ = sim_->words_;
    sim_->Yield(index_, static_cast<int>(word) + offset);
    if (!dead()) sim_->words_[slot][static_cast<int>(word) + offset] = value;
  }
  bool CompareExchange(int slot, LedgerWord word, uint64_t expected, uint64_t value) override {
    sim_->Yield(index_, static_cast<int>(word));
    if (dead()) return false;
    uint64_t& there = sim_->words_[slot][static_cast<int>(word)];
    if (there != expected && sim_->canary_ != LedgerCanary::kBlindSweep) return false;
    there = value;
    return true;
  }
  bool IsLockedByOther(int slot) const override {
    sim_->Yield(index_, kAtLock);
    if (dead()) return false;
    const int owner = sim_->lock_owner_[slot];
    if (owner < 0 || owner == index_) return false;
    return sim_->canary_ != LedgerCanary::kStoppedCountAsDead ||
           sim_->servers_[owner].stopped_steps == 0;
  }
  bool TryLock(int slot) override {
    sim_->Yield(index_, kAtLock);
    if (dead()) return true;
    if (sim_->lock_owner_[slot] >= 0) return false;
    sim_->lock_owner_[slot] = index_;
    return true;
  }
  void Unlock(int slot) override {
    if (!dead()) sim_->lock_owner_[slot] = -1;
  }

 private:
  bool dead() const { return sim_->servers_[index_].dead; }

  LedgerSim* const sim_;
  const int index_;
  std::vector<std::array<uint64_t, kLedgerSlotWords>> old_;
};

LedgerSim::LedgerSim(uint64_t seed, LedgerCanary canary) : rng_(seed), canary_(canary) {
  const int count = static_cast<int>(rng_.Between(2, 4));
  capacity_bytes_ = rng_.Between(40, 120);
  device_bytes_ = capacity_bytes_ + rng_.Between(-10, 60);
  words_.resize(static_cast<size_t>(count) + rng_.Between(0, 1));
  for (auto& slot : words_) slot.fill(0);
  lock_owner_.assign(words_.size(), -1);
  servers_.resize(count);
  for (Server& server : servers_) {
    server.floor_bytes = rng_.Chance(0.5) ? rng_.Between(0, 40 / count) : 0;
    server.weight = rng_.Between(1, 3);
    server.unit_bytes = rng_.Between(1, 4);
  }
  for (int i = 0; i < count; ++i) Start(i);
}

LedgerSim::~LedgerSim() {
  for (size_t i = 0; i < servers_.size(); ++i) {
    if (servers_[i].running) Kill(static_cast<int>(i));
  }
}

int64_t LedgerSim::DeviceFree() const {
  int64_t free = device_bytes_ - stolen_bytes_;
  for (const Server& server : servers_) free -= server.held_bytes;
  return free;
}

absl::Time LedgerSim::NowOf(const Server& server) const {
  return absl::UnixEpoch() + steps_ * kStepTime + server.clock_skew;
}

// ---- a server's life

void LedgerSim::Start(int index) {
  Server& server = servers_[index];
  server.dead = false;
  server.ending = false;
  server.stopped_steps = 0;
  server.wanted_bytes = quiet_ ? 2 * capacity_bytes_ : rng_.Between(0, 2 * capacity_bytes_);
  server.renewals = 0;
  server.view = std::make_unique<View>(this, index);
  server.fiber = std::make_unique<kernels::cuda::simt::Fiber>([this, index] { Life(index); });
  server.running = true;
}

void LedgerSim::Life(int index) {
  Server& server = servers_[index];
  LedgerSeat::Terms terms;
  terms.name = absl::StrCat("server ", index);
  terms.started_unix_ms = steps_;
  terms.floor_bytes = server.floor_bytes;
  terms.weight = server.weight;
  terms.capacity_bytes = capacity_bytes_;
  terms.unit_bytes = server.unit_bytes;
  auto seat = LedgerSeat::Take(server.view.get(), terms);
  while (!seat.ok()) {
    Yield(index, kAtPause);
    seat = LedgerSeat::Take(server.view.get(), terms);
  }
  while (!server.ending && !server.dead) {
    LedgerSeat::Needs needs;
    needs.held_bytes = server.held_bytes;
    needs.wanted_bytes = server.wanted_bytes;
    needs.ceiling_bytes = 3 * capacity_bytes_;
    needs.committed_bytes = server.committed_bytes;
    needs.first_bytes = std::min(server.first_bytes, server.wanted_bytes);
    needs.first_unix_ms = server.first_unix_ms;
    needs.free_bytes = DeviceFree();
    const LedgerSeat::Answer answer = (*seat)->Renew(needs, NowOf(server));
    ++server.renewals;
    GiveBack(&server, std::min(answer.keep_bytes, server.wanted_bytes));
    Create(&server, std::min(answer.lease_bytes, answer.keep_bytes));
    Yield(index, kAtPause);
  }
  GiveBack(&server, 0);
  seat->reset();
  server.running = false;
}

// Lease first, create after; between look and create anything may happen.
void LedgerSim::Create(Server* server, int64_t lease_bytes) {
  const int index = static_cast<int>(server - servers_.data());
  const int64_t slip = canary_ == LedgerCanary::kUnchecked ? server->unit_bytes : 0;
  const int64_t goal = std::min(lease_bytes + slip, server->wanted_bytes);
  while (server->held_bytes + server->unit_bytes <= goal) {
    Yield(index, kAtLook);
    if (server->dead || DeviceFree() < server->unit_bytes) return;
    Yield(index, kAtCreate);
    if (server->dead) return;
    if (DeviceFree() < server->unit_bytes) {
      ++counts_.misses;
      return;
    }
    server->held_bytes += server->unit_bytes;
  }
}

void LedgerSim::GiveBack(Server* server, int64_t keep_bytes) {
  const int index = static_cast<int>(server - servers_.data());
  while (server->held_bytes > keep_bytes) {
    Yield(index, kAtCreate);
    if (server->dead) return;
    server->held_bytes -= std::min(server->unit_bytes, server->held_bytes);
    if (server->wanted_bytes > keep_bytes) ++counts_.give_backs;
  }
}

void LedgerSim::Yield(int index, int at) {
  Server& server = servers_[index];
  if (server.dead) return;
  server.at = at;
  server.fiber->Leave();
}

// What kill -9 does: memory first, then locks, and not one more step.
void LedgerSim::Kill(int index) {
  Server& server = servers_[index];
  ++counts_.kills;
  ++counts_.kills_by_word[server.at];
  server.dead = true;
  server.held_bytes = 0;
  if (canary_ != LedgerCanary::kLocksStay) {
    for (int& owner : lock_owner_) owner = owner == index ? -1 : owner;
  }
  StepOf(index);  // Its fiber runs to its end, and nothing of that reaches the world.
  CHECK(!server.running);
}

// ---- the world

void LedgerSim::StepOf(int index) { servers_[index].fiber->Enter(true); }

void LedgerSim::Happen() {
  const int index = static_cast<int>(rng_.Between(0, static_cast<int64_t>(servers_.size()) - 1));
  Server& server = servers_[index];
  if (!server.running) {
    if (rng_.Chance(0.2)) Start(index);
    return;
  }
  const double what = rng_.Unit();
  if (what < 0.010) {
    Kill(index);
    if (rng_.Chance(0.5)) Start(index);
  } else if (what < 0.020) {
    if (server.stopped_steps == 0) ++counts_.stops;
    server.stopped_steps = rng_.Between(1, rng_.Chance(0.2) ? 3000 : 200);
  } else if (what < 0.050) {
    server.wanted_bytes = rng_.Chance(0.2) ? 0 : rng_.Between(0, 2 * capacity_bytes_);
    server.committed_bytes = rng_.Chance(0.5) ? 0 : rng_.Between(0, server.wanted_bytes);
    server.first_bytes = rng_.Chance(0.3) ? 0 : rng_.Between(0, capacity_bytes_);
    server.first_unix_ms = steps_ / 100;  // Many are equal.
  } else if (what < 0.060) {
    server.clock_skew += absl::Milliseconds(rng_.Between(0, 5000));
  } else if (what < 0.080) {
    const int64_t stolen = rng_.Between(0, std::max<int64_t>(0, DeviceFree() + stolen_bytes_));
    counts_.thefts += stolen > stolen_bytes_;
    stolen_bytes_ = stolen;
  } else if (what < 0.082) {
    server.ending = true;
  }
}

// The rules that hold after every step.
std::string LedgerSim::Broken() const {
  int64_t sum = 0;
  for (size_t i = 0; i < servers_.size(); ++i) {
    const int64_t held = servers_[i].held_bytes;
    sum += held;
    int64_t leased = 0;
    for (size_t slot = 0; slot < words_.size(); ++slot) {
      if (lock_owner_[slot] == static_cast<int>(i)) leased += words_[slot][0] & ((1ull << 48) - 1);
    }
    if (held > leased) return absl::StrCat("server ", i, " holds ", held, ", leased ", leased);
  }
  if (sum > capacity_bytes_) return absl::StrCat("held ", sum, " of ", capacity_bytes_);
  return DeviceFree() < 0 ? "the device gave more than it has" : "";
}

std::string LedgerSim::Run(int steps) {
  for (int step = 0; step < steps; ++step, ++steps_) {
    Happen();
    const size_t first = rng_.Between(0, static_cast<int64_t>(servers_.size()) - 1);
    for (size_t i = 0; i < servers_.size(); ++i) {
      const size_t index = (first + i) % servers_.size();
      Server& server = servers_[index];
      if (server.stopped_steps > 0) --server.stopped_steps;
      if (!server.running || server.stopped_steps > 0 || (i > 0 && rng_.Chance(0.5))) continue;
      StepOf(static_cast<int>(index));
      const std::string broken = Broken();
      if (!broken.empty()) return absl::StrCat("step ", step, ": ", broken);
    }
  }
  return QuietTime();
}

// Everybody wants all there is, nobody dies any more, one may stay stopped for good. Then the
// others must reach their floors, and nothing may be left unused.
std::string LedgerSim::QuietTime() {
  quiet_ = true;
  stolen_bytes_ = 0;
  const int stopped = rng_.Chance(0.3) ? 0 : -1;
  // Those that ran before somebody lacked memory have ended: grace is over.
  const bool grace_over = rng_.Chance(0.5);
  for (size_t i = 0; i < servers_.size(); ++i) {
    Server& server = servers_[i];
    server.stopped_steps = 0;
    server.ending = false;
    if (!server.running) Start(static_cast<int>(i));
    server.renewals = 0;
    server.wanted_bytes = 2 * capacity_bytes_;
    if (grace_over) server.committed_bytes = 0;
  }
  if (stopped >= 0) servers_[stopped].stopped_steps = 1;  // And stays so: nobody counts it down.
  const int64_t end = steps_ + kQuietSteps;
  for (bool ready = false; !ready; ++steps_) {
    if (steps_ > end) return "lost: somebody finds no seat";
    ready = true;
    for (size_t i = 0; i < servers_.size(); ++i) {
      if (static_cast<int>(i) == stopped) continue;
      if (!servers_[i].running) Start(static_cast<int>(i));
      StepOf(static_cast<int>(i));
      if (const std::string broken = Broken(); !broken.empty()) return "quiet: " + broken;
      ready &= servers_[i].renewals >= kQuietRenewals;
    }
  }
  int64_t held = 0, units = 0, floors = 0, kept = 0, unsaid = 0;
  for (size_t slot = 0; stopped >= 0 && slot < words_.size(); ++slot) {
    if (lock_owner_[slot] != stopped) continue;
    kept = static_cast<int64_t>(words_[slot][0] & ((1ull << 48) - 1));
    // What it created and had no time to tell looks like a neighbour that nobody knows.
    const auto told = static_cast<int64_t>(words_[slot][static_cast<int>(LedgerWord::kHeldBytes)]);
    unsaid = std::max<int64_t>(0, servers_[stopped].held_bytes - told);
  }
  for (size_t i = 0; i < servers_.size(); ++i) {
    if (static_cast<int>(i) == stopped) continue;
    held += servers_[i].held_bytes;
    units += servers_[i].unit_bytes;
    floors += servers_[i].floor_bytes;
  }
  const int64_t total = std::min(capacity_bytes_, device_bytes_ - unsaid) - kept;
  if (held < total - units) {
    return absl::StrCat("lost: ", held, " held of ", total, " that nobody else keeps");
  }
  for (size_t i = 0; i < servers_.size() && floors <= total; ++i) {
    const Server& server = servers_[i];
    if (static_cast<int>(i) != stopped && server.held_bytes + units < server.floor_bytes) {
      return absl::StrCat("server ", i, " has ", server.held_bytes, " of its floor ",
                          server.floor_bytes);
    }
  }
  return grace_over ? EldestLacks(stopped, total - floors, units) : "";
}

// Whether the eldest first that fits beside the floors has not come to what it needs.
std::string LedgerSim::EldestLacks(int stopped, int64_t rest_bytes, int64_t slack_bytes) const {
  int64_t eldest_rank = std::numeric_limits<int64_t>::max();
  int eldest = -1;
  for (size_t slot = 0; slot < words_.size(); ++slot) {
    const int owner = lock_owner_[slot];
    if (owner < 0 || owner == stopped) continue;
    const Server& server = servers_[owner];
    const int64_t rank = server.first_unix_ms * static_cast<int64_t>(words_.size()) + slot;
    if (server.first_bytes == 0 || rank >= eldest_rank) continue;
    // Near the edge, what each server counts in units decides.
    if (server.first_bytes - server.floor_bytes > rest_bytes - slack_bytes) return "";
    eldest_rank = rank;
    eldest = owner;
  }
  if (eldest < 0 || servers_[eldest].held_bytes + slack_bytes >= servers_[eldest].first_bytes) {
    return "";
  }
  return absl::StrCat("server ", eldest, " has ", servers_[eldest].held_bytes, " of the ",
                      servers_[eldest].first_bytes, " that the eldest first needs");
}

}  // namespace ebb::memory

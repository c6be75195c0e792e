// A toy engine on KvMemory: sequences start, grow, change hands, are cancelled and preempted, steps
// are in flight, the limit, a peer and the clock move, device calls fail, and all of that also in
// the middle of the keeper's passes; in every other run prompts with beginnings in common find what
// others have computed. After each step every rule of memory_checker.h must hold; the
// fake device ends the process on an unmap under work in flight.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock_fake.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "device/vmm_fake.h"
#include "memory/kv_memory.h"
#include "memory/page_keeper.h"
#include "memory/release_plan.h"
#include "tests/memory/memory_checker.h"
#include "tests/memory/seed.h"
#include "tests/memory/test_device.h"

namespace ebb::memory {
namespace {

using device::VmmCall;

constexpr int64_t kGranule = 4096;
constexpr int32_t kPages = 12;
constexpr int32_t kBlockTokens = 8;
constexpr int kLanes = 2;
constexpr AccountId kAccounts[kLanes] = {AccountId::kPrefill, AccountId::kDecode};

struct Sequence {
  BlockTable table;
  int64_t prompt_tokens = 0;  // To process, made ones too when it was preempted.
  int64_t left_tokens = 0;    // To make.
  int64_t cached_tokens = 0;
  int submitted = 0;
  bool executing = true;
  std::vector<int32_t> tokens = {};  // All that it will ever have.
  PrefixChain chain{"", kBlockTokens};
  PrefixPlace place = {};
};

// A step in flight: what it touches, at the device and here.
struct Step {
  uint64_t ticket = 0;
  std::vector<uint64_t> uses;
  Sequence* sequence = nullptr;  // Null: it was cancelled, but its memory is still being read.
};

WindowSettings ToySettings() {
  WindowSettings settings;
  settings.decode_steps = 8;
  settings.chunk_tokens = 32;
  return settings;
}

class ToyEngine {
 public:
  explicit ToyEngine(uint64_t seed)
      : rng_(seed),
        device_bytes_(rng_.Between(20, 60) * kGranule),
        device_(kGranule, device_bytes_),
        vmm_(device_.fake()) {
    KvMemory::Options options;
    const KvGeometry geometry = KvGeometry::Create({2, kBlockTokens, 1024}, kGranule, 4).value();
    page_bytes_ = geometry.page_bytes();
    options.ceiling_bytes = kPages * page_bytes_;
    options.limit_bytes = rng_.Between(0, kPages + 3) * page_bytes_;
    options.headroom_bytes = rng_.Between(0, 1) * page_bytes_;
    options.prepare_ahead_pages = static_cast<int32_t>(rng_.Between(0, 2));
    if (rng_.Chance(0.3)) options.keep_bytes = rng_.Between(1, kPages + 1) * page_bytes_;
    options.prefix_cache = seed / 2 % 2 == 0;
    options.prefix_idle_after = absl::Seconds(rng_.Between(0, 8));
    if (rng_.Chance(0.3)) options.prefix_floor_bytes = rng_.Between(1, 3) * page_bytes_;
    options.shrink.windows_kept = 2;
    options.shrink.pages_at_once = 2;
    options.workspaces = {{"workspace.prefill", 3 * kGranule}, {"workspace.decode", kGranule}};
    memory_ = KvMemory::Create(geometry, options, device_.vmm()).value();
    for (int lane = 0; lane < kLanes; ++lane) readers_[lane] = memory_->readers().Add("lane");
    keeper_ = std::make_unique<PageKeeper>(PageKeeper::Options{3}, memory_.get(), device_.vmm(),
                                           &clock_, &mutex_);
    before_ = Picture();
    vmm_.SetBeforeCall([this](VmmCall call) {
      // The fake's own check of a range, made by this test, is not a call of the keeper's.
      if (!in_keeper_ || call == VmmCall::kReserve) return;
      in_keeper_ = false;
      Check();
      if (!quiet_ && rng_.Chance(0.3)) Act();
      in_keeper_ = true;
    });
  }

  ~ToyEngine() {
    vmm_.SetBeforeCall(nullptr);
    EXPECT_TRUE(keeper_->Shutdown().ok());
    EXPECT_EQ(memory_->held_bytes(), 0);
  }

  void FailSometimes() {
    for (const VmmCall call : {VmmCall::kCreate, VmmCall::kMap, VmmCall::kSetAccess}) {
      vmm_.FailByChance(call, 0.1, rng_.Bits());
    }
    for (const VmmCall call : {VmmCall::kUnmap, VmmCall::kRelease, VmmCall::kFreeBytes}) {
      vmm_.FailByChance(call, 0.02, rng_.Bits());
    }
  }

  void RandomStep() {
    if (rng_.Chance(0.25)) {
      RunKeeper();
    } else {
      Act();
    }
    Check();
  }

  // From any state, with the device well again and a limit that is enough for one sequence, every
  // sequence ends: nobody locks anybody out.
  void Finish() {
    quiet_ = true;
    vmm_.StopFailing();
    vmm_.SetPeerBytes(0);
    const int64_t stuck = memory_->pages().count(PageState::kQuarantined);
    int64_t most_blocks = 1;
    for (const auto& sequence : sequences_) {
      const int64_t tokens =
          std::max(sequence->prompt_tokens, sequence->cached_tokens) + sequence->left_tokens;
      most_blocks = std::max(most_blocks, memory_->geometry().BlocksFor(tokens));
    }
    const int64_t pages = memory_->geometry().PagesFor(most_blocks) + stuck;
    int64_t workspace_bytes = 4 * kGranule;
    for (int i = 0; i < 2; ++i) {
      workspace_bytes += memory_->workspace(i).pool()->count(PageState::kQuarantined) * kGranule;
    }
    const int64_t limit_bytes = pages * page_bytes_ + workspace_bytes;
    memory_->SetLimit(limit_bytes);
    // Quarantine has taken what the largest needs: nothing to show.
    if (pages > kPages || limit_bytes + memory_->budget().bounds().headroom_bytes > device_bytes_) {
      while (!sequences_.empty()) Cancel(sequences_.back().get());
    }
    int rounds = 0;
    while (!sequences_.empty()) {
      ASSERT_LT(++rounds, 3000) << sequences_.size() << " sequences are left";
      while (CompleteOne(0) || CompleteOne(1)) {
      }
      for (int lane = 0; lane < kLanes; ++lane) Boundary(lane);
      RunKeeper();
      for (size_t i = 0; i < sequences_.size(); ++i) Advance(sequences_[i].get());
      clock_.Advance(absl::Milliseconds(50));
      Check();
      if (testing::Test::HasFatalFailure()) return;
    }
  }

  // Idle, everything goes back but quarantined pages and those that are kept.
  void ExpectIdleMemoryGoes() {
    for (const AccountId account : kAccounts) memory_->CloseWindow(account);
    for (int i = 0; i < 3; ++i) {
      int passes = 0;
      while (RunKeeper().progressed) ASSERT_LT(++passes, 1000) << "the keeper finds no rest";
      clock_.Advance(absl::Minutes(2));
    }
    int64_t stuck_bytes = 0;
    for (const PagePool* pool : memory_->pools()) {
      stuck_bytes += pool->count(PageState::kQuarantined) * pool->page_bytes();
    }
    const int64_t kept_pages =
        std::max<int64_t>(memory_->kept_pages(), memory_->blocks().kept_only_pages());
    EXPECT_EQ(memory_->held_bytes(), stuck_bytes + kept_pages * page_bytes_);
    EXPECT_TRUE(sequences_.empty());
  }

  int64_t preemptions() const { return preemptions_; }
  int64_t finished() const { return finished_; }
  int64_t hit_tokens() const {
    return memory_->prefix_cache() == nullptr ? 0 : memory_->prefix_cache()->totals().hit_tokens;
  }

 private:
  MemoryPicture Picture() {
    std::vector<const BlockTable*> tables;
    for (const auto& sequence : sequences_) tables.push_back(&sequence->table);
    return PictureOf(memory_.get(), tables);
  }

  void Check() {
    MemoryPicture now = Picture();
    ASSERT_EQ(FirstViolation(before_, now), "");
    before_ = std::move(now);
    // Every page that a table names can be read and written at the device.
    for (const auto& sequence : sequences_) {
      for (const BlockId block : sequence->table.blocks()) {
        vmm_.CheckOpen(Address(block), page_bytes_);
      }
    }
  }

  uint8_t* Address(BlockId block) const {
    return memory_->base() + memory_->geometry().PageOf(block) * page_bytes_;
  }

  PageKeeper::Pass RunKeeper() {
    in_keeper_ = true;
    const PageKeeper::Pass pass = keeper_->RunOnce();
    in_keeper_ = false;
    return pass;
  }

  void Act() {
    Sequence* const any =
        sequences_.empty() ? nullptr : sequences_[rng_.Between(0, sequences_.size() - 1)].get();
    switch (rng_.Between(0, 13)) {
      case 0:
      case 1:
        if (sequences_.size() < 7) {
          auto sequence =
              std::make_unique<Sequence>(Sequence{memory_->NewTable(AccountId::kPrefill)});
          sequence->prompt_tokens = rng_.Between(1, 120);
          sequence->left_tokens = rng_.Between(1, 40);
          ChooseTokens(sequence.get());
          sequences_.push_back(std::move(sequence));
        }
        break;
      case 2:
      case 3:
        Boundary(static_cast<int>(rng_.Between(0, 1)));
        break;
      case 4:
      case 5:
      case 6:
        if (any != nullptr) Advance(any);
        break;
      case 7:
      case 8:
      case 9:
        CompleteOne(static_cast<int>(rng_.Between(0, 1)));
        break;
      case 10:
        if (any != nullptr && rng_.Chance(0.3)) Cancel(any);
        break;
      case 11:
        memory_->SetLimit(rng_.Between(0, kPages + 3) * page_bytes_);
        break;
      case 12:
        vmm_.SetPeerBytes(rng_.Between(0, 20) * kGranule);
        clock_.Advance(absl::Milliseconds(rng_.Between(0, 800)));
        break;
      case 13: {
        Workspace& workspace = memory_->workspace(static_cast<int>(rng_.Between(0, 1)));
        workspace.SetDemand(rng_.Between(0, workspace.bytes_max()));
        break;
      }
    }
  }

  // One of few beginnings, and then its own.
  void ChooseTokens(Sequence* s) {
    const int32_t beginning = static_cast<int32_t>(rng_.Between(1, 3));
    const int64_t common = rng_.Between(0, 100);
    for (int64_t i = 0; i < s->prompt_tokens + s->left_tokens; ++i) {
      s->tokens.push_back(i < common ? beginning : static_cast<int32_t>(rng_.Between(10, 99)));
    }
    s->chain.Follow(s->tokens);
  }

  std::vector<int32_t> Prefix(const Sequence& s, int64_t tokens) const {
    return {s.tokens.begin(), s.tokens.begin() + tokens};
  }

  // Takes over what others have computed of what comes next.
  void AdoptPrefix(Sequence* s) {
    PrefixCache* const cache = memory_->prefix_cache();
    if (cache == nullptr || s->cached_tokens != s->place.blocks * kBlockTokens) return;
    if (s->table.block_count() != s->place.blocks) return;
    const int64_t blocks_max = (s->prompt_tokens - 1) / kBlockTokens - s->place.blocks;
    std::vector<PrefixHit> hits = cache->Find(s->chain, s->tokens, s->place, blocks_max);
    std::vector<BlockId> blocks;
    for (const PrefixHit& hit : hits) {
      blocks.push_back(hit.block);
      const int64_t end = (s->place.blocks + static_cast<int64_t>(blocks.size())) * kBlockTokens;
      ASSERT_EQ(holds_[hit.block], Prefix(*s, end)) << "block " << hit.block;
    }
    hits.resize(static_cast<size_t>(s->table.Adopt(blocks)));
    cache->NoteHits(hits, &s->place);
    s->cached_tokens = s->place.blocks * kBlockTokens;
  }

  // What a completed step has filled can be found from now on.
  void AddToCache(Sequence* s) {
    PrefixCache* const cache = memory_->prefix_cache();
    if (cache == nullptr) return;
    while (!s->place.lost && (s->place.blocks + 1) * kBlockTokens <= s->cached_tokens) {
      const size_t index = static_cast<size_t>(s->place.blocks);
      cache->Add(s->chain, s->tokens, s->table.blocks()[index], &s->place);
    }
  }

  int LaneOf(const Sequence& sequence) const {
    return sequence.table.account() == AccountId::kPrefill ? 0 : 1;
  }

  WindowPlan Plan(int lane) {
    std::vector<PrefillSequence> prefill;
    std::vector<DecodeSequence> decode;
    for (const auto& s : sequences_) {
      if (!s->executing || LaneOf(*s) != lane) continue;
      prefill.push_back({s->cached_tokens,
                         s->prompt_tokens - std::min(s->prompt_tokens, s->cached_tokens),
                         s->left_tokens, s->table.block_count()});
      decode.push_back({s->cached_tokens, s->left_tokens, s->table.block_count()});
    }
    const WindowMemory memory = memory_->WindowMemoryOf(kAccounts[lane], clock_.Now());
    return lane == 0 ? prefill_.PlanPrefill(prefill, memory, model_, false)
                     : decode_.PlanDecode(decode, memory, model_, false);
  }

  // Boundary of one lane: resume, plan, preempt until it fits, open.
  void Boundary(int lane) {
    base::MutexLock lock(&mutex_);
    memory_->OnBoundary();
    if (!sequences_.empty()) {
      memory_->accounts().set_first(kAccounts[LaneOf(*sequences_[0])]);
    }
    Resume(lane);
    WindowPlan plan = Plan(lane);
    for (int tries = 0; !plan.fits() && tries < 20; ++tries) {
      if (!Preempt(ReleaseNeed{plan.release_blocks, plan.release_pages})) break;
      plan = Plan(lane);
    }
    bool any = false;
    for (const auto& s : sequences_) any |= s->executing && LaneOf(*s) == lane;
    if (any) {
      memory_->OpenWindow(kAccounts[lane], plan);
    } else {
      memory_->CloseWindow(kAccounts[lane]);
    }
  }

  // The first of the order always goes on; later ones when the window with them fits.
  void Resume(int lane) {
    for (size_t i = 0; i < sequences_.size(); ++i) {
      Sequence& s = *sequences_[i];
      if (s.executing || LaneOf(s) != lane) continue;
      s.executing = true;
      if (i == 0 || Plan(lane).fits()) continue;
      s.executing = false;
      break;
    }
  }

  bool Preempt(const ReleaseNeed& need) {
    std::vector<ReleaseCandidate> order;
    for (const auto& s : sequences_) {
      ReleaseCandidate candidate;
      if (s->executing) {
        candidate.blocks = s->table.OwnBlocksByPage();
        candidate.growth_blocks =
            memory_->geometry().BlocksFor(s->cached_tokens + 40) - s->table.block_count();
        candidate.growth_blocks = std::max<int64_t>(1, candidate.growth_blocks);
      }
      candidate.restoring_cost = static_cast<double>(s->cached_tokens);
      candidate.preemptible = s->executing && s->submitted == 0;
      order.push_back(std::move(candidate));
    }
    const ReleasePlan release = PlanRelease(order, need, memory_->blocks());
    for (const size_t victim : release.victims) {
      Sequence& s = *sequences_[victim];
      const AccountId account = s.table.account();
      const int64_t blocks = s.table.block_count();
      s.table.ShrinkTo(0);
      memory_->accounts().Forgo(account, blocks + order[victim].growth_blocks);
      s.table.HandOver(AccountId::kPrefill, 0);
      s.prompt_tokens = std::max(s.prompt_tokens, s.cached_tokens);
      s.cached_tokens = 0;
      s.place = PrefixPlace();
      s.executing = false;
      ++preemptions_;
    }
    return !release.victims.empty();
  }

  // The next step of a sequence, if it gets its blocks.
  void Advance(Sequence* s) {
    base::MutexLock lock(&mutex_);
    if (!s->executing || s->submitted > 0) return;
    const int lane = LaneOf(*s);
    memory_->accounts().TopUp(kAccounts[lane]);
    if (lane == 0) AdoptPrefix(s);
    const int64_t tokens =
        lane == 0 ? std::min<int64_t>(32, s->prompt_tokens - s->cached_tokens) : 1;
    if (!s->table.TryExtendTo(s->cached_tokens + tokens)) return;
    Step step;
    step.ticket = memory_->readers().Submit(readers_[lane]);
    step.sequence = s;
    for (const BlockId block : s->table.blocks()) {
      step.uses.push_back(vmm_.BeginUse(Address(block), page_bytes_));
    }
    Workspace& workspace = memory_->workspace(lane);
    if (workspace.usable_bytes() > 0) {
      step.uses.push_back(vmm_.BeginUse(workspace.base(), workspace.usable_bytes()));
    }
    for (int64_t i = s->cached_tokens; i < s->cached_tokens + tokens; ++i) {
      const BlockId block = s->table.blocks()[static_cast<size_t>(i / kBlockTokens)];
      ASSERT_EQ(memory_->blocks().references(block), 1) << "it writes to what others read";
      holds_[block] = Prefix(*s, i + 1);
    }
    s->cached_tokens += tokens;
    if (lane == 1) --s->left_tokens;
    ++s->submitted;
    steps_[lane].push_back(std::move(step));
  }

  bool CompleteOne(int lane) {
    if (steps_[lane].empty()) return false;
    base::MutexLock lock(&mutex_);
    const Step step = std::move(steps_[lane].front());
    steps_[lane].pop_front();
    for (const uint64_t use : step.uses) vmm_.EndUse(use);
    memory_->readers().Complete(readers_[lane], step.ticket);
    if (step.sequence != nullptr) {
      --step.sequence->submitted;
      AddToCache(step.sequence);
      Reap(step.sequence);
    }
    return true;
  }

  // The blocks come back at once: only the readers' tickets keep their pages until the step that
  // still touches them is over.
  void Cancel(Sequence* s) {
    base::MutexLock lock(&mutex_);
    for (std::deque<Step>& steps : steps_) {
      for (Step& step : steps) {
        if (step.sequence == s) step.sequence = nullptr;
      }
    }
    End(s);
  }

  void Reap(Sequence* s) {
    if (LaneOf(*s) == 0 && s->executing && s->cached_tokens == s->prompt_tokens) {
      s->table.HandOver(AccountId::kDecode,
                        decode_.FirstGrowthBlocks(s->cached_tokens, s->table.block_count(),
                                                  s->left_tokens, 1, kBlockTokens));
    }
    if (s->left_tokens == 0) End(s);
  }

  void End(Sequence* s) {
    s->table.ShrinkTo(0);
    ++finished_;
    sequences_.erase(std::find_if(sequences_.begin(), sequences_.end(),
                                  [s](const auto& other) { return other.get() == s; }));
  }

  base::Rng rng_;
  const int64_t device_bytes_;
  TestDevice device_;
  device::FakeVmm& vmm_;
  base::FakeClock clock_;
  base::Mutex mutex_;
  int64_t page_bytes_ = 0;
  std::unique_ptr<KvMemory> memory_;
  std::unique_ptr<PageKeeper> keeper_;
  const WindowManager prefill_{WindowQueue::kPrefill, ToySettings()};
  const WindowManager decode_{WindowQueue::kDecode, ToySettings()};
  const StepTimeModel model_;
  Readers::Id readers_[kLanes] = {};
  std::vector<std::unique_ptr<Sequence>> sequences_;  // In the order: first come, first served.
  std::deque<Step> steps_[kLanes];
  std::map<BlockId, std::vector<int32_t>> holds_;  // The tokens up to the last written of each.
  MemoryPicture before_;
  bool in_keeper_ = false;
  bool quiet_ = false;  // Nothing happens by chance any more.
  int64_t preemptions_ = 0;
  int64_t finished_ = 0;
};

TEST(KvMemoryRandomTest, EveryRuleHoldsAfterEveryStepAndEverySequenceEnds) {
  const uint64_t seed = TestSeed(1);
  int64_t preemptions = 0, finished = 0, hit_tokens = 0;
  for (int run = 0; run < SeedCount(400); ++run) {
    SCOPED_TRACE(testing::Message() << "SEED=" << seed + run);
    ToyEngine engine(seed + run);
    if ((seed + run) % 2 == 0) engine.FailSometimes();
    for (int step = 0; step < 400; ++step) {
      engine.RandomStep();
      if (HasFatalFailure()) return;
    }
    engine.Finish();
    if (HasFatalFailure()) return;
    engine.ExpectIdleMemoryGoes();
    preemptions += engine.preemptions();
    finished += engine.finished();
    hit_tokens += engine.hit_tokens();
  }
  // The runs must reach what they are there for.
  if (SeedCount(400) > 1) {
    EXPECT_GT(preemptions, 400);
    EXPECT_GT(finished, 4000);
    EXPECT_GT(hit_tokens, 4000);
  }
}

}  // namespace
}  // namespace ebb::memory

// KvMemory: everything about one device's elastic memory behind one object, and its policy: how
// many pages are wanted, which drain, when idle memory goes, which limit is in force.
//
//   the loops ----+                 +-- Accounts -- BlockPool
//                 +--> KvMemory ----+-- PagePool "kv" ------+        PrefixCache keeps free blocks
//                                   +-- Workspaces ---------+--> PageKeeper --> Vmm
//                                   +-- MemoryBudget, Readers
//
// A loop's boundary:
//
//   memory.OnBoundary();
//   plan = manager.PlanDecode(sequences, memory.WindowMemoryOf(AccountId::kDecode, now), ...);
//   while (!plan.fits()) preempt by PlanRelease, and plan again;
//   memory.OpenWindow(AccountId::kDecode, plan);       // sets demand and grant
//
// and in each step: accounts().TopUp(id), then BlockTable::TryExtendTo. When a queue has nothing to
// execute: CloseWindow(id). Whenever pages may be wanted or given up (after a boundary, a return of
// blocks, a completion): wake the keeper; a pass without work is cheap.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "device/address_range.h"
#include "device/vmm.h"
#include "memory/accounts.h"
#include "memory/block_pool.h"
#include "memory/block_table.h"
#include "memory/flip_meter.h"
#include "memory/kv_geometry.h"
#include "memory/memory_budget.h"
#include "memory/move_plan.h"
#include "memory/page_pool.h"
#include "memory/prefix_cache.h"
#include "memory/readers.h"
#include "memory/shrink_policy.h"
#include "memory/window_manager.h"
#include "memory/workspace.h"

namespace ebb::memory {

// Why growth was refused, for planners and the log.
struct Miss {
  Bound bound = Bound::kFree;  // What the condition lacked; kFree when the device refused.
  std::string pool;
  int64_t missing_pages = 0;
  absl::Status status;     // The device's answer, or RESOURCE_EXHAUSTED with the condition's terms.
  bool by_device = false;  // A call failed although the condition held.
};

// Where a limit stands. Applied: !pending && held_bytes <= limit_bytes.
struct LimitState {
  int64_t limit_bytes = 0;  // The last that was set by SetLimit.
  int64_t held_bytes = 0;
  bool pending = false;  // Lowered, and no boundary has come yet.

  bool applied() const { return !pending && held_bytes <= limit_bytes; }
  int64_t deferred_bytes() const { return held_bytes > limit_bytes ? held_bytes - limit_bytes : 0; }
};

// Thread-compatible: every method but the constructor runs under the engine's mutex.
class KvMemory {
 public:
  struct WorkspaceOptions {
    std::string name;  // "workspace.decode"
    int64_t bytes_max = 0;
  };
  struct Options {
    int64_t ceiling_bytes = 0;  // KV addresses to reserve: no limit can grow the KV beyond it.
    int64_t limit_bytes = 0;    // Pages and workspaces together.
    int64_t headroom_bytes = 0;
    int64_t keep_bytes = 0;                        // See kept_pages().
    absl::Duration idle_after = absl::Seconds(5);  // Then every page goes that is not kept.
    ShrinkSettings shrink;
    // Compaction is worth its copies when so many percent of the pages that the blocks in use would
    // fill are mapped; 0: never.
    int32_t compact_above_percent = 0;
    int32_t prepare_ahead_pages = 0;                       // Created beyond the demand, not mapped.
    absl::Duration retry_after = absl::Milliseconds(100);  // After a miss, before asking again.
    // What free blocks hold is found again; else no prefix is.
    bool prefix_cache = false;
    absl::Duration prefix_idle_after = absl::Seconds(60);  // See PrefixCache::Options.
    int64_t prefix_floor_bytes = 0;
    std::vector<WorkspaceOptions> workspaces;
  };

  // Reserves addresses; takes no memory. INVALID_ARGUMENT when the ceiling holds no page or the
  // limit is negative. The Vmm outlives it.
  static absl::StatusOr<std::unique_ptr<KvMemory>> Create(const KvGeometry& geometry,
                                                          const Options& options, device::Vmm* vmm);
  // REQUIRES: PageKeeper::Shutdown() has run, and every block is back.
  ~KvMemory();
  KvMemory(const KvMemory&) = delete;
  KvMemory& operator=(const KvMemory&) = delete;

  // ---- parts

  const KvGeometry& geometry() const { return geometry_; }
  uint8_t* base() const { return kv_range_.base(); }
  Accounts& accounts() { return *accounts_; }
  const BlockPool& blocks() const { return *blocks_; }
  Readers& readers() { return readers_; }
  // Null: off.
  PrefixCache* prefix_cache() { return prefix_cache_.get(); }
  const MemoryBudget& budget() const { return budget_; }
  const PagePool& pages() const { return *pages_; }
  // By position in Options::workspaces.
  Workspace& workspace(int index) { return *workspaces_[index]; }
  BlockTable NewTable(AccountId account) { return BlockTable(geometry_, accounts_.get(), account); }

  // ---- windows

  // A boundary of any queue: a lowered limit comes into force.
  void OnBoundary();
  // What WindowManager plans from. While a device's refusal is fresh, nothing counts as growable.
  WindowMemory WindowMemoryOf(AccountId account, absl::Time now) const;
  // Carries a plan out: demand, grant, and pages wanted. Call it for each boundary.
  void OpenWindow(AccountId account, const WindowPlan& plan);
  // The queue has nothing to execute: its demand is what it still uses.
  void CloseWindow(AccountId account);
  // A reading of Vmm::FreeBytes, made without the mutex. The keeper makes one before each growth,
  // and now and then while free memory is the term that bounds growth; a loop may, before a
  // boundary at which it would have to preempt. True when at least a page more can be had than
  // before.
  bool NoteFreeBytes(int64_t bytes, absl::Time now);

  // ---- compaction

  // Pages that should go now and cannot, because each has a block in use, where moving those is
  // worth it: what the shrink policy or the limit lacks, and what WantPages asked for.
  int64_t scattered_pages() const { return scattered_pages_; }
  // The next window's memory lies in too many pages: so many should become empty. Until the next
  // keeper pass. 0 where compaction is off.
  void WantPages(int64_t pages);
  // Whole pages that no grant needs.
  int64_t spare_pages() const { return accounts_->spare_blocks() / geometry_.blocks_per_page(); }
  // What would empty so many pages by moving blocks of these tables. No grant is looked at.
  MovePlan PlanMovesOf(absl::Span<const BlockTable* const> tables, int64_t pages,
                       int64_t bytes_max) const;
  // The blocks are where the plan puts them from now on: charges and tables follow, and the emptied
  // pages drain. REQUIRES: the plan was made of these tables in the same holding of the mutex,
  // it empties at most spare_pages(), and the copying is among what readers() counts as submitted,
  // before all that reads the new places.
  void CommitMoves(const MovePlan& plan, absl::Span<BlockTable* const> tables);
  int64_t moved_bytes_total() const { return moved_bytes_total_; }

  // ---- the prefix cache

  // Free blocks whose contents are kept until somebody wants the memory.
  int64_t cached_bytes() const { return blocks_->kept_blocks() * geometry_.block_bytes(); }
  // Pages that are mapped for them and for what is wanted, while nobody lacks them: limit and lease
  // leave room for them beside the workspaces at their largest.
  int64_t cached_pages() const;
  // Free blocks that can be taken now without losing what any of them holds, while pages are on the
  // way beside those that hold something; else all free blocks. Who can wait for the pages takes no
  // more.
  int64_t FreeBlocksBesideCached(absl::Time now) const;

  // ---- kept pages

  // Pages that are mapped whether anybody needs them or not, and that neither idling nor shrinking
  // takes: those of keep_bytes, as far as limit and lease leave room for them beside the workspaces
  // at their largest. Fewer are mapped while the device has no more.
  int64_t kept_pages() const;

  // ---- oscillation

  // KV pages that were given back and taken again within a minute, as of the last keeper pass.
  const FlipMeter& flips() const { return flips_; }

  // ---- limit

  // A raised limit counts at once, a lowered one from the next boundary (at once when no window is
  // open). REQUIRES: bytes >= 0.
  void SetLimit(int64_t bytes);
  LimitState limit_state() const;
  // What a ledger between servers says: hold no more than `lease_bytes`, and go down to
  // `keep_bytes`, which acts as a limit beside the operator's. True when growth may go on that was
  // held back, or a limit changed. REQUIRES: lease_bytes >= held_bytes().
  bool SetLease(int64_t lease_bytes, int64_t keep_bytes);
  // Whether more is held, or lacking to workspaces that their lanes need, than limit or lease
  // allow: memory has to go, and nothing that delays shrinking counts.
  bool over_limit() const { return ExcessBytes() > 0; }

  // ---- views

  int64_t held_bytes() const { return budget_.held_bytes(); }
  // The last refusal since it was last taken.
  std::optional<Miss> TakeMiss();
  int64_t miss_count() const { return miss_count_; }

  // ---- the keeper's side

  // Applies the policy as of now: targets, pages to drain, idle memory. Called at the start of each
  // keeper pass.
  void Tend(absl::Time now);
  // Pools in the order in which they grow: workspaces first, for no step runs without one.
  const std::vector<PagePool*>& pools() { return pools_; }
  bool WantsGrowth(absl::Time now) const;
  // Whether planners may be held back by an old reading.
  bool WantsFreeReading(absl::Time now) const;
  void NoteMiss(Miss miss, absl::Time now);
  // When the keeper must run next though nobody wakes it.
  absl::Time NextDeadline(absl::Time now) const;
  // Lets everything go: the end of the process. REQUIRES: every block is back.
  void BeginShutdown();

 private:
  KvMemory(const KvGeometry& geometry, const Options& options);

  int64_t RoomBytes() const;
  void ApplyLimit();
  bool AnyWindowOpen() const;
  int64_t WantedPages() const;
  int64_t ExcessBytes() const;
  int64_t KeptTarget() const;
  void TendIdle(absl::Time now);
  absl::Time NextFreeReading() const;
  void TakeBackDraining(int64_t wanted_pages);
  // Pages in which nothing is in use go; plain: nor cached. Return how many there were.
  int64_t DrainEmpty(int64_t pages_max);
  int64_t DrainPlain(int64_t pages_max);
  bool TryDrain(PageId page);
  void NoteScattered(int64_t pages, bool over);
  bool CompactionPays() const;

  const KvGeometry geometry_;
  const Options options_;
  device::AddressRange kv_range_;
  std::vector<device::AddressRange> workspace_ranges_;
  MemoryBudget budget_;
  Readers readers_;
  std::unique_ptr<PagePool> pages_;
  std::vector<std::unique_ptr<PagePool>> workspace_pools_;
  std::vector<PagePool*> pools_;
  std::unique_ptr<BlockPool> blocks_;
  std::unique_ptr<PrefixCache> prefix_cache_;
  std::unique_ptr<Accounts> accounts_;
  std::vector<std::unique_ptr<Workspace>> workspaces_;
  ShrinkPolicy shrink_;
  FlipMeter flips_;

  std::array<bool, kAccountCount> window_open_ = {};
  int64_t own_limit_bytes_ = 0;                 // The operator's.
  int64_t lease_keep_bytes_ = kUnboundedBytes;  // The ledger's.
  std::optional<int64_t> pending_limit_;
  std::optional<Miss> miss_;
  int64_t miss_count_ = 0;
  int64_t scattered_pages_ = 0;
  int64_t moved_bytes_total_ = 0;
  absl::Time retry_at_ = absl::InfinitePast();       // No growth is tried before.
  absl::Time refused_until_ = absl::InfinitePast();  // The device said no: planners grow nothing.
  absl::Time free_read_at_ = absl::InfinitePast();
  absl::Time idle_since_ = absl::InfiniteFuture();  // Infinite: not idle.
  int64_t taken_when_idle_ = 0;
  bool idle_ = true;  // Idle long enough, or nothing has run yet: nothing is kept.
};

}  // namespace ebb::memory

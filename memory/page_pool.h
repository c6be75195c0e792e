// PagePool: the state of every page of one address range.
//
//   reserved --> preparing --> prepared --> mapping --> mapped --> draining --> unmapping --+
//      ^             |            |            |          ^            |            |       |
//      |<-- failed --+            |<- failed --+          +-- wanted --+            |       |
//      |<-------- dropped --------+                       again                     |       |
//      |<-----------------------------------------------------------------------------------+
//                                             quarantined <-- a rollback failed ----+
//
//   reserved     an address, no memory
//   preparing    the keeper creates its memory       } in the keeper's hands,
//   mapping      the keeper maps it                  } between Take and Commit
//   unmapping    the keeper unmaps or releases it    }
//   prepared     memory that is not mapped: held, and quick to map
//   mapped       its owner may use it
//   draining     given up by its owner; waits until each reader has passed its ticket
//   quarantined  the device did not take it back: held, never used again
//
// Every state but `reserved` counts as held; bytes are charged to the MemoryBudget when a page
// leaves `reserved`, so that no path can pass the limit.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "device/vmm.h"
#include "memory/kv_geometry.h"
#include "memory/memory_budget.h"
#include "memory/readers.h"

namespace ebb::memory {

enum class PageState : uint8_t {
  kReserved,
  kPreparing,
  kPrepared,
  kMapping,
  kMapped,
  kDraining,
  kUnmapping,
  kQuarantined,
};
inline constexpr int kPageStateCount = 8;

// One page in the keeper's hands.
struct PageWork {
  PageId page = 0;
  uint8_t* address = nullptr;
  device::VmmHandle handle = 0;  // Set by the keeper when it creates; else the page's memory.
  bool mapped = false;           // Unmap before releasing.
};

// How the keeper's work on a page ended.
enum class PageOutcome {
  kDone,    // preparing -> prepared, mapping -> mapped.
  kUndone,  // Unmapped and released, nothing is held: any -> reserved.
  kStuck,   // The device did not take it back: quarantined.
};

// Thread-compatible: guarded by the engine's mutex. The budget and the readers outlive it.
class PagePool {
 public:
  struct Options {
    std::string name;  // "kv", "workspace.decode"
    uint8_t* base = nullptr;
    int64_t page_bytes = 0;
    int32_t page_count = 0;
  };
  PagePool(Options options, MemoryBudget* budget, const Readers* readers);
  // CHECKs that every page is reserved or quarantined.
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  const std::string& name() const { return options_.name; }
  int64_t page_bytes() const { return options_.page_bytes; }
  int32_t page_count() const { return options_.page_count; }
  uint8_t* address(PageId page) const;
  PageState state(PageId page) const;
  int32_t count(PageState state) const { return counts_[static_cast<int>(state)]; }
  // Pages in every state but reserved.
  int32_t held_pages() const { return options_.page_count - count(PageState::kReserved); }
  // Mapped, or on the way to it: what planners may count on. Draining pages are among them, for
  // their owner can take them back.
  int32_t coming_pages() const;

  // ---- the owner's side

  // Told of each page that becomes usable, inside Commit.
  void set_on_mapped(std::function<void(PageId)> on_mapped) { on_mapped_ = std::move(on_mapped); }
  // How many pages the owner wants mapped, and how many more it wants prepared ahead of need.
  // The keeper grows to it; shrinking is by Drain. REQUIRES: both >= 0.
  void SetTarget(int32_t mapped_pages, int32_t prepared_pages);
  int32_t target_pages() const { return target_mapped_; }
  // Pages that the target lacks, not counting those on the way.
  int32_t missing_pages() const;
  // Pages that target and stash together lack, as far as there are reserved ones.
  int32_t unprepared_pages() const;

  // mapped -> draining, with the readers' tickets of this moment.
  // REQUIRES: nothing that is submitted from now on touches the page.
  void Drain(PageId page);
  // The same, where work submitted last still reads or writes the page: it cannot be taken back
  // before that has completed.
  void DrainWhileRead(PageId page);
  // draining -> mapped: nothing was lost. REQUIRES: CanUndrain(page).
  void Undrain(PageId page);
  bool CanUndrain(PageId page) const;
  // Whether a draining page waits for work of this reader.
  bool DrainWaitsFor(Readers::Id reader) const;
  // Draining pages, lowest address first.
  const std::set<PageId>& draining() const { return draining_; }

  // ---- the keeper's side: Take moves pages into its hands, Commit gives each one back

  // Reserved pages to create memory for, lowest address first: at most `pages_max`, no more than
  // target and stash lack, and no more than the budget allows; their bytes are held from here on.
  std::vector<PageWork> TakePrepare(int32_t pages_max);
  // Prepared pages to map, lowest address first, no more than the target lacks.
  std::vector<PageWork> TakeMap(int32_t pages_max);
  // Draining pages whose readers have passed, and prepared pages beyond target and stash.
  std::vector<PageWork> TakeRelease();
  // Everything that is held, whatever the target, quarantined pages too: the end of the pool.
  // REQUIRES: the owner uses nothing, no page is in the keeper's hands, and every reader has
  // completed what it submitted.
  std::vector<PageWork> TakeAll();
  void Commit(const PageWork& work, PageOutcome outcome);

  // Pages mapped, and unmapped again, since the start: oscillation shows here (see FlipMeter).
  int64_t mapped_total() const { return mapped_total_; }
  int64_t unmapped_total() const { return unmapped_total_; }

 private:
  struct Page {
    PageState state = PageState::kReserved;
    device::VmmHandle handle = 0;
    bool has_mapping = false;  // At the device, as far as is known.
    bool still_read = false;   // While draining: see DrainWhileRead.
    Readers::Tickets tickets;  // While draining.
  };

  Page& At(PageId page);
  void Move(PageId page, PageState to);
  // Pages that count against the target: mapped, mapping, prepared, preparing.
  int32_t GrownPages() const;
  PageWork Take(PageId page, PageState to);
  std::set<PageId>* IndexOf(PageState state);

  const Options options_;
  MemoryBudget* const budget_;
  const Readers* const readers_;
  std::function<void(PageId)> on_mapped_;
  std::vector<Page> pages_;
  std::vector<int32_t> counts_;
  std::set<PageId> prepared_;
  std::set<PageId> draining_;
  std::set<PageId> reserved_;
  int32_t target_mapped_ = 0;
  int32_t target_prepared_ = 0;
  int64_t mapped_total_ = 0;
  int64_t unmapped_total_ = 0;
};

}  // namespace ebb::memory

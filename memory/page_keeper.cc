#include "memory/page_keeper.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace ebb::memory {

PageKeeper::PageKeeper(const Options& options, KvMemory* memory, device::Vmm* vmm,
                       const base::Clock* clock, base::Mutex* mutex)
    : options_(options), memory_(memory), vmm_(vmm), clock_(clock), mutex_(mutex) {
  CHECK_GE(options_.pages_at_once, 1);
  for (const PagePool* pool : memory_->pools()) batch_pages_[pool] = options_.pages_at_once;
}

PageKeeper::Pass PageKeeper::RunOnce() {
  const absl::Time now = clock_->Now();
  {
    base::MutexLock lock(mutex_);
    memory_->Tend(now);
  }
  Pass pass;
  pass.progressed = ReleasePhase();
  pass.progressed |= GrowPhase(now);
  base::MutexLock lock(mutex_);
  pass.next_run = memory_->NextDeadline(now);
  return pass;
}

absl::Status PageKeeper::Shutdown() {
  {
    base::MutexLock lock(mutex_);
    memory_->BeginShutdown();
  }
  absl::Status status;
  for (PagePool* pool : memory_->pools()) {
    std::vector<PageWork> batch;
    {
      base::MutexLock lock(mutex_);
      batch = pool->TakeAll();
    }
    status.Update(GiveBackAndCommit(pool, std::move(batch)));
  }
  return status;
}

bool PageKeeper::ReleasePhase() {
  bool progressed = false;
  for (PagePool* pool : memory_->pools()) {
    std::vector<PageWork> batch;
    {
      base::MutexLock lock(mutex_);
      batch = pool->TakeRelease();
    }
    progressed |= !batch.empty();
    // What the device does not take back is quarantined, which planners see.
    (void)GiveBackAndCommit(pool, std::move(batch));
  }
  return progressed;
}

bool PageKeeper::GrowPhase(absl::Time now) {
  bool wants_growth = false;
  bool wants_reading = false;
  {
    base::MutexLock lock(mutex_);
    wants_growth = memory_->WantsGrowth(now);
    wants_reading = memory_->WantsFreeReading(now);
  }
  bool progressed = false;
  if (wants_reading) {
    const absl::StatusOr<int64_t> free_bytes = vmm_->FreeBytes();
    base::MutexLock lock(mutex_);
    if (free_bytes.ok()) {
      progressed = memory_->NoteFreeBytes(*free_bytes, now);
    } else {
      memory_->NoteMiss(Miss{Bound::kFree, "", 0, free_bytes.status(), true}, now);
      wants_growth = false;
    }
  }
  for (PagePool* pool : memory_->pools()) {
    if (wants_growth) progressed |= PrepareBatch(pool, now);
    progressed |= MapBatch(pool, now);
  }
  return progressed;
}

bool PageKeeper::PrepareBatch(PagePool* pool, absl::Time now) {
  std::vector<PageWork> batch;
  {
    base::MutexLock lock(mutex_);
    const int32_t missing = std::min(pool->missing_pages(), batch_pages_[pool]);
    batch = pool->TakePrepare(batch_pages_[pool]);
    if (static_cast<int32_t>(batch.size()) < missing) {
      const GrowthBounds& bounds = memory_->budget().bounds();
      memory_->NoteMiss(
          Miss{bounds.TightestBound(), pool->name(), missing - static_cast<int32_t>(batch.size()),
               absl::ResourceExhaustedError(absl::StrCat(
                   "limit ", bounds.limit_bytes, ", held ", bounds.held_bytes, ", free ",
                   bounds.free_bytes, ", headroom ", bounds.headroom_bytes, " bytes"))},
          now);
    }
  }
  if (batch.empty()) return false;
  const absl::Status status = CreateAll(&batch, pool->page_bytes());
  CommitBatch(pool, std::move(batch), status, now);
  return true;
}

bool PageKeeper::MapBatch(PagePool* pool, absl::Time now) {
  std::vector<PageWork> batch;
  {
    base::MutexLock lock(mutex_);
    batch = pool->TakeMap(batch_pages_[pool]);
  }
  if (batch.empty()) return false;
  size_t done = 0;
  const absl::Status status = MapAll(*pool, &batch, &done);
  std::vector<PageWork> unwanted;
  if (status.ok()) unwanted.assign(batch.begin() + static_cast<int64_t>(done), batch.end());
  batch.resize(batch.size() - unwanted.size());
  CommitBatch(pool, std::move(batch), status, now);
  (void)GiveBackAndCommit(pool, std::move(unwanted));
  return true;
}

absl::Status PageKeeper::CreateAll(std::vector<PageWork>* batch, int64_t bytes) {
  for (PageWork& work : *batch) {
    absl::StatusOr<device::VmmHandle> handle = vmm_->Create(bytes);
    if (!handle.ok()) return std::move(handle).status();
    work.handle = *handle;
  }
  return absl::OkStatus();
}

// Access is opened page by page: on a host this is where the time goes, so that a lowered limit
// need not wait for the rest, and a driver's call for a run of pages costs as much as one for each.
absl::Status PageKeeper::MapAll(const PagePool& pool, std::vector<PageWork>* batch, size_t* done) {
  const device::VmmEdits edits(vmm_);
  for (*done = 0; *done < batch->size(); ++*done) {
    if (*done > 0 && IsUnwanted(pool)) return absl::OkStatus();
    PageWork& work = (*batch)[*done];
    RETURN_IF_ERROR(vmm_->Map(work.address, pool.page_bytes(), work.handle));
    work.mapped = true;
    RETURN_IF_ERROR(vmm_->SetAccess(work.address, pool.page_bytes()));
  }
  return absl::OkStatus();
}

// Whether more of the pool is of no use: the limit has fallen meanwhile. Workspaces grow all the
// same, for no step runs without one.
bool PageKeeper::IsUnwanted(const PagePool& pool) {
  base::MutexLock lock(mutex_);
  return &pool == &memory_->pages() && memory_->over_limit();
}

std::vector<PageOutcome> PageKeeper::GiveBack(std::vector<PageWork>* batch, int64_t bytes,
                                              absl::Status* status) {
  const auto is_mapped = [](const PageWork& work) { return work.mapped; };
  if (std::any_of(batch->begin(), batch->end(), is_mapped)) {
    const device::VmmEdits edits(vmm_);
    for (PageWork& work : *batch) {
      if (!work.mapped) continue;
      absl::Status unmapped = vmm_->Unmap(work.address, bytes);
      work.mapped = !unmapped.ok();
      if (work.mapped) *status = std::move(unmapped);
    }
  }
  // Releasing is the driver's slower call and edits no address.
  std::vector<PageOutcome> outcomes(batch->size(), PageOutcome::kUndone);
  for (size_t i = 0; i < batch->size(); ++i) {
    PageWork& work = (*batch)[i];
    if (!work.mapped && work.handle != 0) {
      if (absl::Status released = vmm_->Release(work.handle); released.ok()) {
        work.handle = 0;
      } else {
        *status = std::move(released);
      }
    }
    if (work.handle != 0) outcomes[i] = PageOutcome::kStuck;
  }
  return outcomes;
}

absl::Status PageKeeper::GiveBackAndCommit(PagePool* pool, std::vector<PageWork> batch) {
  if (batch.empty()) return absl::OkStatus();  // As in most passes: no lock for nothing.
  absl::Status status;
  const std::vector<PageOutcome> outcomes = GiveBack(&batch, pool->page_bytes(), &status);
  base::MutexLock lock(mutex_);
  for (size_t i = 0; i < batch.size(); ++i) pool->Commit(batch[i], outcomes[i]);
  return status;
}

void PageKeeper::CommitBatch(PagePool* pool, std::vector<PageWork> batch,
                             const absl::Status& status, absl::Time now) {
  std::vector<PageOutcome> outcomes(batch.size(), PageOutcome::kDone);
  if (!status.ok()) {
    absl::Status rollback;
    outcomes = GiveBack(&batch, pool->page_bytes(), &rollback);
  }
  base::MutexLock lock(mutex_);
  for (size_t i = 0; i < batch.size(); ++i) pool->Commit(batch[i], outcomes[i]);
  int32_t& batch_pages = batch_pages_[pool];
  if (status.ok()) {
    batch_pages = std::min(options_.pages_at_once, batch_pages * 2);
    return;
  }
  batch_pages = std::max(1, batch_pages / 2);
  memory_->NoteMiss(
      Miss{Bound::kFree, pool->name(), static_cast<int64_t>(batch.size()), status, true}, now);
}

}  // namespace ebb::memory

#include "memory/workspace.h"

#include <algorithm>

#include "base/check.h"

namespace ebb::memory {

Workspace::Workspace(PagePool* pool, const ShrinkSettings& shrink) : pool_(pool), shrink_(shrink) {}

int64_t Workspace::usable_bytes() const {
  PageId page = 0;
  while (page < pool_->page_count() && pool_->state(page) == PageState::kMapped) ++page;
  return page * pool_->page_bytes();
}

void Workspace::SetDemand(int64_t bytes) {
  CHECK_GE(bytes, 0);
  CHECK_LE(bytes, bytes_max());
  // The queue closes: no later window of it would push its past ones out.
  if (bytes == 0 && demand_bytes_ > 0) shrink_.Forget();
  demand_bytes_ = bytes;
  shrink_.RecordDemand(DemandPages());
}

int64_t Workspace::missing_bytes() const {
  const int64_t quarantined = pool_->count(PageState::kQuarantined);
  const int64_t held = pool_->held_pages() - pool_->count(PageState::kUnmapping) - quarantined;
  const int64_t wanted = std::min(DemandPages(), pool_->page_count() - quarantined);
  return std::max<int64_t>(0, wanted - held) * pool_->page_bytes();
}

int64_t Workspace::surplus_bytes() const {
  const int64_t held = pool_->held_pages() - pool_->count(PageState::kQuarantined);
  return std::max<int64_t>(0, held - DemandPages()) * pool_->page_bytes();
}

void Workspace::Tend(absl::Time now, bool hurry) {
  const int64_t wanted = DemandPages();
  pool_->SetTarget(static_cast<int32_t>(wanted), 0);
  // Growth takes the lowest pages first, so that what is needed is always the first `wanted`.
  for (PageId page = 0; page < wanted; ++page) {
    if (pool_->state(page) == PageState::kDraining) pool_->Undrain(page);
  }
  if (hurry) shrink_.Forget();
  const int64_t mapped = pool_->count(PageState::kMapped);
  int64_t surplus = shrink_.PagesToShrink(now, mapped, wanted, pool_->count(PageState::kDraining));
  if (hurry) surplus = std::max<int64_t>(0, mapped - wanted);
  for (PageId page = pool_->page_count() - 1; page >= 0 && surplus > 0; --page) {
    if (pool_->state(page) != PageState::kMapped) continue;
    pool_->Drain(page);
    --surplus;
  }
}

int64_t Workspace::DemandPages() const {
  return (demand_bytes_ + pool_->page_bytes() - 1) / pool_->page_bytes();
}

}  // namespace ebb::memory

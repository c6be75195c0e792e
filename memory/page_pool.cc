#include "memory/page_pool.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ebb::memory {

PagePool::PagePool(Options options, MemoryBudget* budget, const Readers* readers)
    : options_(std::move(options)), budget_(budget), readers_(readers), counts_(kPageStateCount) {
  CHECK_GT(options_.page_bytes, 0);
  CHECK_GT(options_.page_count, 0);
  pages_.resize(options_.page_count);
  counts_[static_cast<int>(PageState::kReserved)] = options_.page_count;
  for (PageId page = 0; page < options_.page_count; ++page) reserved_.insert(page);
}

PagePool::~PagePool() {
  CHECK_EQ(count(PageState::kReserved) + count(PageState::kQuarantined), options_.page_count)
      << options_.name << ": pages were not given back";
}

uint8_t* PagePool::address(PageId page) const {
  CHECK(page >= 0 && page < options_.page_count);
  return options_.base + page * options_.page_bytes;
}

PageState PagePool::state(PageId page) const { return pages_.at(page).state; }

int32_t PagePool::coming_pages() const {
  return count(PageState::kPreparing) + count(PageState::kPrepared) + count(PageState::kMapping) +
         count(PageState::kMapped) + count(PageState::kDraining);
}

void PagePool::SetTarget(int32_t mapped_pages, int32_t prepared_pages) {
  CHECK_GE(mapped_pages, 0);
  CHECK_GE(prepared_pages, 0);
  target_mapped_ = mapped_pages;
  target_prepared_ = prepared_pages;
}

int32_t PagePool::missing_pages() const { return std::max(0, target_mapped_ - GrownPages()); }

int32_t PagePool::unprepared_pages() const {
  const int32_t lacking = std::max(0, target_mapped_ + target_prepared_ - GrownPages());
  return std::min(lacking, count(PageState::kReserved));
}

void PagePool::Drain(PageId page) {
  CHECK(state(page) == PageState::kMapped);
  At(page).tickets = readers_->Snapshot();
  At(page).still_read = false;
  Move(page, PageState::kDraining);
}

void PagePool::DrainWhileRead(PageId page) {
  Drain(page);
  At(page).still_read = true;
}

bool PagePool::CanUndrain(PageId page) const {
  const Page& at = pages_.at(page);
  return at.state == PageState::kDraining && (!at.still_read || readers_->HavePassed(at.tickets));
}

void PagePool::Undrain(PageId page) {
  CHECK(CanUndrain(page));
  Move(page, PageState::kMapped);
}

std::vector<PageWork> PagePool::TakePrepare(int32_t pages_max) {
  const int32_t wanted = std::min(pages_max, unprepared_pages());
  std::vector<PageWork> batch;
  while (static_cast<int32_t>(batch.size()) < wanted && budget_->TryHold(options_.page_bytes)) {
    batch.push_back(Take(*reserved_.begin(), PageState::kPreparing));
  }
  return batch;
}

std::vector<PageWork> PagePool::TakeMap(int32_t pages_max) {
  const int32_t there = count(PageState::kMapped) + count(PageState::kMapping);
  const int32_t wanted = std::min(pages_max, target_mapped_ - there);
  std::vector<PageWork> batch;
  while (static_cast<int32_t>(batch.size()) < wanted && !prepared_.empty()) {
    batch.push_back(Take(*prepared_.begin(), PageState::kMapping));
  }
  return batch;
}

std::vector<PageWork> PagePool::TakeRelease() {
  std::vector<PageWork> batch;
  const std::set<PageId> draining = draining_;
  for (const PageId page : draining) {
    if (!readers_->HavePassed(pages_[page].tickets)) continue;
    batch.push_back(Take(page, PageState::kUnmapping));
  }
  const int32_t there = count(PageState::kMapped) + count(PageState::kMapping);
  const int32_t kept = std::max(0, target_mapped_ + target_prepared_ - there);
  while (count(PageState::kPrepared) > kept) {
    batch.push_back(Take(*prepared_.rbegin(), PageState::kUnmapping));
  }
  return batch;
}

bool PagePool::DrainWaitsFor(Readers::Id reader) const {
  return std::any_of(draining_.begin(), draining_.end(), [&](PageId page) {
    return readers_->completed(reader) < pages_[page].tickets.at(reader);
  });
}

std::vector<PageWork> PagePool::TakeAll() {
  CHECK(readers_->HavePassed(readers_->Snapshot())) << options_.name << ": still being read";
  CHECK_EQ(count(PageState::kPreparing) + count(PageState::kMapping) + count(PageState::kUnmapping),
           0)
      << options_.name << ": pages are in the keeper's hands";
  std::vector<PageWork> batch;
  for (PageId page = 0; page < options_.page_count; ++page) {
    if (pages_[page].state == PageState::kReserved) continue;
    batch.push_back(Take(page, PageState::kUnmapping));
  }
  return batch;
}

void PagePool::Commit(const PageWork& work, PageOutcome outcome) {
  Page& page = At(work.page);
  const PageState from = page.state;
  CHECK(from == PageState::kPreparing || from == PageState::kMapping ||
        from == PageState::kUnmapping);
  if (from == PageState::kUnmapping && page.has_mapping && !work.mapped) ++unmapped_total_;
  page.handle = work.handle;
  page.has_mapping = work.mapped;
  if (outcome == PageOutcome::kStuck) {
    Move(work.page, PageState::kQuarantined);
    return;
  }
  if (outcome == PageOutcome::kDone && from == PageState::kPreparing) {
    CHECK(work.handle != 0 && !work.mapped);
    Move(work.page, PageState::kPrepared);
    return;
  }
  if (outcome == PageOutcome::kDone && from == PageState::kMapping) {
    CHECK(work.handle != 0 && work.mapped);
    Move(work.page, PageState::kMapped);
    ++mapped_total_;
    if (on_mapped_) on_mapped_(work.page);
    return;
  }
  CHECK(outcome == PageOutcome::kUndone);
  CHECK(work.handle == 0 && !work.mapped)
      << options_.name << ": page " << work.page << " is committed as reserved, but holds memory";
  Move(work.page, PageState::kReserved);
  budget_->GiveBack(options_.page_bytes);
}

PagePool::Page& PagePool::At(PageId page) { return pages_.at(page); }

void PagePool::Move(PageId page, PageState to) {
  PageState& state = pages_.at(page).state;
  if (std::set<PageId>* index = IndexOf(state)) CHECK_EQ(index->erase(page), 1u);
  --counts_[static_cast<int>(state)];
  state = to;
  ++counts_[static_cast<int>(state)];
  if (std::set<PageId>* index = IndexOf(state)) index->insert(page);
}

int32_t PagePool::GrownPages() const {
  return count(PageState::kMapped) + count(PageState::kMapping) + count(PageState::kPrepared) +
         count(PageState::kPreparing);
}

PageWork PagePool::Take(PageId page, PageState to) {
  Move(page, to);
  return PageWork{page, address(page), pages_[page].handle, pages_[page].has_mapping};
}

std::set<PageId>* PagePool::IndexOf(PageState state) {
  switch (state) {
    case PageState::kReserved:
      return &reserved_;
    case PageState::kPrepared:
      return &prepared_;
    case PageState::kDraining:
      return &draining_;
    default:
      return nullptr;
  }
}

}  // namespace ebb::memory

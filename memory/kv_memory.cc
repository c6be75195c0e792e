#include "memory/kv_memory.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace ebb::memory {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

absl::StatusOr<std::unique_ptr<KvMemory>> KvMemory::Create(const KvGeometry& geometry,
                                                           const Options& options,
                                                           device::Vmm* vmm) {
  const int64_t page_count =
      std::min(options.ceiling_bytes / geometry.page_bytes(), geometry.page_count_max());
  if (page_count < 1) {
    return absl::InvalidArgumentError(absl::StrCat("a KV ceiling of ", options.ceiling_bytes,
                                                   " bytes holds no page of ",
                                                   geometry.page_bytes(), " bytes"));
  }
  if (options.limit_bytes < 0 || options.headroom_bytes < 0 || options.keep_bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("memory limit ", options.limit_bytes, ", headroom ", options.headroom_bytes,
                     " and kept bytes ", options.keep_bytes, ": none may be negative"));
  }
  std::unique_ptr<KvMemory> memory(new KvMemory(geometry, options));
  ASSIGN_OR_RETURN(memory->kv_range_,
                   device::AddressRange::Reserve(vmm, page_count * geometry.page_bytes()));
  PagePool::Options kv{"kv", memory->kv_range_.base(), geometry.page_bytes(),
                       static_cast<int32_t>(page_count)};
  memory->pages_ = std::make_unique<PagePool>(kv, &memory->budget_, &memory->readers_);
  for (const WorkspaceOptions& workspace : options.workspaces) {
    const int64_t unit = vmm->granularity_bytes();
    const int64_t bytes = RoundUp(std::max<int64_t>(1, workspace.bytes_max), unit);
    ASSIGN_OR_RETURN(device::AddressRange range, device::AddressRange::Reserve(vmm, bytes));
    PagePool::Options pool{workspace.name, range.base(), unit, static_cast<int32_t>(bytes / unit)};
    memory->workspace_ranges_.push_back(std::move(range));
    memory->workspace_pools_.push_back(
        std::make_unique<PagePool>(pool, &memory->budget_, &memory->readers_));
    memory->workspaces_.push_back(
        std::make_unique<Workspace>(memory->workspace_pools_.back().get(), options.shrink));
    memory->pools_.push_back(memory->workspace_pools_.back().get());
  }
  memory->pools_.push_back(memory->pages_.get());
  memory->blocks_ = std::make_unique<BlockPool>(geometry.blocks_per_page(), page_count);
  if (options.prefix_cache) {
    PrefixCache::Options cache;
    cache.block_tokens = geometry.block_tokens();
    cache.blocks_per_page = geometry.blocks_per_page();
    cache.block_count = page_count * geometry.blocks_per_page();
    cache.idle_after = options.prefix_idle_after;
    cache.floor_blocks = options.prefix_floor_bytes / geometry.block_bytes();
    memory->prefix_cache_ =
        std::make_unique<PrefixCache>(cache, memory->blocks_.get(), &memory->readers_);
    memory->blocks_->set_keeper(memory->prefix_cache_.get());
  }
  memory->accounts_ =
      std::make_unique<Accounts>(memory->blocks_.get(), page_count * geometry.blocks_per_page());
  memory->pages_->set_on_mapped(
      [blocks = memory->blocks_.get()](PageId page) { blocks->AddPage(page); });
  ASSIGN_OR_RETURN(const int64_t free_bytes, vmm->FreeBytes());
  memory->budget_.SetFree(free_bytes);
  return memory;
}

KvMemory::KvMemory(const KvGeometry& geometry, const Options& options)
    : geometry_(geometry),
      options_(options),
      budget_(options.limit_bytes, options.headroom_bytes),
      shrink_(options.shrink),
      own_limit_bytes_(options.limit_bytes) {}

KvMemory::~KvMemory() {
  // Addresses with a mapping that the device would not undo must never be given to anyone else.
  if (pages_ != nullptr && pages_->held_pages() > 0) kv_range_.Abandon();
  for (size_t i = 0; i < workspace_pools_.size(); ++i) {
    if (workspace_pools_[i]->held_pages() > 0) workspace_ranges_[i].Abandon();
  }
}

void KvMemory::OnBoundary() {
  if (!pending_limit_.has_value()) return;
  budget_.SetLimit(*pending_limit_);
  pending_limit_.reset();
}

WindowMemory KvMemory::WindowMemoryOf(AccountId account, absl::Time now) const {
  WindowMemory memory;
  const int32_t quarantined = pages_->count(PageState::kQuarantined);
  memory.block_tokens = geometry_.block_tokens();
  memory.blocks_per_page = geometry_.blocks_per_page();
  memory.page_bytes = geometry_.page_bytes();
  memory.page_count_max = pages_->page_count() - quarantined;
  memory.mapped_pages = pages_->count(PageState::kMapped);
  memory.coming_pages = pages_->coming_pages();
  memory.held_pages = pages_->held_pages() - quarantined;
  memory.empty_pages = blocks_->empty_pages();
  memory.used_blocks = accounts_->used(account);
  memory.granted_blocks = accounts_->granted(account);
  memory.others_blocks =
      accounts_->wanted_blocks() - std::max(accounts_->demand(account), accounts_->used(account));
  memory.bounds = budget_.bounds();
  for (const auto& workspace : workspaces_) {
    memory.bounds.held_bytes += workspace->missing_bytes();
    memory.bounds.free_bytes -= workspace->missing_bytes();
    // It goes before anybody has to give way, or to wait.
    memory.bounds.held_bytes -= workspace->surplus_bytes();
  }
  if (now < refused_until_) memory.bounds.free_bytes = 0;
  return memory;
}

void KvMemory::OpenWindow(AccountId account, const WindowPlan& plan) {
  window_open_[static_cast<int>(account)] = true;
  accounts_->SetDemand(account, plan.grant_blocks);
  shrink_.RecordDemand(WantedPages());
}

void KvMemory::CloseWindow(AccountId account) {
  window_open_[static_cast<int>(account)] = false;
  accounts_->SetDemand(account, accounts_->used(account));
  if (!AnyWindowOpen()) shrink_.Forget();
}

bool KvMemory::AnyWindowOpen() const {
  return std::find(window_open_.begin(), window_open_.end(), true) != window_open_.end();
}

bool KvMemory::NoteFreeBytes(int64_t bytes, absl::Time now) {
  const int64_t before = budget_.bounds().GrowableBytes();
  budget_.SetFree(bytes);
  free_read_at_ = now;
  return budget_.bounds().GrowableBytes() >= before + geometry_.page_bytes();
}

void KvMemory::SetLimit(int64_t bytes) {
  CHECK_GE(bytes, 0);
  own_limit_bytes_ = bytes;
  ApplyLimit();
}

bool KvMemory::SetLease(int64_t lease_bytes, int64_t keep_bytes) {
  CHECK_GE(lease_bytes, budget_.held_bytes());
  const bool raised = lease_bytes > budget_.bounds().lease_bytes;
  budget_.SetLease(lease_bytes);
  if (raised) retry_at_ = refused_until_;
  if (keep_bytes == lease_keep_bytes_) return raised;
  lease_keep_bytes_ = keep_bytes;
  ApplyLimit();
  return true;
}

void KvMemory::ApplyLimit() {
  const int64_t bytes = std::min(own_limit_bytes_, lease_keep_bytes_);
  pending_limit_.reset();
  const bool open = std::find(window_open_.begin(), window_open_.end(), true) != window_open_.end();
  if (open && bytes < budget_.limit_bytes()) {
    pending_limit_ = bytes;
  } else {
    budget_.SetLimit(bytes);
  }
}

LimitState KvMemory::limit_state() const {
  LimitState state;
  state.pending = pending_limit_.has_value();
  state.limit_bytes = own_limit_bytes_;
  state.held_bytes = budget_.held_bytes();
  return state;
}

void KvMemory::WantPages(int64_t pages) {
  if (options_.compact_above_percent > 0) scattered_pages_ = std::max(scattered_pages_, pages);
}

MovePlan KvMemory::PlanMovesOf(absl::Span<const BlockTable* const> tables, int64_t pages,
                               int64_t bytes_max) const {
  std::vector<absl::Span<const BlockId>> blocks;
  blocks.reserve(tables.size());
  for (const BlockTable* table : tables) blocks.push_back(table->blocks());
  MoveNeed need;
  need.pages = pages;
  need.blocks_max = bytes_max / geometry_.block_bytes();
  return PlanMoves(blocks, need, geometry_, *blocks_);
}

void KvMemory::CommitMoves(const MovePlan& plan, absl::Span<BlockTable* const> tables) {
  for (const BlockMove& move : plan.moves) {
    if (blocks_->kept(move.to)) prefix_cache_->Forget(move.to);
    accounts_->Move(move.from, move.to);
    if (prefix_cache_ != nullptr) prefix_cache_->Move(move.from, move.to);
  }
  for (BlockTable* table : tables) table->Patch(plan.moves);
  for (const PageId page : plan.emptied) {
    CHECK(accounts_->CoveredWithout(geometry_.blocks_per_page()));
    if (blocks_->kept_in_page(page) > 0) prefix_cache_->EvictPage(page);
    blocks_->RemovePage(page);
    pages_->DrainWhileRead(page);
  }
  scattered_pages_ =
      std::max<int64_t>(0, scattered_pages_ - static_cast<int64_t>(plan.emptied.size()));
  moved_bytes_total_ += static_cast<int64_t>(plan.moves.size()) * geometry_.block_bytes();
}

std::optional<Miss> KvMemory::TakeMiss() { return std::exchange(miss_, std::nullopt); }

void KvMemory::Tend(absl::Time now) {
  if (!AnyWindowOpen()) OnBoundary();
  flips_.Note(now, pages_->unmapped_total(), pages_->mapped_total());
  if (prefix_cache_ != nullptr) prefix_cache_->Expire(now);
  TendIdle(now);
  const bool over = over_limit();
  const int64_t wanted = WantedPages();
  // What a workspace keeps for later goes before KV pages that are wanted now cannot be had.
  const GrowthBounds& bounds = budget_.bounds();
  const bool pressed =
      over || (wanted > pages_->coming_pages() && bounds.GrowableBytes() < geometry_.page_bytes() &&
               bounds.TightestBound() != Bound::kFree);
  for (const auto& workspace : workspaces_) workspace->Tend(now, pressed || idle_);
  const int64_t kept = over ? 0 : std::max(kept_pages(), cached_pages());
  // Pages with cached blocks stay whole: with one would go what lies behind its blocks in others.
  const int64_t staying = over ? 0 : std::max(kept, wanted + blocks_->kept_only_pages());
  if (!over) TakeBackDraining(std::max(wanted, kept));
  const int64_t mapped = pages_->count(PageState::kMapped);
  // Over the limit what is prepared goes first, and nothing grows.
  const int64_t target = over ? std::min(wanted, mapped) : std::max(wanted, KeptTarget());
  const int32_t stash = over || idle_ ? 0 : options_.prepare_ahead_pages;
  pages_->SetTarget(static_cast<int32_t>(target), stash);
  const int64_t draining = pages_->count(PageState::kDraining);
  const int64_t shrinking = shrink_.PagesToShrink(now, mapped, std::max(wanted, staying), draining);
  scattered_pages_ = 0;
  if (over) {
    const int64_t excess_bytes = ExcessBytes();
    const int64_t page_bytes = geometry_.page_bytes();
    const int64_t leaving = draining + pages_->count(PageState::kPrepared);
    const int64_t leave = (excess_bytes + page_bytes - 1) / page_bytes - leaving;
    NoteScattered(leave - DrainEmpty(leave), true);
  } else if (idle_) {
    DrainPlain(mapped - staying);
  } else {
    NoteScattered(shrinking - DrainPlain(shrinking), false);
  }
}

void KvMemory::NoteScattered(int64_t pages, bool over) {
  if (options_.compact_above_percent == 0) return;
  // Over the limit a page less is worth any copy.
  if (over || CompactionPays()) scattered_pages_ = std::max<int64_t>(0, pages);
}

bool KvMemory::CompactionPays() const {
  const int64_t least = geometry_.PagesFor(accounts_->used_total());
  return pages_->count(PageState::kMapped) * 100 > least * options_.compact_above_percent;
}

bool KvMemory::WantsGrowth(absl::Time now) const {
  if (now < retry_at_) return false;
  return std::any_of(pools_.begin(), pools_.end(),
                     [](const PagePool* pool) { return pool->unprepared_pages() > 0; });
}

bool KvMemory::WantsFreeReading(absl::Time now) const {
  return WantsGrowth(now) || now >= NextFreeReading();
}

// Nobody tells us when others on the device give memory back. Without a fresh look, planners that
// were held back by the last one would never ask for growth again.
absl::Time KvMemory::NextFreeReading() const {
  if (budget_.bounds().TightestBound() != Bound::kFree) return absl::InfiniteFuture();
  return std::max(retry_at_, free_read_at_ + (idle_ ? absl::Seconds(1) : options_.retry_after));
}

void KvMemory::NoteMiss(Miss miss, absl::Time now) {
  retry_at_ = now + options_.retry_after;
  // What the condition lacks, planners see for themselves.
  if (miss.by_device) refused_until_ = retry_at_;
  miss_ = std::move(miss);
  ++miss_count_;
}

absl::Time KvMemory::NextDeadline(absl::Time now) const {
  absl::Time next = std::min(shrink_.next_change(), NextFreeReading());
  for (const auto& workspace : workspaces_) next = std::min(next, workspace->next_change());
  if (prefix_cache_ != nullptr) next = std::min(next, prefix_cache_->next_expiry());
  if (!idle_ && idle_since_ != absl::InfiniteFuture()) {
    next = std::min(next, idle_since_ + options_.idle_after);
  }
  if (now < retry_at_) next = std::min(next, retry_at_);
  return next;
}

void KvMemory::BeginShutdown() {
  CHECK_EQ(accounts_->used_total(), 0) << "blocks were not given back";
  for (int i = 0; i < kAccountCount; ++i) CloseWindow(static_cast<AccountId>(i));
  for (const auto& workspace : workspaces_) workspace->SetDemand(0);
  if (prefix_cache_ != nullptr) prefix_cache_->Clear();
  for (PageId page = blocks_->HighestEmptyPage(); page >= 0; page = blocks_->HighestEmptyPage()) {
    blocks_->RemovePage(page);
  }
  for (PagePool* pool : pools_) pool->SetTarget(0, 0);
}

int64_t KvMemory::WantedPages() const {
  return std::min<int64_t>(geometry_.PagesFor(accounts_->wanted_blocks()), pages_->page_count());
}

// What a workspace still lacks counts: KV pages that nobody uses give way to it, or no step runs.
int64_t KvMemory::ExcessBytes() const {
  int64_t bytes = budget_.held_bytes();
  for (const auto& workspace : workspaces_) bytes += workspace->missing_bytes();
  return bytes - std::min(budget_.limit_bytes(), budget_.bounds().lease_bytes);
}

// What limit and lease leave to KV pages beside the workspaces at their largest.
int64_t KvMemory::RoomBytes() const {
  int64_t bytes = std::min(budget_.limit_bytes(), budget_.bounds().lease_bytes);
  for (const auto& workspace : workspaces_) bytes -= workspace->bytes_max();
  bytes -= pages_->count(PageState::kQuarantined) * geometry_.page_bytes();
  const int64_t page_count = pages_->page_count() - pages_->count(PageState::kQuarantined);
  return std::clamp<int64_t>(bytes, 0, page_count * geometry_.page_bytes());
}

int64_t KvMemory::kept_pages() const {
  return std::min(RoomBytes(), options_.keep_bytes) / geometry_.page_bytes();
}

int64_t KvMemory::cached_pages() const {
  if (blocks_->kept_blocks() == 0) return 0;
  return std::min(geometry_.PagesFor(accounts_->wanted_blocks() + blocks_->kept_blocks()),
                  RoomBytes() / geometry_.page_bytes());
}

int64_t KvMemory::FreeBlocksBesideCached(absl::Time now) const {
  const int64_t kept = blocks_->kept_blocks();
  const bool coming = kept > 0 && now >= retry_at_ && !over_limit() &&
                      std::max(WantedPages(), KeptTarget()) > pages_->count(PageState::kMapped);
  return blocks_->free_blocks() - (coming ? kept : 0);
}

// Of the pages that are kept or cached, those that can be had now: nobody waits for the others, and
// to ask for them would be refused.
int64_t KvMemory::KeptTarget() const {
  const int64_t growable = std::max<int64_t>(0, budget_.bounds().GrowableBytes());
  const int64_t there = pages_->coming_pages() - pages_->count(PageState::kDraining);
  return std::min(std::max(kept_pages(), cached_pages()),
                  there + growable / geometry_.page_bytes());
}

void KvMemory::TendIdle(absl::Time now) {
  const bool nothing_lives = accounts_->wanted_blocks() == 0;
  const bool nothing_lived = accounts_->taken_total() == taken_when_idle_;
  if (!nothing_lives || !nothing_lived) idle_ = false;
  if (!nothing_lives) {
    idle_since_ = absl::InfiniteFuture();
    return;
  }
  if (idle_since_ == absl::InfiniteFuture() || !nothing_lived) {
    idle_since_ = now;
    taken_when_idle_ = accounts_->taken_total();
  }
  if (idle_ || now < idle_since_ + options_.idle_after) return;
  idle_ = true;
  shrink_.Forget();
  for (const auto& workspace : workspaces_) workspace->SetDemand(0);
}

void KvMemory::TakeBackDraining(int64_t wanted_pages) {
  const std::set<PageId> draining = pages_->draining();
  for (const PageId page : draining) {
    if (pages_->count(PageState::kMapped) >= wanted_pages) return;
    if (!pages_->CanUndrain(page)) continue;
    pages_->Undrain(page);
    blocks_->AddPage(page);
  }
}

int64_t KvMemory::DrainPlain(int64_t pages_max) {
  int64_t drained = 0;
  while (drained < pages_max && TryDrain(blocks_->HighestEmptyPage())) ++drained;
  return drained;
}

int64_t KvMemory::DrainEmpty(int64_t pages_max) {
  int64_t drained = DrainPlain(pages_max);
  if (drained >= pages_max || prefix_cache_ == nullptr) return drained;
  for (const PageId page : prefix_cache_->EmptyPagesColdestFirst()) {
    if (drained == pages_max || !TryDrain(page)) break;
    ++drained;
  }
  return drained;
}

// Gives an empty page up, with what is kept in it. False for no page, and where grants need it.
bool KvMemory::TryDrain(PageId page) {
  if (page < 0 || !accounts_->CoveredWithout(geometry_.blocks_per_page())) return false;
  if (blocks_->kept_in_page(page) > 0) prefix_cache_->EvictPage(page);
  blocks_->RemovePage(page);
  pages_->Drain(page);
  return true;
}

}  // namespace ebb::memory

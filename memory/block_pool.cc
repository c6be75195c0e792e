#include "memory/block_pool.h"

#include <utility>

#include "base/check.h"

namespace ebb::memory {

BlockPool::BlockPool(int32_t blocks_per_page, int32_t page_count)
    : blocks_per_page_(blocks_per_page) {
  CHECK_GT(blocks_per_page, 0);
  CHECK_GT(page_count, 0);
  pages_.resize(page_count);
  references_.resize(static_cast<size_t>(page_count) * blocks_per_page);
  kept_.resize(references_.size());
}

BlockPool::~BlockPool() { CHECK_EQ(used_blocks_, 0) << "blocks were not given back"; }

void BlockPool::AddPage(PageId page) {
  Page& at = pages_.at(page);
  CHECK(!at.usable) << "page " << page;
  at = Page{true};
  with_plain_.emplace(blocks_per_page_, page);
  usable_blocks_ += blocks_per_page_;
  ++empty_pages_;
}

void BlockPool::RemovePage(PageId page) {
  Page& at = pages_.at(page);
  CHECK(at.usable && PlainBlocks(at) == blocks_per_page_) << "page " << page << " is in use";
  with_plain_.erase({blocks_per_page_, page});
  at = Page{};
  usable_blocks_ -= blocks_per_page_;
  --empty_pages_;
}

BlockId BlockPool::Take() {
  CHECK_GT(free_blocks(), 0) << "no free block";
  if (with_plain_.empty()) keeper_->ReleaseOne();
  CHECK(!with_plain_.empty());
  const PageId page = with_plain_.begin()->second;
  BlockId block = page * blocks_per_page_;
  while (references_[block] != 0 || kept_[block]) ++block;
  CHECK_LT(block, (page + 1) * blocks_per_page_);
  references_[block] = 1;
  Count(page, 1, 0);
  return block;
}

void BlockPool::AddReference(BlockId block) {
  CHECK_GT(references_.at(block), 0) << "block " << block << " is free";
  if (++references_[block] == 2) ++shared_blocks_;
}

bool BlockPool::DropReference(BlockId block) {
  CHECK_GT(references_.at(block), 0) << "block " << block << " is free";
  if (--references_[block] == 1) --shared_blocks_;
  if (references_[block] > 0) return false;
  kept_[block] = keeper_ != nullptr && keeper_->Keep(block);
  Count(block / blocks_per_page_, -1, kept_[block] ? 1 : 0);
  return true;
}

void BlockPool::Revive(BlockId block) {
  CHECK(kept_.at(block)) << "block " << block;
  kept_[block] = false;
  references_[block] = 1;
  Count(block / blocks_per_page_, 1, -1);
  keeper_->NoteRevived(block);
}

void BlockPool::Release(BlockId block) {
  CHECK(kept_.at(block)) << "block " << block;
  kept_[block] = false;
  Count(block / blocks_per_page_, 0, -1);
}

void BlockPool::Count(PageId page, int32_t used_change, int32_t kept_change) {
  Page& at = pages_.at(page);
  CHECK(at.usable);
  const int32_t plain_before = PlainBlocks(at);
  const auto is_kept = [&at] { return at.used_blocks == 0 && at.kept_blocks > 0; };
  if (at.used_blocks == 0) --empty_pages_;
  if (is_kept()) --kept_only_pages_;
  at.used_blocks += used_change;
  at.kept_blocks += kept_change;
  used_blocks_ += used_change;
  kept_blocks_ += kept_change;
  if (at.used_blocks == 0) ++empty_pages_;
  if (is_kept()) ++kept_only_pages_;
  const int32_t plain = PlainBlocks(at);
  if (plain == plain_before) return;
  if (plain_before > 0) with_plain_.erase({plain_before, page});
  if (plain > 0) with_plain_.emplace(plain, page);
}

void BlockPool::MoveReferences(BlockId from, BlockId to) {
  CHECK_GT(references_.at(from), 0) << "block " << from << " is free";
  CHECK(references_.at(to) == 0 && !kept_.at(to)) << "block " << to << " is in use";
  std::swap(references_[from], references_[to]);
  Count(to / blocks_per_page_, 1, 0);
  Count(from / blocks_per_page_, -1, 0);
}

int32_t BlockPool::references(BlockId block) const { return references_.at(block); }

bool BlockPool::usable(PageId page) const { return pages_.at(page).usable; }

int32_t BlockPool::used_in_page(PageId page) const { return pages_.at(page).used_blocks; }

PageId BlockPool::HighestEmptyPage() const {
  if (with_plain_.empty() || with_plain_.rbegin()->first != blocks_per_page_) return -1;
  return with_plain_.rbegin()->second;
}

}  // namespace ebb::memory

#include "memory/block_pool.h"

#include "base/check.h"

namespace ebb::memory {

BlockPool::BlockPool(int32_t blocks_per_page, int32_t page_count)
    : blocks_per_page_(blocks_per_page) {
  CHECK_GT(blocks_per_page, 0);
  CHECK_GT(page_count, 0);
  pages_.resize(page_count);
  references_.resize(static_cast<size_t>(page_count) * blocks_per_page);
}

BlockPool::~BlockPool() { CHECK_EQ(used_blocks_, 0) << "blocks were not given back"; }

void BlockPool::AddPage(PageId page) {
  Page& at = pages_.at(page);
  CHECK(!at.usable) << "page " << page;
  at = Page{true, blocks_per_page_};
  with_free_.emplace(at.free_blocks, page);
  usable_blocks_ += blocks_per_page_;
}

void BlockPool::RemovePage(PageId page) {
  Page& at = pages_.at(page);
  CHECK(at.usable && at.free_blocks == blocks_per_page_) << "page " << page << " is in use";
  with_free_.erase({at.free_blocks, page});
  at = Page{};
  usable_blocks_ -= blocks_per_page_;
}

BlockId BlockPool::Take() {
  CHECK(!with_free_.empty()) << "no free block";
  const PageId page = with_free_.begin()->second;
  BlockId block = page * blocks_per_page_;
  while (references_[block] != 0) ++block;
  CHECK_LT(block, (page + 1) * blocks_per_page_);
  references_[block] = 1;
  CountFree(page, -1);
  ++used_blocks_;
  return block;
}

void BlockPool::AddReference(BlockId block) {
  CHECK_GT(references_.at(block), 0) << "block " << block << " is free";
  ++references_[block];
}

bool BlockPool::DropReference(BlockId block) {
  CHECK_GT(references_.at(block), 0) << "block " << block << " is free";
  if (--references_[block] > 0) return false;
  CountFree(block / blocks_per_page_, 1);
  --used_blocks_;
  return true;
}

void BlockPool::CountFree(PageId page, int32_t change) {
  Page& at = pages_.at(page);
  CHECK(at.usable);
  if (at.free_blocks > 0) with_free_.erase({at.free_blocks, page});
  at.free_blocks += change;
  if (at.free_blocks > 0) with_free_.emplace(at.free_blocks, page);
}

void BlockPool::MoveReferences(BlockId from, BlockId to) {
  CHECK_GT(references_.at(from), 0) << "block " << from << " is free";
  CHECK_EQ(references_.at(to), 0) << "block " << to << " is in use";
  std::swap(references_[from], references_[to]);
  CountFree(to / blocks_per_page_, -1);
  CountFree(from / blocks_per_page_, 1);
}

int32_t BlockPool::references(BlockId block) const { return references_.at(block); }

bool BlockPool::usable(PageId page) const { return pages_.at(page).usable; }

int32_t BlockPool::used_in_page(PageId page) const {
  const Page& at = pages_.at(page);
  return at.usable ? blocks_per_page_ - at.free_blocks : 0;
}

int32_t BlockPool::empty_pages() const {
  int32_t count = 0;
  for (auto it = with_free_.rbegin(); it != with_free_.rend() && it->first == blocks_per_page_;
       ++it) {
    ++count;
  }
  return count;
}

PageId BlockPool::HighestEmptyPage() const {
  if (with_free_.empty() || with_free_.rbegin()->first != blocks_per_page_) return -1;
  return with_free_.rbegin()->second;
}

}  // namespace ebb::memory

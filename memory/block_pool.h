// BlockPool: the blocks of mapped pages, with reference counts.
//
// A block is taken from the fullest page that has one free, the lowest address first, so that the
// others drain and whole pages can be given back.
//
//   page 0 [####....]   page 1 [##......]   page 2 [........]
//               ^ the next block
#pragma once

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "memory/kv_geometry.h"

namespace ebb::memory {

// Thread-compatible: guarded by the engine's mutex, owned by KvMemory. It knows which pages are
// usable, not why.
class BlockPool {
 public:
  // REQUIRES: both positive.
  BlockPool(int32_t blocks_per_page, int32_t page_count);
  // CHECKs that every block is back.
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // The page's blocks can be taken from now on. REQUIRES: it is not usable.
  void AddPage(PageId page);
  // The page's blocks are no longer there. REQUIRES: it is usable and empty.
  void RemovePage(PageId page);

  // A block with one reference. REQUIRES: free_blocks() > 0.
  BlockId Take();
  // One owner more. REQUIRES: the block is in use.
  void AddReference(BlockId block);
  // One owner less; true when it was the last and the block is free again.
  // REQUIRES: the block is in use.
  bool DropReference(BlockId block);
  // 0 when the block is free, or its page is not usable.
  int32_t references(BlockId block) const;
  // All owners of `from` now own `to`, and `from` is free. REQUIRES: `from` is in use, `to` is a
  // free block of a usable page.
  void MoveReferences(BlockId from, BlockId to);

  int32_t page_count() const { return static_cast<int32_t>(pages_.size()); }
  int64_t usable_blocks() const { return usable_blocks_; }
  int64_t used_blocks() const { return used_blocks_; }
  int64_t free_blocks() const { return usable_blocks_ - used_blocks_; }
  bool usable(PageId page) const;
  // Blocks of the page that are in use.
  int32_t used_in_page(PageId page) const;
  int32_t empty_pages() const;
  // The usable page of the highest address in which no block is in use, or -1.
  PageId HighestEmptyPage() const;

 private:
  struct Page {
    bool usable = false;
    int32_t free_blocks = 0;
  };

  // One free block less or more in a usable page.
  void CountFree(PageId page, int32_t change);

  const int32_t blocks_per_page_;
  std::vector<Page> pages_;
  std::vector<int32_t> references_;  // By block.
  // Usable pages with a free block, by (free blocks, page): the first is where to take from.
  std::set<std::pair<int32_t, PageId>> with_free_;
  int64_t usable_blocks_ = 0;
  int64_t used_blocks_ = 0;
};

}  // namespace ebb::memory

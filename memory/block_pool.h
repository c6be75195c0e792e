// BlockPool: the blocks of mapped pages, with reference counts.
//
// A block is taken from the fullest page that has one free, the lowest address first, so that the
// others drain and whole pages can be given back.
//
//   page 0 [####....]   page 1 [##kk....]   page 2 [........]
//               ^ the next block
//
// A free block may be kept: nobody uses it, but what it holds is worth something until the block is
// wanted (see PrefixCache). Kept blocks are free in every count; they are taken last.
#pragma once

#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "memory/kv_geometry.h"

namespace ebb::memory {

// Who keeps what free blocks hold.
class BlockKeeper {
 public:
  virtual ~BlockKeeper() = default;
  // The block's last owner has given it back. True: it is kept from now on.
  virtual bool Keep(BlockId block) = 0;
  // A kept block has an owner again, who wants what it holds.
  virtual void NoteRevived(BlockId block) = 0;
  // A block is wanted and all that are free are kept: releases at least one (BlockPool::Release).
  virtual void ReleaseOne() = 0;
};

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

  // None: no block is kept. It outlives all other calls.
  void set_keeper(BlockKeeper* keeper) { keeper_ = keeper; }

  // The page's blocks can be taken from now on. REQUIRES: it is not usable.
  void AddPage(PageId page);
  // The page's blocks are no longer there. REQUIRES: it is usable, empty, and none is kept.
  void RemovePage(PageId page);

  // A block with one reference. REQUIRES: free_blocks() > 0.
  BlockId Take();
  // One owner more. REQUIRES: the block is in use.
  void AddReference(BlockId block);
  // One owner less; true when it was the last and the block is free again.
  // REQUIRES: the block is in use.
  bool DropReference(BlockId block);
  // The kept block has one owner, who finds in it what it held. REQUIRES: it is kept.
  void Revive(BlockId block);
  // What the kept block holds is worth nothing any more. REQUIRES: it is kept.
  void Release(BlockId block);
  // 0 when the block is free, or its page is not usable.
  int32_t references(BlockId block) const;
  bool kept(BlockId block) const { return kept_.at(block); }
  // All owners of `from` now own `to`, and `from` is free. REQUIRES: `from` is in use, `to` is a
  // free block of a usable page and not kept.
  void MoveReferences(BlockId from, BlockId to);

  int32_t page_count() const { return static_cast<int32_t>(pages_.size()); }
  int64_t usable_blocks() const { return usable_blocks_; }
  int64_t used_blocks() const { return used_blocks_; }
  int64_t free_blocks() const { return usable_blocks_ - used_blocks_; }
  int64_t kept_blocks() const { return kept_blocks_; }
  // Blocks with several owners.
  int64_t shared_blocks() const { return shared_blocks_; }
  bool usable(PageId page) const;
  // Blocks of the page that are in use.
  int32_t used_in_page(PageId page) const;
  int32_t kept_in_page(PageId page) const { return pages_.at(page).kept_blocks; }
  // Usable pages in which no block is in use; some may be kept.
  int32_t empty_pages() const { return empty_pages_; }
  // Of these, those in which any is.
  int32_t kept_only_pages() const { return kept_only_pages_; }
  // The usable page of the highest address in which no block is in use or kept, or -1.
  PageId HighestEmptyPage() const;

 private:
  struct Page {
    bool usable = false;
    int32_t used_blocks = 0;
    int32_t kept_blocks = 0;
  };

  // Blocks of the page that are neither in use nor kept.
  int32_t PlainBlocks(const Page& page) const {
    return blocks_per_page_ - page.used_blocks - page.kept_blocks;
  }
  // So many blocks of a usable page more or less are in use, and are kept.
  void Count(PageId page, int32_t used_change, int32_t kept_change);

  const int32_t blocks_per_page_;
  BlockKeeper* keeper_ = nullptr;
  std::vector<Page> pages_;
  std::vector<int32_t> references_;  // By block.
  std::vector<bool> kept_;           // By block.
  // Usable pages with plain blocks, by (plain blocks, page): the first is where to take from.
  std::set<std::pair<int32_t, PageId>> with_plain_;
  int64_t usable_blocks_ = 0;
  int64_t used_blocks_ = 0;
  int64_t kept_blocks_ = 0;
  int64_t shared_blocks_ = 0;
  int32_t empty_pages_ = 0;
  int32_t kept_only_pages_ = 0;
};

}  // namespace ebb::memory

#include "tests/memory/memory_checker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ebb::memory {

MemoryPicture PictureOf(KvMemory* memory, const std::vector<const BlockTable*>& tables) {
  MemoryPicture picture;
  picture.limit_bytes = memory->budget().limit_bytes();
  picture.held_bytes = memory->held_bytes();
  picture.kept_pages = memory->kept_pages();
  picture.over_limit = memory->over_limit();
  for (const PagePool* pool : memory->pools()) {
    if (pool != &memory->pages()) {
      picture.other_held_bytes += pool->held_pages() * pool->page_bytes();
    }
  }
  picture.page_bytes = memory->geometry().page_bytes();
  picture.blocks_per_page = memory->geometry().blocks_per_page();
  for (PageId page = 0; page < memory->pages().page_count(); ++page) {
    picture.pages.push_back(memory->pages().state(page));
    for (int32_t i = 0; i < picture.blocks_per_page; ++i) {
      const BlockId block = page * picture.blocks_per_page + i;
      picture.references.push_back(memory->blocks().references(block));
      picture.kept.push_back(memory->blocks().kept(block));
    }
  }
  for (const BlockTable* table : tables) {
    std::vector<BlockId> blocks;
    for (const int32_t index : table->indices()) {
      blocks.push_back(memory->geometry().BlockOf(index));
    }
    picture.tables.push_back(std::move(blocks));
  }
  for (int i = 0; i < kAccountCount; ++i) {
    picture.granted[i] = memory->accounts().granted(static_cast<AccountId>(i));
    picture.used[i] = memory->accounts().used(static_cast<AccountId>(i));
  }
  return picture;
}

std::string FirstViolation(const MemoryPicture& before, const MemoryPicture& now) {
  const auto count = [&now](PageState state) {
    return static_cast<int64_t>(std::count(now.pages.begin(), now.pages.end(), state));
  };
  const int64_t held_pages = static_cast<int64_t>(now.pages.size()) - count(PageState::kReserved);
  if (held_pages * now.page_bytes + now.other_held_bytes != now.held_bytes) {
    return absl::StrCat("held bytes ", now.held_bytes, " are not those of ", held_pages, " pages");
  }
  if (now.held_bytes > std::max(now.limit_bytes, before.held_bytes)) {
    return absl::StrCat("held ", now.held_bytes, " grew past the limit ", now.limit_bytes);
  }
  const int64_t mapped_before =
      std::count(before.pages.begin(), before.pages.end(), PageState::kMapped);
  if (count(PageState::kMapped) < std::min(mapped_before, now.kept_pages) && !before.over_limit &&
      !now.over_limit) {
    return absl::StrCat("mapped pages fell from ", mapped_before, " to ", count(PageState::kMapped),
                        ", below the ", now.kept_pages, " that are kept");
  }
  std::vector<int32_t> owners(now.references.size(), 0);
  for (const std::vector<BlockId>& table : now.tables) {
    for (const BlockId block : table) {
      if (now.pages[block / now.blocks_per_page] != PageState::kMapped) {
        return absl::StrCat("a table names block ", block, " of a page that is not mapped");
      }
      ++owners[block];
    }
  }
  int64_t in_use = 0;
  for (size_t block = 0; block < owners.size(); ++block) {
    if (owners[block] != now.references[block]) {
      return absl::StrCat("block ", block, " has ", owners[block], " owners and ",
                          now.references[block], " references");
    }
    in_use += owners[block] > 0 ? 1 : 0;
    if (!now.kept[block]) continue;
    if (owners[block] > 0) return absl::StrCat("block ", block, " is kept and in use");
    if (now.pages[block / static_cast<size_t>(now.blocks_per_page)] != PageState::kMapped) {
      return absl::StrCat("block ", block, " is kept in a page that is not mapped");
    }
  }
  int64_t granted = 0, used = 0;
  for (int i = 0; i < kAccountCount; ++i) {
    if (now.used[i] > now.granted[i]) {
      return absl::StrCat("account ", i, " uses ", now.used[i], " of ", now.granted[i]);
    }
    granted += now.granted[i];
    used += now.used[i];
  }
  if (used != in_use) return absl::StrCat(used, " blocks are charged, ", in_use, " are in use");
  if (granted > count(PageState::kMapped) * now.blocks_per_page) {
    return absl::StrCat("grants of ", granted, " blocks are not covered");
  }
  return "";
}

SwapPicture PictureOf(const SwapSpace& space, int64_t bytes_max,
                      std::vector<std::vector<SlotId>> owners) {
  SwapPicture picture;
  picture.bytes_max = bytes_max;
  picture.slot_bytes = space.slot_bytes();
  picture.used_bytes = space.used_slots() * space.slot_bytes();
  picture.held_bytes = space.held_bytes();
  for (SlotId slot = 0; slot < space.slot_count(); ++slot) {
    picture.taken.push_back(space.IsTaken(slot));
    picture.there.push_back(space.IsThere(space.ChunkOf(slot)));
  }
  picture.owners = std::move(owners);
  return picture;
}

std::string FirstViolation(const SwapPicture& now) {
  std::vector<int32_t> owners(now.taken.size(), 0);
  int64_t owned_bytes = 0;
  for (const std::vector<SlotId>& slots : now.owners) {
    owned_bytes += static_cast<int64_t>(slots.size()) * now.slot_bytes;
    for (const SlotId slot : slots) ++owners.at(static_cast<size_t>(slot));
  }
  for (size_t slot = 0; slot < owners.size(); ++slot) {
    if (owners[slot] > 1) return absl::StrCat("slot ", slot, " has ", owners[slot], " owners");
    if (now.taken[slot] == (owners[slot] == 1)) continue;
    return absl::StrCat("slot ", slot, now.taken[slot] ? " is taken by nobody" : " is not taken");
  }
  if (now.used_bytes != owned_bytes) {
    return absl::StrCat(now.used_bytes, " bytes are swapped, sequences have ", owned_bytes);
  }
  const auto there = static_cast<int64_t>(std::count(now.there.begin(), now.there.end(), true));
  if (now.held_bytes != there * now.slot_bytes) {
    return absl::StrCat("held swap space of ", now.held_bytes, " bytes is not ", there, " slots");
  }
  if (now.held_bytes > now.bytes_max || now.used_bytes > now.bytes_max) {
    return absl::StrCat("swapped ", now.used_bytes, " bytes in ", now.held_bytes, ", more than ",
                        now.bytes_max);
  }
  return "";
}

}  // namespace ebb::memory

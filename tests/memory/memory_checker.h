// What must be true of elastic memory after every step, checked from a plain picture of it, so that
// the checker itself can be tried on broken pictures.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "memory/block_table.h"
#include "memory/kv_memory.h"
#include "memory/swap_space.h"

namespace ebb::memory {

struct MemoryPicture {
  int64_t limit_bytes = 0;
  int64_t held_bytes = 0;
  int64_t other_held_bytes = 0;  // Of workspaces.
  int64_t kept_pages = 0;
  bool over_limit = false;
  int64_t page_bytes = 0;
  int32_t blocks_per_page = 0;
  std::vector<PageState> pages;
  std::vector<int32_t> references;           // By block.
  std::vector<bool> kept;                    // By block: free, and what it holds is cached.
  std::vector<std::vector<BlockId>> tables;  // The blocks that each sequence names.
  std::array<int64_t, kAccountCount> granted = {};
  std::array<int64_t, kAccountCount> used = {};
};

MemoryPicture PictureOf(KvMemory* memory, const std::vector<const BlockTable*>& tables);

// Empty when all is well, else the first rule that is broken. `before`: the picture of the step
// before, for what may not grow.
std::string FirstViolation(const MemoryPicture& before, const MemoryPicture& now);

struct SwapPicture {
  int64_t bytes_max = 0;
  int64_t slot_bytes = 0;
  int64_t used_bytes = 0;
  int64_t held_bytes = 0;                   // Of chunks that are there.
  std::vector<bool> taken;                  // By slot.
  std::vector<bool> there;                  // By slot: its chunk.
  std::vector<std::vector<SlotId>> owners;  // The slots of each sequence.
};

SwapPicture PictureOf(const SwapSpace& space, int64_t bytes_max,
                      std::vector<std::vector<SlotId>> owners);

// Likewise.
std::string FirstViolation(const SwapPicture& now);

}  // namespace ebb::memory

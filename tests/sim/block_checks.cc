#include "tests/sim/block_checks.h"

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "tests/memory/memory_checker.h"

namespace ebb::sim {
namespace {

using Owners = std::map<memory::BlockId, int32_t>;

// A step in flight owns what it copies.
std::string CountCopied(const engine::EngineCore& core, Owners* owners) {
  for (const engine::Lane which : core.lanes.all()) {
    const engine::LaneState& lane = core.lane(which);
    if (!lane.in_flight && !lane.copied_from.empty()) return "a copy that is made holds blocks";
    for (const memory::BlockId block : lane.copied_from) ++(*owners)[block];
  }
  return "";
}

std::string CheckSequence(const engine::Sequence& sequence, const memory::KvMemory& memory,
                          Owners* owners) {
  if (!sequence.running() && sequence.table.block_count() > 0) return "waits with blocks";
  if (sequence.computed_tokens > sequence.table.capacity_tokens()) return "tokens, no blocks";
  if (sequence.state() == engine::SequenceState::kDecoding && !sequence.in_step &&
      sequence.remaining_tokens() != 1) {
    return "a decoding sequence with a prompt to run";
  }
  for (const memory::BlockId block : sequence.table.blocks()) {
    ++(*owners)[block];
    if (memory.pages().state(memory.geometry().PageOf(block)) != memory::PageState::kMapped) {
      return "a table names a page that is not mapped";
    }
  }
  return "";
}

std::string CheckSwap(const engine::Sequence& sequence, const memory::SwapSpace& space) {
  const engine::SwappedKv& swap = sequence.swap;
  const auto blocks = static_cast<int64_t>(swap.slots.size());
  switch (swap.state) {
    case engine::SwapState::kNone:
      return blocks > 0 ? "slots without a use" : "";
    case engine::SwapState::kLeaving:
    case engine::SwapState::kReturning:
      if (!sequence.running() || sequence.table.block_count() < blocks) return "copies of nothing";
      break;
    case engine::SwapState::kKept:
      // What it waits with comes from the prefix cache.
      if (sequence.table.block_count() > sequence.place.blocks) return "kept, and has blocks";
      if (sequence.in_step) return "kept, and is copied";
      for (const memory::SlotId slot : swap.slots) {
        if (!space.IsThere(space.ChunkOf(slot))) return "a kept block's chunk is not there";
      }
      break;
  }
  return swap.blocks_done > blocks ? "more copied than there is" : "";
}

}  // namespace

std::string CheckSlots(const engine::EngineCore& core) {
  const memory::SwapSpace& space = core.swaps().space();
  std::vector<std::vector<memory::SlotId>> owners;
  for (const engine::Sequence* sequence : core.order()) {
    if (const std::string broken = CheckSwap(*sequence, space); !broken.empty()) return broken;
    owners.push_back(sequence->swap.slots);
  }
  const memory::SwapPicture picture =
      memory::PictureOf(space, core.options.memory.swap_bytes_max, std::move(owners));
  const engine::SwapView view = core.swaps().View();
  if (view.used_bytes != picture.used_bytes || view.held_bytes != picture.held_bytes) {
    return "what is told of the swap space is not so";
  }
  return memory::FirstViolation(picture);
}

std::string CheckBlocks(const engine::EngineCore& core, memory::KvMemory& memory) {
  Owners owners;
  std::string broken = CountCopied(core, &owners);
  for (const engine::Sequence* sequence : core.order()) {
    if (broken.empty()) broken = CheckSequence(*sequence, memory, &owners);
  }
  if (!broken.empty()) return broken;
  for (const auto& [block, count] : owners) {
    if (memory.blocks().references(block) != count) return "references are not owners";
  }
  const int64_t blocks = static_cast<int64_t>(owners.size());
  if (memory.blocks().used_blocks() != blocks) return "a block without an owner";
  if (memory.accounts().used_total() != blocks) return "accounts do not add up";
  if (memory.accounts().granted_total() > memory.blocks().usable_blocks()) {
    return "granted more than there is";
  }
  if (core.running_count() > core.options.queue.running_sequences_max) {
    return "more sequences run than may";
  }
  return "";
}

}  // namespace ebb::sim

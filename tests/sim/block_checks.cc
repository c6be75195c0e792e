#include "tests/sim/block_checks.h"

#include <cstdint>
#include <map>
#include <set>

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
      if (sequence.table.block_count() > 0 || sequence.in_step) return "kept, and has blocks";
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
  std::set<memory::SlotId> owned;
  for (const engine::Sequence* sequence : core.order()) {
    if (const std::string broken = CheckSwap(*sequence, space); !broken.empty()) return broken;
    for (const memory::SlotId slot : sequence->swap.slots) {
      if (!space.IsTaken(slot)) return "a sequence has a slot that is free";
      if (!owned.insert(slot).second) return "a slot of two sequences";
    }
  }
  if (space.used_slots() != static_cast<int32_t>(owned.size())) return "a slot without an owner";
  if (space.held_bytes() > core.options.memory.swap_bytes_max) return "more swap space than may be";
  return "";
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

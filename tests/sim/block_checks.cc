#include "tests/sim/block_checks.h"

#include <cstdint>
#include <map>

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

}  // namespace

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

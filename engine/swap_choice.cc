#include "engine/swap_choice.h"

#include <algorithm>
#include <optional>

#include "engine/forks.h"
#include "engine/prefixes.h"
#include "engine/step_timing.h"

namespace ebb::engine {
namespace {

// Blocks that others use too, and that it would find again in the prefix cache.
int64_t BlocksFoundAgain(const EngineCore& core, const Sequence& sequence) {
  const absl::Span<const memory::BlockId> blocks = sequence.table.blocks();
  int64_t count = 0;
  while (count < std::min(sequence.place.blocks, sequence.table.block_count()) &&
         core.parts.memory->blocks().references(blocks[static_cast<size_t>(count)]) > 1) {
    ++count;
  }
  return count;
}

// What it takes until one that gives way now is back.
struct Ways {
  absl::Duration recompute;  // Alone, what it would not find.
  absl::Duration swap;       // Out, and what it would not find in.
};

Ways WaysOf(const EngineCore& core, const Sequence& sequence) {
  const memory::KvGeometry& geometry = core.parts.memory->geometry();
  const int64_t found_blocks = BlocksFoundAgain(core, sequence);
  const int64_t found = found_blocks * geometry.block_tokens();
  const int64_t tokens = sequence.computed_tokens - found;
  const int64_t chunk = core.options.step.chunk_tokens_max;
  const int64_t steps = std::max<int64_t>(1, (tokens + chunk - 1) / chunk);
  const Lane lane = core.lanes.Of(SequenceState::kPrefilling);
  // The model is linear, so that the mean step stands for all.
  memory::StepShape shape;
  shape.rows = tokens / steps;
  shape.context_tokens = (found * tokens + tokens * (tokens + 1) / 2) / steps;
  shape.other_lane_busy = OtherExecutes(core, lane);
  const int64_t blocks = geometry.BlocksFor(sequence.computed_tokens);
  return {steps * core.lane(lane).times.Predict(shape),
          core.swaps().OutTime(blocks * geometry.block_bytes()) +
              core.swaps().InTime((blocks - found_blocks) * geometry.block_bytes())};
}

bool SwapIsFaster(const Ways& ways) { return ways.swap < ways.recompute; }

// Why it cannot be kept, although that would be cheaper.
std::optional<SwapFallback> Obstacle(const EngineCore& core, const Sequence& sequence) {
  const memory::KvMemory& memory = *core.parts.memory;
  if (memory.over_limit()) return SwapFallback::kLimit;
  const int64_t count = memory.geometry().BlocksFor(sequence.computed_tokens);
  if (count > core.swaps().space().free_slots()) return SwapFallback::kFull;
  return std::nullopt;
}

bool IsKept(const Sequence& sequence) {
  return sequence.swap.state == SwapState::kKept || sequence.swap.state == SwapState::kReturning;
}

// It has what the cache holds of it, and room for the rest, which is copied.
void StartReturn(EngineCore* core, Sequence* sequence) {
  AdoptPrefix(core, sequence);
  if (sequence->computed_tokens >= sequence->swap.tokens) {
    core->swaps().Forget(sequence, core->Now());
    return;
  }
  CHECK(sequence->table.TryExtendTo(sequence->swap.tokens));
  core->swaps().BeginIn(sequence);
  core->wakeups.Wake(Actor::kSwap);
}

// What it waits for, or its next chunk takes: that goes before those behind it.
int64_t BlocksAhead(const EngineCore& core, const Sequence& sequence) {
  if (sequence.swap.state == SwapState::kKept) return BlocksToReturn(sequence);
  return sequence.table.MissingBlocks(
      sequence.computed_tokens +
      std::min(sequence.remaining_tokens(), core.options.step.chunk_tokens_max));
}

}  // namespace

double RestoringCost(const EngineCore& core, const Sequence& sequence) {
  if (!core.swaps().on()) return sequence.computed_tokens;
  if (IsKept(sequence)) {
    const memory::KvGeometry& geometry = core.parts.memory->geometry();
    return absl::ToDoubleSeconds(
        core.swaps().InTime(geometry.BlocksFor(sequence.swap.tokens) * geometry.block_bytes()));
  }
  const Ways ways = WaysOf(core, sequence);
  const bool may_swap = !Obstacle(core, sequence).has_value();
  return absl::ToDoubleSeconds(may_swap ? std::min(ways.recompute, ways.swap) : ways.recompute);
}

bool GiveBlocksUp(EngineCore* core, Sequence* sequence) {
  if (core->swaps().on() && sequence->swap.state == SwapState::kNone &&
      sequence->computed_tokens > 0 && SwapIsFaster(WaysOf(*core, *sequence))) {
    const std::optional<SwapFallback> obstacle = Obstacle(*core, *sequence);
    if (!obstacle.has_value()) {
      core->swaps().BeginOut(sequence,
                             core->memory().geometry().BlocksFor(sequence->computed_tokens));
      core->wakeups.Wake(Actor::kSwap);
      return false;
    }
    core->swaps().CountFallback(*obstacle);
  }
  core->Preempt(sequence);
  return true;
}

void StopLeaving(EngineCore* core) {
  const std::vector<Sequence*> leaving = core->swaps().leaving();
  for (Sequence* sequence : leaving) {
    if (sequence->in_step) {
      sequence->swap.stops = true;
      continue;
    }
    core->swaps().CountFallback(SwapFallback::kLimit);
    core->Preempt(sequence);
  }
}

void StartReturns(EngineCore* core, Lane which) {
  if (!core->swaps().on()) return;
  const std::vector<Sequence*> executing = core->Executing(which);
  if (std::none_of(executing.begin(), executing.end(), [](const Sequence* sequence) {
        return sequence->swap.state == SwapState::kKept;
      })) {
    return;
  }
  memory::Accounts& accounts = core->memory().accounts();
  const memory::AccountId account = AccountOf(which);
  int64_t grant_left = accounts.TopUp(account) - accounts.used(account);
  for (const Sequence* sequence : executing) {
    if (sequence->state() == SequenceState::kDecoding && !sequence->copying()) {
      grant_left -= BlocksForNextToken(*core, *sequence);
    }
  }
  for (Sequence* sequence : executing) {
    if (sequence->state() == SequenceState::kDecoding || sequence->copying()) continue;
    grant_left = std::max<int64_t>(0, grant_left);
    const int64_t used_before = accounts.used(account);
    if (sequence->swap.state == SwapState::kKept && BlocksToReturn(*sequence) <= grant_left) {
      StartReturn(core, sequence);
    }
    grant_left -= accounts.used(account) - used_before;
    if (!sequence->copying()) grant_left -= BlocksAhead(*core, *sequence);
  }
}

}  // namespace ebb::engine

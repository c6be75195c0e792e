#include "engine/forks.h"

#include <algorithm>
#include <optional>

#include "base/check.h"

namespace ebb::engine {
namespace {

// Who is left alone with a full block writes its last row once more: meanwhile nobody finds it.
void ForgetWritten(EngineCore* core, const Sequence& sequence, int32_t position) {
  const int64_t index = position / core->memory().geometry().block_tokens();
  if (index >= std::min(sequence.place.blocks, sequence.table.block_count())) return;
  core->memory().prefix_cache()->Forget(sequence.table.blocks()[static_cast<size_t>(index)]);
}

}  // namespace

void ForkAnswers(EngineCore* core, Sequence* first) {
  CHECK(first->state() == SequenceState::kDecoding && !first->in_step);
  LiveRequest& owner = *first->owner;
  const int32_t computed_tokens = first->prompt_tokens() - 1;
  const bool shares = !first->leaving();
  if (shares) first->forked_blocks = core->memory().geometry().BlocksFor(computed_tokens);
  for (; owner.unforked_answers > 0; --owner.unforked_answers) {
    Sequence* sequence = core->AddSequence(first->owner, owner.request.n - owner.unforked_answers);
    sequence->started = first->started;
    sequence->prompt_logprobs_sent = true;  // By the first.
    if (!shares) continue;
    sequence->table.ShareFrom(first->table, computed_tokens);
    sequence->forked_blocks = sequence->table.block_count();
    sequence->computed_tokens = computed_tokens;
    sequence->chain = first->chain;
    sequence->place = first->place;
    // It computes its prompt's last token for itself: a full block that ends with it stays the
    // first one's.
    const int64_t own = computed_tokens / core->memory().geometry().block_tokens();
    sequence->place.lost |= sequence->place.blocks > own;
    sequence->MoveTo(SequenceState::kDecoding);
  }
}

bool IsShared(const EngineCore& core, const Sequence& sequence, int32_t position) {
  const int64_t index = position / core.parts.memory->geometry().block_tokens();
  if (index >= std::min(sequence.maybe_shared_blocks(), sequence.table.block_count())) return false;
  const memory::BlockId block = sequence.table.blocks()[static_cast<size_t>(index)];
  // A step that copies it is no table.
  const LaneState& lane = core.lane(core.lanes.Of(SequenceState::kDecoding));
  const auto copies = std::count(lane.copied_from.begin(), lane.copied_from.end(), block);
  return core.parts.memory->blocks().references(block) - copies > 1;
}

int64_t BlocksForNextToken(const EngineCore& core, const Sequence& sequence) {
  return sequence.table.MissingBlocks(sequence.computed_tokens + 1) +
         (IsShared(core, sequence, sequence.computed_tokens) ? 1 : 0);
}

bool TryTakeForNextToken(EngineCore* core, Sequence* sequence, Batch* batch) {
  const int32_t position = sequence->computed_tokens;
  if (!IsShared(*core, *sequence, position)) {
    ForgetWritten(core, *sequence, position);
    return sequence->table.TryExtendTo(position + 1);
  }
  const memory::KvGeometry& geometry = core->memory().geometry();
  const std::optional<memory::BlockMove> move =
      sequence->table.TryReplace(position / geometry.block_tokens());
  if (!move.has_value()) return false;
  batch->copies.push_back({geometry.TableIndex(move->from), geometry.TableIndex(move->to)});
  core->lane(batch->lane).copied_from.push_back(move->from);
  return true;
}

void ReturnCopied(EngineCore* core, Lane which) {
  LaneState& lane = core->lane(which);
  if (lane.copied_from.empty()) return;
  core->memory().accounts().Return(lane.copied_from);
  lane.copied_from.clear();
  core->wakeups.WakeAll();  // Blocks may be free.
}

}  // namespace ebb::engine

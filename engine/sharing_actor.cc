#include "engine/sharing_actor.h"

#include <algorithm>

namespace ebb::engine {
namespace {

// Without work and without memory there is nothing that others wait for.
constexpr absl::Duration kIdlePollTime = absl::Milliseconds(500);

}  // namespace

SharingActor::SharingActor(EngineCore* core) : core_(core) {
  if (core_->parts.sharing == nullptr) return;
  base::MutexLock lock(&core_->mutex);
  core_->memory().SetLease(0, memory::kUnboundedBytes);
}

SharingActor::Pass SharingActor::Renew() {
  memory::Sharing* const sharing = core_->parts.sharing;
  if (sharing == nullptr) return {};
  memory::LedgerSeat::Needs needs;
  {
    base::MutexLock lock(&core_->mutex);
    needs = NeedsLocked();
    needs.committed_bytes = CommittedBytes();
  }
  const absl::StatusOr<int64_t> free_bytes = core_->parts.vmm->FreeBytes();
  if (free_bytes.ok()) needs.free_bytes = *free_bytes - core_->options.memory.headroom_bytes;
  const memory::LedgerSeat::Answer answer =
      sharing->Renew(needs, core_->memory().geometry().page_bytes());
  if (!answer.pressed) {
    pressed_since_ = absl::InfiniteFuture();
  } else {
    pressed_since_ = std::min(pressed_since_, core_->Now());
  }
  Pass pass;
  const bool idle = needs.wanted_bytes == 0 && needs.held_bytes == 0;
  pass.owes = answer.keep_bytes < needs.held_bytes;
  pass.next_run = core_->Now() + (idle ? kIdlePollTime : memory::kLedgerPollTime);
  base::MutexLock lock(&core_->mutex);
  if (sharing->joined()) core_->NoteShare(answer.share_bytes);
  pass.changed = core_->memory().SetLease(answer.lease_bytes, answer.keep_bytes);
  core_->SetSharing(answer.first_yields, answer.capacity_bytes,
                    answer.pressed ? answer.share_bytes : memory::kUnboundedBytes);
  // What others lack counts at once: windows that were planned with more end now.
  core_->memory().OnBoundary();
  return pass;
}

// What all requests together would hold, and what is kept for them, if this server were alone.
memory::LedgerSeat::Needs SharingActor::NeedsLocked() const {
  const memory::KvGeometry& geometry = core_->memory().geometry();
  memory::LedgerSeat::Needs needs;
  const MemoryView view = core_->MemoryLocked();
  needs.held_bytes = view.held_bytes;
  needs.needed_bytes = view.needed_bytes;
  needs.ceiling_bytes = view.limit_bytes;
  const MemoryOptions& options = core_->options.memory;
  if (core_->order().empty() && options.keep_bytes == 0) return needs;
  int64_t blocks = 0;
  BlockCensus census(core_->memory());
  for (const Sequence* sequence : core_->order()) {
    blocks += ExpectedBlocks(*sequence, census.Count(*sequence));
  }
  // Each queue's slack, the page that it has begun, and what is made ready.
  const int64_t queue_count = static_cast<int64_t>(core_->lanes.all().size());
  const int64_t pages = geometry.PagesFor(blocks) +
                        queue_count * (int64_t{options.slack_pages} + 1) + options.prepared_pages;
  // What is only cached goes as soon as others lack memory.
  const int64_t cached_bytes = core_->memory().blocks().kept_only_pages() * geometry.page_bytes();
  needs.wanted_bytes = std::max({view.held_bytes - cached_bytes, pages * geometry.page_bytes(),
                                 options.keep_bytes}) +
                       core_->WorkspaceBytesMax();
  needs.wanted_bytes = std::min(needs.wanted_bytes, std::max(view.held_bytes, view.limit_bytes));
  AddFirst(&needs);
  return needs;
}

// What the first of the order is expected to hold at its end, were it alone: one answer.
void SharingActor::AddFirst(memory::LedgerSeat::Needs* needs) const {
  if (core_->order().empty()) return;
  const Sequence& first = **core_->order().begin();
  const memory::KvGeometry& geometry = core_->memory().geometry();
  const int64_t context = core_->parts.limits.context_tokens_max;
  const int64_t tokens = static_cast<int64_t>(first.tokens.size()) + first.may_make_tokens(context);
  needs->first_bytes =
      geometry.PagesFor(geometry.BlocksFor(ExpectedTokens(first))) * geometry.page_bytes() +
      core_->WorkspaceBytesAlone(tokens, first.wants_prompt_logprobs());
  needs->first_bytes = std::min(needs->first_bytes, needs->wanted_bytes);
  needs->first_unix_ms = absl::ToUnixMillis(first.arrived);
}

// At its end, as far as one can tell now.
int64_t SharingActor::ExpectedTokens(const Sequence& sequence) const {
  const int64_t expected = sequence.prompt_tokens() + core_->ExpectedTokens(sequence);
  const int64_t may_make = sequence.may_make_tokens(core_->parts.limits.context_tokens_max);
  // Wherever an answer stands, its next window goes on from there.
  const int64_t next = static_cast<int64_t>(sequence.tokens.size()) +
                       std::min<int64_t>(may_make, core_->options.window.decode_steps);
  return std::max(expected, next);
}

// What it adds to those before it, with the answers that are to fork from it.
int64_t SharingActor::ExpectedBlocks(const Sequence& sequence,
                                     const BlockCensus::Part& part) const {
  const memory::KvGeometry& geometry = core_->memory().geometry();
  const int64_t tokens = ExpectedTokens(sequence);
  return geometry.BlocksFor(tokens) - part.shared_blocks +
         UnforkedBlocks(sequence, tokens - sequence.prompt_tokens(), geometry);
}

// What those need that ran before others lacked anything, for as long as the grace time lasts. To
// preempt them would only cost their recomputation: who comes later waits no longer than they take.
int64_t SharingActor::CommittedBytes() const {
  if (core_->Now() - pressed_since_ >= core_->options.memory.sharing_grace) return 0;
  const memory::KvGeometry& geometry = core_->memory().geometry();
  int64_t blocks = 0;
  BlockCensus census(core_->memory());
  for (const Sequence* sequence : core_->order()) {
    if (!sequence->running() || sequence->leaving() || sequence->started > pressed_since_) continue;
    blocks += ExpectedBlocks(*sequence, census.Count(*sequence));
  }
  if (blocks == 0) return 0;
  // And the page that each queue has begun.
  const int64_t queue_count = static_cast<int64_t>(core_->lanes.all().size());
  return (geometry.PagesFor(blocks) + queue_count) * geometry.page_bytes() +
         core_->WorkspaceBytesMax();
}

}  // namespace ebb::engine

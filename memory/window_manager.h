// WindowManager: the time for which memory is planned, and what a queue needs within it. Pure:
// numbers in, a decision out. The engine carries the decision out (KvMemory::OpenWindow) and logs
// its fields.
//
// The rule, from patents CN119248525B (prefill and decode apart) and CN119248522A: a window's
// length comes from the durations of the requests now executing; the demand within it is static
// use plus dynamic use; memory is allocated by that demand if the condition holds, else memory of
// decode requests is released until it does; when the window ends, the next is derived likewise.
//
//   pages                          demand = static + dynamic + slack
//     |          .-----. slack
//     |    .-----' dyn '-----.
//     |----'     static      '-------
//     +----|-----------------|------> time
//        open               close
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "memory/kv_geometry.h"
#include "memory/memory_budget.h"
#include "memory/step_time_model.h"

namespace ebb::memory {

enum class WindowQueue {
  kPrefill,
  kDecode,
  kOne,  // Prompts and decoding sequences together.
};
absl::string_view WindowQueueName(WindowQueue queue);  // "prefill", "decode", "one"

// Where the static part comes from; the plan shows both.
enum class StaticEstimator {
  kByTokens,  // Token counts, rounded to blocks.
  kByUsage,   // What the account is charged for.
};

// Blocks that one more answer takes of its own when it makes so many tokens after a prompt: it
// shares the full ones before the prompt's last token, whose row it computes itself.
int64_t AnswerBlocks(int64_t prompt_tokens, int64_t made_tokens, int32_t block_tokens);

struct WindowSettings {
  absl::Duration min_length = absl::Milliseconds(20);
  absl::Duration max_length = absl::Milliseconds(500);
  int32_t decode_steps = 16;   // Length of a decode window; of one of the one queue, at most.
  int32_t chunk_tokens = 128;  // Prompt tokens in one prefill step.
  int64_t slack_blocks = 0;    // Demanded beside what is predicted.
  StaticEstimator estimator = StaticEstimator::kByTokens;
};

// What memory looks like to a queue at its boundary. From KvMemory::WindowMemoryOf.
struct WindowMemory {
  int32_t block_tokens = 0;
  int32_t blocks_per_page = 0;
  int64_t page_bytes = 0;
  int64_t page_count_max = 0;  // Of the range, less quarantined pages.
  int64_t mapped_pages = 0;
  int64_t coming_pages = 0;  // Mapped and on the way.
  int64_t held_pages = 0;    // Coming, prepared, and those that are being given back.
  int64_t empty_pages = 0;   // Mapped pages without a block in use.
  int64_t used_blocks = 0;   // This queue's.
  int64_t granted_blocks = 0;
  int64_t others_blocks = 0;  // What the other accounts want or use.
  GrowthBounds bounds;        // Held and free after what workspaces still lack.

  // Pages that this process can have when the condition is kept; below held_pages when the limit
  // was lowered.
  int64_t CapacityPages() const;
  // Blocks of those pages. Admission asks whether a request fits into it.
  int64_t CapacityBlocks() const { return CapacityPages() * blocks_per_page; }
};

// One sequence of the executing set.
struct PrefillSequence {
  int64_t cached_tokens = 0;     // Tokens whose keys and values are in its blocks.
  int64_t remaining_tokens = 0;  // Prompt tokens still to process (recomputed ones too).
  int64_t may_make_tokens = 0;   // What it may generate at most.
  int64_t held_blocks = 0;
  int64_t answers = 1;        // So many go on from its end, each in blocks of its own from there.
  int64_t shared_blocks = 0;  // Its first so many are counted for another.
};
struct DecodeSequence {
  int64_t cached_tokens = 0;
  int64_t may_make_tokens = 0;
  int64_t held_blocks = 0;    // Those that another of the set is counted for are not among them,
  int64_t shared_blocks = 0;  // and so many of these, the first, it goes on sharing.
};

enum class WindowReason {
  kEmpty,    // Nothing executes.
  kSteady,   // The mapped pages do.
  kGrow,     // Pages are asked for, and the condition allows them.
  kLimit,    // The condition fails: the limit.
  kLease,    // ... the lease.
  kFree,     // ... the device's free memory.
  kCeiling,  // ... the reserved range ends.
};
absl::string_view WindowReasonName(WindowReason reason);

// The decision, and the window's log line.
struct WindowPlan {
  WindowQueue queue = WindowQueue::kDecode;
  WindowReason reason = WindowReason::kEmpty;
  absl::Duration length;
  int32_t steps = 0;  // It ends after so many. Prefill: predicted.
  int64_t sequences = 0;
  int64_t static_blocks = 0;  // By the estimator of the settings.
  int64_t static_blocks_by_tokens = 0;
  int64_t static_blocks_by_usage = 0;
  int64_t dynamic_blocks = 0;
  int64_t slack_blocks = 0;   // What of the slack the condition allows.
  int64_t demand_blocks = 0;  // static + dynamic + slack.
  int64_t grant_blocks = 0;   // What of the demand the condition allows; never below used.
  int64_t pages_before = 0;   // Mapped, of all queues.
  int64_t pages_after = 0;    // Wanted, of all queues, within the condition.
  int64_t request_pages = 0;  // To map: pages_after beyond what is mapped or on the way.
  // What must go before the condition holds, counted in blocks that are used or would be; and in
  // pages that must become empty. Both 0 when it holds. ReleasePlan finds the victims.
  int64_t release_blocks = 0;
  int64_t release_pages = 0;

  bool fits() const { return release_blocks == 0 && release_pages == 0; }
};

// How a window stands.
struct WindowProgress {
  absl::Duration elapsed;
  int32_t steps = 0;              // Steps completed in it.
  bool set_empty = false;         // Nothing of the queue executes any more.
  bool set_waiting = false;       // The queue's steps cannot go on: a sequence lacks a block.
  bool limit_pending = false;     // A lowered limit waits for the boundary.
  bool arrivals_waiting = false;  // Requests could start at a boundary.
};

// Immutable after construction; thread-compatible.
class WindowManager {
 public:
  WindowManager(WindowQueue queue, const WindowSettings& settings);

  WindowQueue queue() const { return queue_; }
  const WindowSettings& settings() const { return settings_; }

  // REQUIRES: queue() == kPrefill. `sequences` in the order in which they are processed.
  WindowPlan PlanPrefill(absl::Span<const PrefillSequence> sequences, const WindowMemory& memory,
                         const StepTimeModel& model, bool other_lane_busy) const;
  // REQUIRES: queue() == kDecode.
  WindowPlan PlanDecode(absl::Span<const DecodeSequence> sequences, const WindowMemory& memory,
                        const StepTimeModel& model, bool other_lane_busy) const;
  // REQUIRES: queue() == kOne, chunk_tokens >= 1. Each step makes a token for each sequence that
  // decodes and takes up to `chunk_tokens` tokens of the prompts, in their order; a prompt that is
  // done decodes from then on.
  WindowPlan PlanOne(absl::Span<const PrefillSequence> prompts,
                     absl::Span<const DecodeSequence> decoding, int64_t chunk_tokens,
                     const WindowMemory& memory, const StepTimeModel& model) const;

  // Blocks that a sequence, with the `answers` that go on from it, will grow by in decode's first
  // window, after its prefill.
  int64_t FirstGrowthBlocks(int64_t cached_tokens, int64_t held_blocks, int64_t may_make_tokens,
                            int64_t answers, int32_t block_tokens) const;

  // Whether the window is over: its steps are done (prefill: its length is over), its set is empty,
  // or it closes early because something waits for the boundary; early never before
  // min_length, unless the set is empty or the limit was lowered.
  bool IsOver(const WindowPlan& plan, const WindowProgress& progress) const;

 private:
  // Adds the prompts' tokens, cached and to be processed, and for each that is done what it makes
  // in `steps_after` steps.
  void AddPrompts(absl::Span<const PrefillSequence> prompts, absl::Span<const int64_t> processed,
                  int64_t steps_after, int32_t block_tokens, WindowPlan* plan) const;

  const WindowQueue queue_;
  const WindowSettings settings_;
};

}  // namespace ebb::memory

#include "memory/window_manager.h"

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace ebb::memory {
namespace {

int64_t BlocksFor(int64_t tokens, int32_t block_tokens) {
  return (tokens + block_tokens - 1) / block_tokens;
}

int64_t PagesFor(int64_t blocks, int32_t blocks_per_page) {
  return (blocks + blocks_per_page - 1) / blocks_per_page;
}

WindowReason ReasonOf(Bound bound) {
  switch (bound) {
    case Bound::kLimit:
      return WindowReason::kLimit;
    case Bound::kLease:
      return WindowReason::kLease;
    case Bound::kFree:
      return WindowReason::kFree;
  }
  return WindowReason::kLimit;
}

// Adds one sequence to the plan's static and dynamic parts.
void AddSequence(const WindowSettings& settings, int32_t block_tokens,
                 const DecodeSequence& sequence, int64_t growth_tokens, WindowPlan* plan) {
  const int64_t shared = sequence.shared_blocks;
  const int64_t by_tokens = BlocksFor(sequence.cached_tokens, block_tokens) - shared;
  const bool usage = settings.estimator == StaticEstimator::kByUsage;
  plan->static_blocks_by_tokens += by_tokens;
  const int64_t after = BlocksFor(sequence.cached_tokens + growth_tokens, block_tokens) - shared;
  plan->dynamic_blocks += std::max<int64_t>(0, after - (usage ? sequence.held_blocks : by_tokens));
  ++plan->sequences;
}

// How far prompts have come in the steps that are played through.
struct PromptProgress {
  std::vector<int64_t> processed;  // Tokens, of each.
  size_t next = 0;                 // The first that is not done.
};

// One step takes the next `chunk_tokens` tokens, in order.
void TakeChunk(absl::Span<const PrefillSequence> prompts, int64_t chunk_tokens,
               PromptProgress* progress, StepShape* step) {
  while (progress->next < prompts.size() && chunk_tokens > 0) {
    const PrefillSequence& prompt = prompts[progress->next];
    int64_t& processed = progress->processed[progress->next];
    const int64_t rows = std::min(chunk_tokens, prompt.remaining_tokens - processed);
    // A row attends to itself and to all before it.
    step->rows += rows;
    step->context_tokens += rows * (prompt.cached_tokens + processed) + rows * (rows + 1) / 2;
    processed += rows;
    chunk_tokens -= rows;
    if (processed == prompt.remaining_tokens) ++progress->next;
  }
}

// A step's token for each sequence that may still make one after `steps_before` of them.
void AddDecodeRows(absl::Span<const DecodeSequence> sequences, int64_t steps_before,
                   StepShape* step) {
  for (const DecodeSequence& sequence : sequences) {
    if (sequence.may_make_tokens <= steps_before) continue;
    ++step->rows;
    step->context_tokens += sequence.cached_tokens + steps_before + 1;
  }
}

// From demand to decision: the allocation condition, and what must go where it fails.
void Decide(const WindowSettings& settings, const WindowMemory& memory, WindowPlan* plan) {
  plan->static_blocks_by_usage = memory.used_blocks;
  plan->static_blocks = settings.estimator == StaticEstimator::kByUsage
                            ? plan->static_blocks_by_usage
                            : plan->static_blocks_by_tokens;
  plan->pages_before = memory.mapped_pages;
  const int64_t capacity_pages = memory.CapacityPages();
  const int64_t capacity_blocks =
      std::max<int64_t>(0, memory.CapacityBlocks() - memory.others_blocks);
  // A sequence may hold blocks that its tokens do not fill yet.
  const int64_t needed = std::max(plan->static_blocks + plan->dynamic_blocks, memory.used_blocks);
  plan->release_blocks = std::max<int64_t>(0, needed - capacity_blocks);
  plan->release_pages =
      std::max<int64_t>(0, memory.mapped_pages - memory.empty_pages - capacity_pages);
  // Slack is what one would like: it never makes anyone wait.
  const int64_t slack = plan->sequences > 0 ? settings.slack_blocks : 0;
  plan->slack_blocks = std::clamp<int64_t>(capacity_blocks - needed, 0, slack);
  plan->demand_blocks = plan->static_blocks + plan->dynamic_blocks + plan->slack_blocks;
  plan->grant_blocks = std::max(
      memory.used_blocks,
      std::min(std::max(plan->demand_blocks, needed + plan->slack_blocks), capacity_blocks));
  plan->pages_after = std::min(
      capacity_pages, PagesFor(plan->grant_blocks + memory.others_blocks, memory.blocks_per_page));
  plan->request_pages = std::max<int64_t>(0, plan->pages_after - memory.coming_pages);
  if (!plan->fits()) {
    plan->reason = capacity_pages == memory.page_count_max
                       ? WindowReason::kCeiling
                       : ReasonOf(memory.bounds.TightestBound());
  } else if (plan->sequences == 0) {
    plan->reason = WindowReason::kEmpty;
  } else {
    plan->reason = plan->request_pages > 0 ? WindowReason::kGrow : WindowReason::kSteady;
  }
}

}  // namespace

int64_t AnswerBlocks(int64_t prompt_tokens, int64_t made_tokens, int32_t block_tokens) {
  return BlocksFor(prompt_tokens - 1 + made_tokens, block_tokens) -
         (prompt_tokens - 1) / block_tokens;
}

absl::string_view WindowQueueName(WindowQueue queue) {
  switch (queue) {
    case WindowQueue::kPrefill:
      return "prefill";
    case WindowQueue::kDecode:
      return "decode";
    case WindowQueue::kOne:
      return "one";
  }
  return "unknown";
}

absl::string_view WindowReasonName(WindowReason reason) {
  switch (reason) {
    case WindowReason::kEmpty:
      return "empty";
    case WindowReason::kSteady:
      return "steady";
    case WindowReason::kGrow:
      return "grow";
    case WindowReason::kLimit:
      return "limit";
    case WindowReason::kLease:
      return "lease";
    case WindowReason::kFree:
      return "free";
    case WindowReason::kCeiling:
      return "ceiling";
  }
  return "unknown";
}

int64_t WindowMemory::CapacityPages() const {
  const int64_t growable = bounds.GrowableBytes();
  // Rounded down, also below 0: a part of a page over the limit costs a page.
  const int64_t pages =
      growable >= 0 ? growable / page_bytes : -((-growable + page_bytes - 1) / page_bytes);
  return std::clamp<int64_t>(held_pages + pages, 0, page_count_max);
}

WindowManager::WindowManager(WindowQueue queue, const WindowSettings& settings)
    : queue_(queue), settings_(settings) {
  CHECK(settings_.min_length >= absl::ZeroDuration());
  CHECK(settings_.max_length >= settings_.min_length);
  CHECK_GE(settings_.decode_steps, 1);
  CHECK_GE(settings_.chunk_tokens, 1);
  CHECK_GE(settings_.slack_blocks, 0);
}

WindowPlan WindowManager::PlanPrefill(absl::Span<const PrefillSequence> sequences,
                                      const WindowMemory& memory, const StepTimeModel& model,
                                      bool other_lane_busy) const {
  CHECK(queue_ == WindowQueue::kPrefill);
  WindowPlan plan;
  plan.queue = queue_;
  // Plays the steps through.
  PromptProgress progress{std::vector<int64_t>(sequences.size(), 0)};
  absl::Duration elapsed;
  while (progress.next < sequences.size() && elapsed < settings_.max_length) {
    StepShape step{0, 0, other_lane_busy};
    TakeChunk(sequences, settings_.chunk_tokens, &progress, &step);
    elapsed += model.Predict(step);
    ++plan.steps;
  }
  // One that is done will be handed to decode, and must last there until decode's next boundary.
  AddPrompts(sequences, progress.processed, settings_.decode_steps, memory.block_tokens, &plan);
  if (plan.sequences > 0) {
    plan.length = std::clamp(elapsed, settings_.min_length, settings_.max_length);
  }
  Decide(settings_, memory, &plan);
  return plan;
}

void WindowManager::AddPrompts(absl::Span<const PrefillSequence> prompts,
                               absl::Span<const int64_t> processed, int64_t steps_after,
                               int32_t block_tokens, WindowPlan* plan) const {
  for (size_t i = 0; i < prompts.size(); ++i) {
    const PrefillSequence& prompt = prompts[i];
    CHECK(prompt.cached_tokens >= 0 && prompt.remaining_tokens >= 0);
    int64_t growth = processed[i];
    if (processed[i] == prompt.remaining_tokens) {
      const int64_t made = std::min<int64_t>(steps_after, prompt.may_make_tokens);
      growth += made;
      const int64_t tokens = prompt.cached_tokens + prompt.remaining_tokens;
      plan->dynamic_blocks += (prompt.answers - 1) * AnswerBlocks(tokens, made, block_tokens);
    }
    AddSequence(settings_, block_tokens,
                {prompt.cached_tokens, 0, prompt.held_blocks, prompt.shared_blocks}, growth, plan);
  }
}

WindowPlan WindowManager::PlanDecode(absl::Span<const DecodeSequence> sequences,
                                     const WindowMemory& memory, const StepTimeModel& model,
                                     bool other_lane_busy) const {
  CHECK(queue_ == WindowQueue::kDecode);
  WindowPlan plan;
  plan.queue = queue_;
  int64_t steps = 0;
  for (const DecodeSequence& sequence : sequences) {
    CHECK(sequence.cached_tokens >= 0 && sequence.may_make_tokens >= 0);
    const int64_t growth = std::min<int64_t>(settings_.decode_steps, sequence.may_make_tokens);
    AddSequence(settings_, memory.block_tokens, sequence, growth, &plan);
    steps = std::max(steps, growth);
  }
  plan.steps = static_cast<int32_t>(steps);
  for (int64_t s = 0; s < steps; ++s) {
    StepShape step{0, 0, other_lane_busy};
    AddDecodeRows(sequences, s, &step);
    plan.length += model.Predict(step);
  }
  Decide(settings_, memory, &plan);
  return plan;
}

WindowPlan WindowManager::PlanOne(absl::Span<const PrefillSequence> prompts,
                                  absl::Span<const DecodeSequence> decoding, int64_t chunk_tokens,
                                  const WindowMemory& memory, const StepTimeModel& model) const {
  CHECK(queue_ == WindowQueue::kOne);
  CHECK_GE(chunk_tokens, 1);
  WindowPlan plan;
  plan.queue = queue_;
  // Plays the steps through.
  PromptProgress progress{std::vector<int64_t>(prompts.size(), 0)};
  std::vector<DecodeSequence> done;  // Prompts, as if they had decoded since the window's start.
  while (plan.steps < settings_.decode_steps && plan.length < settings_.max_length) {
    StepShape step;
    AddDecodeRows(decoding, plan.steps, &step);
    AddDecodeRows(done, plan.steps, &step);
    const int64_t decode_rows = step.rows;
    const size_t done_before = progress.next;
    TakeChunk(prompts, chunk_tokens, &progress, &step);
    if (step.rows == 0) break;
    step.other_lane_busy = decode_rows > 0 && step.rows > decode_rows;
    plan.length += model.Predict(step);
    ++plan.steps;
    for (size_t i = done_before; i < progress.next; ++i) {
      // This step makes its first token.
      done.insert(done.end(), static_cast<size_t>(prompts[i].answers),
                  {prompts[i].cached_tokens + prompts[i].remaining_tokens - plan.steps,
                   prompts[i].may_make_tokens - 1 + plan.steps});
    }
  }
  // Wherever in the window a prompt is done, no more steps than the window has come after.
  AddPrompts(prompts, progress.processed, plan.steps, memory.block_tokens, &plan);
  for (const DecodeSequence& sequence : decoding) {
    CHECK(sequence.cached_tokens >= 0 && sequence.may_make_tokens >= 0);
    AddSequence(settings_, memory.block_tokens, sequence,
                std::min<int64_t>(plan.steps, sequence.may_make_tokens), &plan);
  }
  Decide(settings_, memory, &plan);
  return plan;
}

int64_t WindowManager::FirstGrowthBlocks(int64_t cached_tokens, int64_t held_blocks,
                                         int64_t may_make_tokens, int64_t answers,
                                         int32_t block_tokens) const {
  const int64_t growth = std::min<int64_t>(settings_.decode_steps, may_make_tokens);
  return std::max<int64_t>(0, BlocksFor(cached_tokens + growth, block_tokens) - held_blocks) +
         (answers - 1) * AnswerBlocks(cached_tokens, growth, block_tokens);
}

bool WindowManager::IsOver(const WindowPlan& plan, const WindowProgress& progress) const {
  if (progress.set_empty) return true;
  const bool done = queue_ == WindowQueue::kPrefill ? progress.elapsed >= plan.length
                                                    : progress.steps >= plan.steps;
  if (done) return true;
  // Under a lowered limit nothing waits.
  if (progress.limit_pending) return true;
  const bool wanted = progress.set_waiting || progress.arrivals_waiting;
  return wanted && progress.elapsed >= settings_.min_length;
}

}  // namespace ebb::memory

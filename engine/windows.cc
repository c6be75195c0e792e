#include "engine/windows.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/block_census.h"
#include "engine/compaction.h"
#include "engine/prefixes.h"
#include "engine/step_timing.h"
#include "engine/swap_choice.h"
#include "engine/window_outcome.h"

namespace ebb::engine {
namespace {

// Of those behind the ones that could start, so many may overtake: resident prefixes go first.
constexpr int32_t kOvertakersMax = 32;

memory::WindowSettings SettingsOf(const LocalEngineOptions& options, Lane lane,
                                  const memory::KvGeometry& geometry) {
  const WindowOptions& window = options.window;
  memory::WindowSettings settings;
  settings.min_length = lane == Lane::kPrefill ? window.prefill_min : window.decode_min;
  settings.max_length = lane == Lane::kPrefill ? window.prefill_max : window.decode_max;
  settings.decode_steps = window.decode_steps;
  settings.chunk_tokens = options.step.chunk_tokens_max;
  settings.slack_blocks = int64_t{options.memory.slack_pages} * geometry.blocks_per_page();
  settings.estimator = options.memory.static_estimator == StaticEstimator::kByUsage
                           ? memory::StaticEstimator::kByUsage
                           : memory::StaticEstimator::kByTokens;
  return settings;
}

nlohmann::ordered_json WindowLine(const memory::WindowPlan& plan,
                                  const memory::KvGeometry& geometry, const MemoryView& view,
                                  int64_t preemptions_total, double step_error) {
  return {{"queue", std::string(memory::WindowQueueName(plan.queue))},
          {"length_ms", absl::ToDoubleMilliseconds(plan.length)},
          {"steps", plan.steps},
          {"sequences", plan.sequences},
          {"static_blocks", plan.static_blocks},
          {"dynamic_blocks", plan.dynamic_blocks},
          {"slack_blocks", plan.slack_blocks},
          {"demand_blocks", plan.demand_blocks},
          {"demand_pages", geometry.PagesFor(plan.demand_blocks)},
          {"grant_blocks", plan.grant_blocks},
          {"pages_before", plan.pages_before},
          {"pages_after", plan.pages_after},
          {"reason", std::string(memory::WindowReasonName(plan.reason))},
          {"held_bytes", view.held_bytes},
          {"needed_bytes", view.needed_bytes},
          {"limit_bytes", view.limit_bytes},
          {"moved_bytes_total", view.moved_bytes_total},
          {"preemptions_total", preemptions_total},
          {"flips_per_minute", view.flips_per_minute},
          {"step_time_error", step_error}};
}

}  // namespace

Windows::Windows(EngineCore* core) : core_(core) {
  for (const Lane lane : core->lanes.all()) {
    managers_.emplace_back(core->lanes.queue(lane),
                           SettingsOf(core->options, lane, core->memory().geometry()));
  }
}

// ---- when

bool Windows::RequestsWait() const {
  return static_cast<int64_t>(core_->order().size()) > core_->running_count();
}

memory::WindowProgress Windows::ProgressOf(Lane which, absl::Time now) const {
  const OpenWindow& window = *core_->lane(which).window;
  memory::WindowProgress progress;
  progress.elapsed = now - window.opened;
  progress.steps = window.steps;
  progress.set_empty = core_->Executing(which).empty();
  progress.set_waiting = window.starved;
  // Its grants are still those of a higher limit.
  progress.limit_pending = core_->memory().budget().limit_bytes() < window.limit_bytes;
  if (TakesPrompts(which)) {
    progress.arrivals_waiting = RequestsWait();
  } else {
    // Prefill cannot go on: only decode's boundary can make room for it.
    const LaneState& prefill = core_->lane(Lane::kPrefill);
    progress.arrivals_waiting = prefill.window.has_value() && prefill.window->starved;
  }
  return progress;
}

bool Windows::IsDue(Lane which, absl::Time now) const {
  const LaneState& lane = core_->lane(which);
  if (lane.window.has_value()) {
    const memory::WindowProgress progress = ProgressOf(which, now);
    // A window that ends by its step count may find its steps slower than predicted.
    return progress.elapsed >= ManagerOf(which).settings().max_length ||
           ManagerOf(which).IsOver(lane.window->plan, progress);
  }
  if (!core_->Executing(which).empty()) return true;
  // A hand-over brings demand along even when no window is open to close it again.
  const memory::AccountId account = AccountOf(which);
  memory::Accounts& accounts = core_->memory().accounts();
  if (accounts.demand(account) > accounts.used(account)) return true;
  return TakesPrompts(which) && RequestsWait();
}

absl::Time Windows::NextDue(Lane which) const {
  const LaneState& lane = core_->lane(which);
  if (!lane.window.has_value()) return absl::InfiniteFuture();
  const absl::Duration shortest =
      std::min(ManagerOf(which).settings().min_length, lane.window->plan.length);
  const absl::Time early = lane.window->opened + shortest;
  const absl::Time end = lane.window->opened + lane.window->plan.length;
  const absl::Time now = core_->Now();
  return now < early ? early : now < end ? end : absl::InfiniteFuture();
}

// ---- a boundary

void Windows::Boundary(Lane which, absl::Time now, Outbox* outbox) {
  core_->memory().OnBoundary();
  CountWindow(core_, which, now);
  if (TakesPrompts(which)) {
    GiveUpHopeless(false, now, outbox);
    Admit(now);
  }
  SetFirstAccount();
  if (core_->Executing(which).empty()) {
    Close(which);
    return;
  }
  SetWorkspaceDemand(which);
  memory::WindowPlan plan = Plan(which, now);
  if (!plan.fits() && ForgoSlackBeside(which)) plan = Plan(which, now);
  if (!plan.fits() && !MovingSuffices(core_, which, plan) &&
      (Decodes(which) || core_->InState(SequenceState::kDecoding).empty())) {
    plan = MakeRoom(which, plan, now, outbox);
  }
  if (core_->Executing(which).empty()) {
    Close(which);
    return;
  }
  Open(which, plan, now, outbox);
}

void Windows::Close(Lane which) {
  LaneState& lane = core_->lane(which);
  core_->workspace(which).SetDemand(0);
  memory::Accounts& accounts = core_->memory().accounts();
  const memory::AccountId account = AccountOf(which);
  if (!lane.window.has_value() && accounts.demand(account) <= accounts.used(account)) return;
  lane.window.reset();
  core_->memory().CloseWindow(account);
  core_->wakeups.Wake(Actor::kKeeper);
}

void Windows::Open(Lane which, const memory::WindowPlan& plan, absl::Time now, Outbox* outbox) {
  LaneState& lane = core_->lane(which);
  core_->memory().OpenWindow(AccountOf(which), plan);
  if (!Decodes(which) && !plan.fits() && PrefillGoesFirst()) {
    // The grant is what is there; the demand is what it takes, so that decode's next boundary finds
    // its own window too large and makes room for those that go before.
    core_->memory().accounts().SetDemand(AccountOf(which),
                                         plan.static_blocks + plan.dynamic_blocks);
  }
  OpenWindow window;
  window.plan = plan;
  window.opened = now;
  window.limit_bytes = core_->memory().budget().limit_bytes();
  for (const Sequence* sequence : core_->Executing(which)) window.sequences.insert(sequence->id);
  lane.window = window;
  core_->window_history().Add(plan, now);
  core_->wakeups.Wake(Actor::kKeeper);
  if (core_->options.log.windows) {
    outbox->lines.push_back(
        {"window", WindowLine(plan, core_->memory().geometry(), core_->MemoryLocked(),
                              core_->preemptions_total(), lane.times.relative_error())});
  }
}

// Which requests start or resume: the policy's answer, carried out.
void Windows::Admit(absl::Time now) {
  if (core_->draining_hard(now)) return;
  AdmissionInput input;
  std::vector<Sequence*> candidates;  // Of each view in the input.
  // Beside what the workspaces will need, or those that start would soon have to give way to them.
  const int64_t workspace_bytes = WorkspaceBytesToAdmit();
  const int64_t limit_blocks = core_->LimitBlocks(workspace_bytes);
  const memory::AccountId account = AccountOf(core_->lanes.Of(SequenceState::kPrefilling));
  input.capacity_blocks = std::min(core_->memory().WindowMemoryOf(account, now).CapacityBlocks(),
                                   core_->ShareBlocks(workspace_bytes));
  std::vector<AnswerView> running;
  for (const Sequence* sequence : core_->order()) {
    if (sequence->running()) running.push_back(core_->AnswerViewOf(*sequence));
  }
  core_->lengths().Pass(running);
  BlockCensus census(core_->memory());
  int32_t waiting = 0;
  const int32_t waiting_max = core_->options.queue.running_sequences_max +
                              (core_->memory().prefix_cache() == nullptr ? 0 : kOvertakersMax);
  for (Sequence* sequence : core_->order()) {
    BlockCensus::Part part = census.Count(*sequence);
    DemandView view;
    view.running = sequence->running();
    // No more can start, or before others, and there may be many.
    if (!view.running && ++waiting > waiting_max) continue;
    view.place = sequence->key.due;
    view.immune = core_->IsImmune(*sequence);
    view.sequences = sequence->answers();
    if (!view.running) {
      const memory::PrefixCache::Residence residence = ResidenceOf(core_, *sequence);
      // One that gave way finds its own blocks: if it overtook others by them, it could give way to
      // the first and start before it again and again.
      if (sequence->preemptions == 0) {
        view.resident_tokens = residence.blocks * core_->memory().geometry().block_tokens();
      }
      part.shared_blocks += residence.used_blocks;
    }
    view.demand = DemandOf(*sequence, part, limit_blocks);
    input.order.push_back(view);
    candidates.push_back(sequence);
  }
  for (const size_t index : core_->parts.policy->Admit(input)) {
    Sequence* const sequence = candidates[index];
    CHECK(!sequence->running());
    sequence->MoveTo(SequenceState::kPrefilling);
    sequence->admitted = now;
    AdmitPrefix(core_, sequence);
  }
}

// Those that run, and all that wait; when nothing runs, the first alone, which must not be kept out
// for the sake of those behind it.
int64_t Windows::WorkspaceBytesToAdmit() const {
  std::vector<const Sequence*> sequences(core_->order().begin(), core_->order().end());
  if (core_->running_count() == 0) sequences.resize(std::min<size_t>(sequences.size(), 1));
  if (sequences.size() == 1) {
    return core_->WorkspaceBytesAlone(static_cast<int64_t>(sequences[0]->tokens.size()),
                                      sequences[0]->wants_prompt_logprobs());
  }
  int32_t answers = 0;
  for (const Sequence* sequence : sequences) answers += sequence->answers();
  int64_t bytes = 0;
  for (const Lane lane : core_->lanes.all()) {
    StepShape shape = ShapeFor(lane, sequences);
    if (!TakesPrompts(lane)) {
      // In the end all of them come here.
      shape.row_count = std::min(answers, LargestStep(core_->options, lane).row_count);
      shape.sequence_count = shape.logits_row_count = shape.row_count;
    }
    bytes += core_->WorkspaceBytes(lane, shape);
  }
  return bytes;
}

// What it adds to those before it in the windows ahead.
memory::DemandCurve Windows::DemandOf(const Sequence& sequence, const BlockCensus::Part& part,
                                      int64_t limit_blocks) const {
  const memory::KvGeometry& geometry = core_->memory().geometry();
  const AnswerView answer = core_->AnswerViewOf(sequence);
  const int64_t tokens = static_cast<int64_t>(sequence.tokens.size());
  const int64_t least = geometry.BlocksFor(tokens);
  memory::DemandCurve::Growth growth;
  growth.may_make_tokens = answer.max_tokens - answer.generated_tokens;
  core_->lengths().Survives(answer, memory::DemandCurve::Begins(), absl::MakeSpan(growth.survives));
  growth.blocks = [&](int64_t steps) {
    const int64_t blocks = geometry.BlocksFor(tokens + steps) +
                           UnforkedBlocks(sequence, answer.generated_tokens + steps, geometry);
    // What may come to be keeps nobody out who fits alone: if it is too much, that is found out
    // then.
    return std::max({part.held_blocks, least - part.shared_blocks,
                     std::min(blocks, limit_blocks) - part.shared_blocks});
  };
  return memory::DemandCurve::Of(growth);
}

void Windows::SetFirstAccount() {
  for (const Sequence* sequence : core_->order()) {
    if (!sequence->running()) continue;
    core_->memory().accounts().set_first(sequence->table.account());
    return;
  }
}

// The workspace for the largest step that this window may see. Falls at boundaries only.
void Windows::SetWorkspaceDemand(Lane which) {
  std::vector<const Sequence*> staying;
  for (const Sequence* sequence : core_->Executing(which)) {
    if (!sequence->leaving()) staying.push_back(sequence);
  }
  const StepShape shape = ShapeFor(which, staying);
  const bool any = shape.row_count > 0;
  core_->workspace(which).SetDemand(any ? core_->parts.runner->WorkspaceBytes(which, shape) : 0);
}

StepShape Windows::ShapeFor(Lane which, const std::vector<const Sequence*>& sequences) const {
  const StepShape largest = LargestStep(core_->options, which);
  const int32_t chunk_tokens_max = core_->options.step.chunk_tokens_max;
  int32_t prompt_rows = 0;
  int32_t prompt_count = 0;
  int32_t decode_count = 0;
  bool targets = false;
  for (const Sequence* sequence : sequences) {
    if (!core_->BelongsTo(which, *sequence)) continue;
    if (sequence->state() == SequenceState::kDecoding) {
      ++decode_count;
    } else {
      ++prompt_count;
      prompt_rows += std::min(sequence->remaining_tokens(), chunk_tokens_max - prompt_rows);
    }
    targets |= sequence->wants_prompt_logprobs();
  }
  // While the last prompt is still taken, the others may already decode.
  const int32_t later_rows = Decodes(which) ? std::max(0, prompt_count - 1) : 0;
  StepShape shape;
  shape.row_count = std::min(prompt_rows + decode_count + later_rows, largest.row_count);
  shape.sequence_count = std::min(prompt_count + decode_count, largest.sequence_count);
  shape.logits_row_count = std::min(shape.row_count, shape.sequence_count);
  if (targets) {
    shape.logits_row_count =
        std::min(shape.row_count, shape.sequence_count + core_->options.step.logits_rows_max);
  }
  return shape;
}

void Windows::Replan(Lane which, bool always, absl::Time now, Outbox* outbox) {
  LaneState& lane = core_->lane(which);
  SetFirstAccount();
  if (core_->Executing(which).empty()) {
    if (!lane.in_flight) Close(which);
    return;
  }
  if (!lane.window.has_value()) return;
  if (!always && lane.window->limit_bytes == core_->memory().budget().limit_bytes()) return;
  SetWorkspaceDemand(which);
  Open(which, Plan(which, now), now, outbox);
}

memory::WindowPlan Windows::Plan(Lane which, absl::Time now) {
  SettleCharges(core_);
  const int32_t context = core_->parts.limits.context_tokens_max;
  const memory::WindowMemory memory = core_->memory().WindowMemoryOf(AccountOf(which), now);
  const memory::StepTimeModel& times = core_->lane(which).times;
  std::vector<memory::PrefillSequence> prompts;
  std::vector<memory::DecodeSequence> decoding;
  BlockCensus census(core_->memory());
  for (const Sequence* sequence : core_->order()) {
    if (!sequence->running()) continue;
    // Those of the other lane too: what is in the blocks of one that goes before counts there.
    const BlockCensus::Part part = census.Count(*sequence);
    if (!core_->BelongsTo(which, *sequence)) continue;
    const int64_t may_make = sequence->may_make_tokens(context);
    if (sequence->state() == SequenceState::kDecoding) {
      decoding.push_back(
          {sequence->computed_tokens, may_make, part.held_blocks, part.shared_blocks});
    } else {
      const int64_t stored = sequence->stored_tokens();
      prompts.push_back({stored, static_cast<int64_t>(sequence->tokens.size()) - stored, may_make,
                         part.held_blocks, sequence->answers(), part.shared_blocks});
    }
  }
  const memory::WindowManager& manager = ManagerOf(which);
  switch (manager.queue()) {
    case memory::WindowQueue::kPrefill:
      return manager.PlanPrefill(prompts, memory, times, OtherExecutes(*core_, which));
    case memory::WindowQueue::kDecode:
      return manager.PlanDecode(decoding, memory, times, OtherExecutes(*core_, which));
    case memory::WindowQueue::kOne:
      break;
  }
  return manager.PlanOne(prompts, decoding, ChunkTokensMax(*core_, which), memory, times);
}

// Whether some prompt stands before a decoding sequence.
bool Windows::PrefillGoesFirst() const {
  const std::vector<Sequence*> prefilling = core_->InState(SequenceState::kPrefilling);
  const std::vector<Sequence*> decoding = core_->InState(SequenceState::kDecoding);
  return !prefilling.empty() && !decoding.empty() && prefilling.front()->key < decoding.back()->key;
}

// ---- making room

// Slack is what a queue would like: the other's goes before anybody has to give way.
bool Windows::ForgoSlackBeside(Lane which) {
  const std::optional<Lane> other = core_->lanes.Other(which);
  if (!other.has_value()) return false;
  std::optional<OpenWindow>& window = core_->lane(*other).window;
  if (!window.has_value() || window->plan.slack_blocks == 0) return false;
  core_->memory().accounts().Forgo(AccountOf(*other), window->plan.slack_blocks);
  window->plan.slack_blocks = 0;
  return true;
}

memory::WindowPlan Windows::MakeRoom(Lane which, memory::WindowPlan plan, absl::Time now,
                                     Outbox* outbox) {
  while (!plan.fits()) {
    const memory::ReleaseNeed need{plan.release_blocks, plan.release_pages};
    Victims victims = PickVictims(core_, need, VictimScope::kIdle);
    if (!victims.possible) {
      // Those in the other queue's step can give it later: no more have to go now than with them.
      Victims later = PickVictims(core_, need, VictimScope::kInStep);
      if (later.possible) victims = std::move(later);
    }
    const auto first_idle = std::partition(victims.sequences.begin(), victims.sequences.end(),
                                           [](const Sequence* victim) { return victim->in_step; });
    for (auto it = victims.sequences.begin(); it != first_idle; ++it) (*it)->yields = true;
    victims.sequences.erase(victims.sequences.begin(), first_idle);
    if (victims.sequences.empty()) break;
    bool other_lost = false;
    bool any_gone = false;
    for (Sequence* victim : victims.sequences) {
      const bool other = !core_->BelongsTo(which, *victim);
      // What is copied first comes back later, as from those in a step.
      if (!GiveBlocksUp(core_, victim)) continue;
      any_gone = true;
      other_lost |= other;
    }
    if (!any_gone) break;
    SetFirstAccount();
    if (other_lost) {
      // The other queue wants less now: its window is planned anew, or the release would go on
      // for a demand that is no longer there.
      const Lane other = *core_->lanes.Other(which);
      if (core_->Executing(other).empty() && !core_->lane(other).in_flight) {
        Close(other);
      } else {
        Open(other, Plan(other, now), now, outbox);
      }
    }
    if (core_->Executing(which).empty()) break;
    SetWorkspaceDemand(which);
    plan = Plan(which, now);
  }
  return plan;
}

// ---- inside a window

void Windows::Supplement(Lane which, int64_t blocks) {
  const memory::AccountId account = AccountOf(which);
  memory::Accounts& accounts = core_->memory().accounts();
  const int64_t wanted = accounts.used(account) + blocks;
  if (accounts.granted(account) >= wanted) return;
  if (accounts.demand(account) < wanted) {
    accounts.SetDemand(account, wanted);
    core_->wakeups.Wake(Actor::kKeeper);
  } else {
    accounts.TopUp(account);
  }
}

int64_t Windows::FirstGrowthBlocks(const Sequence& sequence) const {
  return ManagerOf(core_->lanes.Of(SequenceState::kDecoding))
      .FirstGrowthBlocks(sequence.computed_tokens, sequence.table.block_count(),
                         sequence.may_make_tokens(core_->parts.limits.context_tokens_max),
                         sequence.answers(), core_->memory().geometry().block_tokens());
}

bool Windows::GiveUpHopeless(bool stuck, absl::Time now, Outbox* outbox) {
  const memory::LimitState limit = core_->memory().limit_state();
  const memory::KvGeometry& geometry = core_->memory().geometry();
  std::vector<std::pair<Sequence*, int64_t>> hopeless;
  for (Sequence* sequence : core_->order()) {
    const bool looked_at = !sequence->running() || (stuck && core_->running_requests() == 1);
    if (sequence->in_step || !looked_at) continue;
    // What its next step needs: prefill goes to the end of its tokens, decode stores one more.
    const int64_t need = geometry.BlocksFor(static_cast<int64_t>(sequence->tokens.size()));
    const int64_t limit_blocks = core_->LimitBlocks(WorkspaceBytesOf(*sequence));
    if (need <= limit_blocks) continue;
    // It may go on in what it has, above a limit that is not yet reached, while that lasts.
    if (need <= sequence->table.block_count() && !LacksWorkspace(*sequence)) continue;
    hopeless.emplace_back(sequence, limit_blocks);
  }
  for (const auto& [sequence, limit_blocks] : hopeless) {
    core_->End(sequence, FinishReason::kError,
               absl::ResourceExhaustedError(
                   absl::StrCat("the memory limit was lowered to ", limit.limit_bytes,
                                " bytes, room for ", limit_blocks * geometry.block_tokens(),
                                " tokens; the request is at ", sequence->tokens.size())),
               -1, now, outbox);
  }
  return !hopeless.empty() || (stuck && (YieldScattered() || EndWithoutWorkspace(now, outbox)));
}

// A workspace is one piece from its start: when the device did not take one of its pages back, that
// page is quarantined and the lane can run no step any more.
bool Windows::EndWithoutWorkspace(absl::Time now, Outbox* outbox) {
  bool ended = false;
  for (const Lane which : core_->lanes.all()) {
    memory::Workspace& workspace = core_->workspace(which);
    const bool lost = workspace.pool()->count(memory::PageState::kQuarantined) > 0 &&
                      workspace.missing_bytes() == 0 &&
                      workspace.usable_bytes() < workspace.demand_bytes();
    if (!lost) continue;
    for (Sequence* sequence : core_->Executing(which)) {
      if (sequence->in_step) continue;
      core_->End(sequence, FinishReason::kError,
                 absl::InternalError("the device lost a page of the workspace: restart the server"),
                 -1, now, outbox);
      ended = true;
    }
  }
  return ended;
}

// Of all lanes for one that has a prompt to run, of decode's alone for one that is past it.
int64_t Windows::WorkspaceBytesOf(const Sequence& sequence) const {
  if (sequence.state() == SequenceState::kDecoding) {
    const Lane decode = core_->lanes.Of(SequenceState::kDecoding);
    return core_->WorkspaceBytes(decode, ShapeFor(decode, {&sequence}));
  }
  return core_->WorkspaceBytesAlone(static_cast<int64_t>(sequence.tokens.size()),
                                    sequence.wants_prompt_logprobs());
}

bool Windows::LacksWorkspace(const Sequence& sequence) const {
  if (!sequence.running()) return false;
  return core_->workspace(core_->lanes.Of(sequence.state())).missing_bytes() > 0;
}

// The only request that holds blocks may hold few in many pages, so that nothing is left under the
// limit for its workspace, and no page can be unmapped. It then gives way to itself, with all its
// answers: recomputed, its blocks lie close together.
bool Windows::YieldScattered() {
  const memory::GrowthBounds& bounds = core_->memory().budget().bounds();
  if (bounds.TightestBound() == memory::Bound::kFree) return false;
  if (core_->AnythingDrains() || core_->memory().blocks().empty_pages() > 0) return false;
  for (const Lane lane : core_->lanes.all()) {
    if (core_->workspace(lane).surplus_bytes() > 0) return false;
  }
  // Nobody holds any: the keeper must do its part.
  const Sequence* holder = nullptr;
  for (const Sequence* sequence : core_->order()) {
    if (sequence->table.block_count() == 0) continue;
    if (holder != nullptr && sequence->owner != holder->owner) return false;
    if (holder == nullptr) holder = sequence;
  }
  if (holder == nullptr) return false;
  const Lane which = core_->lanes.Of(holder->state());
  if (core_->workspace(which).missing_bytes() <= std::max<int64_t>(0, bounds.GrowableBytes())) {
    return false;
  }
  for (Sequence* sequence : core_->order()) {
    if (sequence->owner != holder->owner || !sequence->running() || sequence->in_step) continue;
    ForgetBlocks(core_, *sequence);  // Or it would find itself as scattered again.
    core_->Preempt(sequence);
  }
  return true;
}

}  // namespace ebb::engine

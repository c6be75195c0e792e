#include "engine/core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "device/device_lost.h"
#include "engine/block_census.h"
#include "engine/endings.h"

namespace ebb::engine {
namespace {

Swaps::Options SwapOptions(const LocalEngineOptions& options, const EngineParts& parts) {
  Swaps::Options swaps;
  swaps.slot_bytes = parts.memory->geometry().block_bytes();
  swaps.idle_after = options.memory.idle;
  if (parts.swapper == nullptr) return swaps;
  swaps.bytes_max = options.memory.swap_bytes_max;
  swaps.copier = parts.swapper->copier()->traits();
  return swaps;
}

}  // namespace

EngineCore::EngineCore(const LocalEngineOptions& new_options, const EngineParts& new_parts)
    : options(new_options),
      parts(new_parts),
      lanes(new_options.queue.queues),
      lengths_(parts.policy->MakeLengthPredictor()),
      swaps_(SwapOptions(new_options, new_parts)) {
  for (const Lane which : lanes.all()) {
    lane(which).reader =
        memory().readers().Add(std::string(memory::WindowQueueName(lanes.queue(which))));
  }
}

EngineCore::~EngineCore() { CHECK(requests_.empty()) << "requests are left"; }

// ---- requests come

absl::Status EngineCore::Check(const Request& request) const {
  if (request.prompt.empty()) return absl::InvalidArgumentError("the prompt is empty");
  if (request.stopping.max_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_tokens is ", request.stopping.max_tokens, ": it must be at least 1"));
  }
  const int32_t n_max = std::min(kAnswersMax, options.queue.running_sequences_max);
  if (request.n < 1 || request.n > n_max) {
    return absl::InvalidArgumentError(absl::StrCat(
        request.n, " answers were asked for: at least 1, and at most ", n_max, " can be had"));
  }
  for (const int32_t id : request.prompt) {
    if (id >= 0 && id < parts.limits.vocabulary_size) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "token id ", id, " is outside the vocabulary of ", parts.limits.vocabulary_size));
  }
  return absl::OkStatus();
}

absl::StatusOr<RequestId> EngineCore::Submit(Request request, std::shared_ptr<RequestSink> sink) {
  RETURN_IF_ERROR(Check(request));
  std::vector<std::unique_ptr<model::LogitAdjustments>> adjustments = AdjustmentsOf(request);
  std::optional<memory::PrefixChain> chain;
  if (memory().prefix_cache() != nullptr) {
    chain = PrefixChainOf(request, parts.kv_identity, memory().geometry().block_tokens());
  }
  RequestId id = 0;
  {
    base::MutexLock lock(&mutex);
    RETURN_IF_ERROR(health_);
    if (draining_) return absl::UnavailableError("the server is draining and takes no new work");
    ArrivalView arrival;
    arrival.prompt_tokens = static_cast<int64_t>(request.prompt.size());
    arrival.max_tokens = request.stopping.max_tokens;
    arrival.waiting_requests = static_cast<int64_t>(requests_.size()) - running_requests();
    for (const Sequence* sequence : order_) {
      if (!sequence->running()) arrival.waiting_prompt_tokens += sequence->remaining_tokens();
    }
    arrival.limit_blocks = LimitBlocks(WorkspaceBytesAlone(
        arrival.prompt_tokens + arrival.max_tokens, request.sampling.prompt_logprobs >= 0));
    arrival.context_tokens_max = parts.limits.context_tokens_max;
    arrival.block_tokens = memory().geometry().block_tokens();
    // Of the queue as it stands, about a half will be gone then.
    arrival.retry_after = [this] { return service_rate_.TimeFor(ExpectedTokensWaiting()) / 2; };
    RETURN_IF_ERROR(parts.policy->Accept(arrival));
    AnswerView answer;
    answer.tenant = request.tenant;
    answer.prompt_tokens = arrival.prompt_tokens;
    answer.max_tokens = arrival.max_tokens;
    const int64_t tokens = arrival.prompt_tokens + request.n * lengths_->ExpectedTokens(answer);
    const absl::Time now = Now();
    const absl::Time place =
        fair_share_.Add(request.tenant, request.priority, now, service_rate_.TimeFor(tokens));
    id = next_id_;
    next_id_ += static_cast<RequestId>(request.n);  // One for each answer's sequence.
    auto owner = std::make_shared<LiveRequest>(id, std::move(request), std::move(sink), now, place);
    owner->adjustments = std::move(adjustments);
    owner->chain = std::move(chain);
    AddSequence(owner, 0);
    requests_.emplace(id, std::move(owner));
  }
  wakeups.Wake(ActorOf(lanes.Of(SequenceState::kWaiting)));
  // It asks the other servers for what the request will need.
  if (parts.sharing != nullptr) wakeups.Wake(Actor::kKeeper);
  return id;
}

AnswerView EngineCore::AnswerViewOf(const Sequence& sequence) const {
  AnswerView view;
  view.id = sequence.id;
  view.tenant = sequence.request.tenant;
  view.prompt_tokens = sequence.prompt_tokens();
  view.generated_tokens = sequence.generated_tokens();
  view.max_tokens =
      view.generated_tokens + sequence.may_make_tokens(parts.limits.context_tokens_max);
  return view;
}

int64_t EngineCore::ExpectedTokens(const Sequence& sequence) const {
  return lengths_->ExpectedTokens(AnswerViewOf(sequence));
}

// Of all that wait: what is to be prefilled, and the answers.
int64_t EngineCore::ExpectedTokensWaiting() const {
  int64_t tokens = 0;
  for (const Sequence* sequence : order_) {
    if (sequence->running()) continue;
    const int64_t left = ExpectedTokens(*sequence) - sequence->generated_tokens();
    tokens += sequence->remaining_tokens() + std::max<int64_t>(0, left);
  }
  return tokens;
}

Sequence* EngineCore::AddSequence(const std::shared_ptr<LiveRequest>& owner, int32_t answer) {
  auto sequence = std::make_unique<Sequence>(owner, answer, options.queue.ageing, NewTable());
  Sequence* const added = sequence.get();
  order_.insert(added);
  sequences_.emplace(added->id, std::move(sequence));
  return added;
}

void EngineCore::Cancel(RequestId id) {
  {
    base::MutexLock lock(&mutex);
    const auto it = requests_.find(id);
    if (it == requests_.end()) return;
    it->second->cancelled = true;
  }
  WakeLoops();
}

void EngineCore::WakeLoops() {
  for (const Lane which : lanes.all()) wakeups.Wake(ActorOf(which));
}

void EngineCore::BeginDrain(absl::Duration grace) {
  {
    base::MutexLock lock(&mutex);
    draining_ = true;
    drain_until_ = std::min(drain_until_, Now() + grace);
  }
  wakeups.WakeAll();
}

void EngineCore::WaitUntilEmpty() {
  base::MutexLock lock(&mutex);
  while (!requests_.empty() || undelivered_count_ > 0) emptied_.Wait(&mutex);
}

// ---- views

MemoryView EngineCore::Memory() {
  base::MutexLock lock(&mutex);
  return MemoryLocked();
}

MemoryView EngineCore::MemoryLocked() {
  MemoryView view;
  int64_t live_tokens = 0;
  BlockCensus census(memory());
  for (const Sequence* sequence : order_) {
    live_tokens += sequence->computed_tokens - census.Count(*sequence).shared_tokens;
  }
  view.held_bytes = memory().held_bytes();
  view.needed_bytes = live_tokens * memory().geometry().bytes_per_token();
  view.cached_bytes = memory().cached_bytes();
  if (memory().prefix_cache() != nullptr) view.prefix_cache = memory().prefix_cache()->totals();
  view.limit_bytes = memory().limit_state().limit_bytes;
  view.page_bytes = memory().geometry().page_bytes();
  view.pages_mapped = memory().pages().count(memory::PageState::kMapped);
  view.page_maps_total = memory().pages().mapped_total();
  view.page_unmaps_total = memory().pages().unmapped_total();
  view.block_tokens = memory().geometry().block_tokens();
  view.moved_bytes_total = memory().moved_bytes_total();
  view.flips_total = memory().flips().flips_total();
  view.flips_per_minute = memory().flips().FlipsOfLastMinute(Now());
  view.share_bytes = share_bytes_;
  view.swap = swaps_.View();
  return view;
}

LoadView EngineCore::Load() {
  base::MutexLock lock(&mutex);
  LoadView view;
  view.running_requests = running_requests();
  view.waiting_requests = static_cast<int64_t>(requests_.size()) - view.running_requests;
  view.preemptions_total = preemptions_total_;
  view.finished_total = finished_total_;
  view.prefilled_tokens_total = prefilled_tokens_total_;
  view.recomputed_tokens_total = recomputed_tokens_total_;
  view.completion_tokens_total = completion_tokens_total_;
  view.last_step_age = LastStepAge(Now());
  for (const Lane which : lanes.all()) {
    view.lanes.push_back({lanes.queue(which), lane(which).done, lane(which).windows});
  }
  view.lengths = lengths_->Scores();
  return view;
}

absl::Duration EngineCore::LastStepAge(absl::Time now) const {
  absl::Time since = absl::InfiniteFuture();
  for (const Sequence* sequence : order_) {
    if (sequence->running()) since = std::min(since, sequence->admitted);
  }
  if (since == absl::InfiniteFuture()) return absl::ZeroDuration();
  for (const Lane which : lanes.all()) since = std::max(since, lane(which).last_step_ended);
  for (const Lane which : lanes.all()) {
    if (lane(which).in_flight) since = std::min(since, lane(which).step_started);
  }
  return std::max(now - since, absl::ZeroDuration());
}

std::vector<WindowView> EngineCore::RecentWindows() {
  base::MutexLock lock(&mutex);
  return window_history_.View(Now());
}

std::string EngineCore::SaveLengths() {
  base::MutexLock lock(&mutex);
  return lengths_->Save();
}

absl::Status EngineCore::Health() {
  base::MutexLock lock(&mutex);
  return health_;
}

void EngineCore::SetOnLost(std::function<void()> on_lost) {
  std::function<void()> late;
  {
    base::MutexLock lock(&mutex);
    on_lost_ = std::move(on_lost);
    if (health_.ok()) return;
    late = on_lost_;
  }
  late();
}

void EngineCore::NoteDeviceLost(const absl::Status& cause, Outbox* outbox) {
  if (device_lost()) return;
  const std::string reason(cause.ok() ? "it does not work any more" : cause.message());
  health_ = device::DeviceLostError(
      absl::StrCat("the device failed: ", reason, "; the server is ending"));
  outbox->device_lost = reason;
  limit_changed.SignalAll();
  wakeups.WakeAll();
}

std::vector<Sequence*> EngineCore::InState(SequenceState state) const {
  std::vector<Sequence*> found;
  for (Sequence* sequence : order_) {
    if (sequence->state() == state) found.push_back(sequence);
  }
  return found;
}

std::vector<Sequence*> EngineCore::Executing(Lane which) const {
  std::vector<Sequence*> found;
  for (Sequence* sequence : order_) {
    if (sequence->running() && BelongsTo(which, *sequence)) found.push_back(sequence);
  }
  return found;
}

int64_t EngineCore::running_count() const {
  int64_t count = 0;
  for (const Sequence* sequence : order_) count += sequence->running() ? 1 : 0;
  return count;
}

int64_t EngineCore::running_requests() const {
  int64_t count = 0;
  const LiveRequest* last = nullptr;  // Those of a request stand one behind the other.
  for (const Sequence* sequence : order_) {
    if (!sequence->running() || sequence->owner.get() == last) continue;
    last = sequence->owner.get();
    ++count;
  }
  return count;
}

int64_t EngineCore::WorkspaceBytes(Lane which, const StepShape& shape) const {
  const int64_t page_bytes = workspace(which).pool()->page_bytes();
  const int64_t bytes = shape.row_count == 0 ? 0 : parts.runner->WorkspaceBytes(which, shape);
  return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

int64_t EngineCore::WorkspaceBytesMax(Lane which) const {
  return WorkspaceBytes(which, LargestStep(options, which));
}

int64_t EngineCore::WorkspaceBytesMax() const {
  int64_t bytes = 0;
  for (const Lane which : lanes.all()) bytes += WorkspaceBytesMax(which);
  return bytes;
}

int64_t EngineCore::WorkspaceBytesAlone(int64_t tokens, bool prompt_logprobs) const {
  StepShape prefill;
  prefill.sequence_count = 1;
  prefill.row_count =
      static_cast<int32_t>(std::min<int64_t>(tokens, options.step.chunk_tokens_max));
  prefill.logits_row_count =
      prompt_logprobs ? std::min(prefill.row_count, 1 + options.step.logits_rows_max) : 1;
  StepShape decode;
  decode.sequence_count = decode.row_count = decode.logits_row_count = 1;
  int64_t bytes = 0;
  for (const Lane which : lanes.all()) {
    int64_t most = 0;
    if (lanes.Executes(which, SequenceState::kPrefilling)) most = WorkspaceBytes(which, prefill);
    if (lanes.Executes(which, SequenceState::kDecoding)) {
      most = std::max(most, WorkspaceBytes(which, decode));
    }
    bytes += most;
  }
  return bytes;
}

bool EngineCore::AnyoneYields() const {
  return std::any_of(order_.begin(), order_.end(),
                     [](const Sequence* sequence) { return sequence->leaving(); });
}

int64_t EngineCore::LimitBlocks(int64_t workspace_bytes) const {
  return BlocksWithin(std::min(parts.memory->limit_state().limit_bytes, capacity_bytes_) -
                      workspace_bytes);
}

int64_t EngineCore::ShareBlocks(int64_t workspace_bytes) const {
  return std::min(LimitBlocks(workspace_bytes), BlocksWithin(admission_bytes_ - workspace_bytes));
}

int64_t EngineCore::BlocksWithin(int64_t bytes) const {
  const memory::KvGeometry& geometry = parts.memory->geometry();
  for (const memory::PagePool* pool : parts.memory->pools()) {
    bytes -= pool->count(memory::PageState::kQuarantined) * pool->page_bytes();
  }
  const memory::PagePool& pages = parts.memory->pages();
  const int64_t page_count =
      std::min<int64_t>(std::max<int64_t>(bytes, 0) / geometry.page_bytes(),
                        pages.page_count() - pages.count(memory::PageState::kQuarantined));
  return page_count * geometry.blocks_per_page();
}

// ---- requests end

std::optional<EarlyEnd> EngineCore::MustEnd(const Sequence& sequence, absl::Time now) const {
  if (device_lost()) return EarlyEnd{FinishReason::kError, health_};
  if (sequence.owner->failed.has_value()) return sequence.owner->failed;
  if (sequence.owner->forced_out) {
    return EarlyEnd{FinishReason::kError,
                    absl::ResourceExhaustedError(absl::StrCat(
                        "the memory limit was lowered to ", parts.memory->limit_state().limit_bytes,
                        " bytes by force: less than the request needs at ", sequence.tokens.size(),
                        " tokens"))};
  }
  if (sequence.owner->cancelled) {
    return EarlyEnd{FinishReason::kCancelled, absl::CancelledError("the request was cancelled")};
  }
  if (now >= sequence.request.deadline) {
    return EarlyEnd{FinishReason::kDeadline,
                    absl::DeadlineExceededError("the request's deadline passed")};
  }
  if (now >= drain_until_) {
    return EarlyEnd{FinishReason::kError,
                    absl::UnavailableError("the server is shutting down: try another")};
  }
  return std::nullopt;
}

bool EngineCore::EndLeavers(Lane which, absl::Time now, Outbox* outbox) {
  std::vector<std::pair<Sequence*, EarlyEnd>> leavers;
  for (Sequence* sequence : order_) {
    if (sequence->in_step || !BelongsTo(which, *sequence)) continue;
    std::optional<EarlyEnd> end = MustEnd(*sequence, now);
    if (end.has_value()) leavers.emplace_back(sequence, *std::move(end));
  }
  for (auto& [sequence, end] : leavers) {
    End(sequence, end.reason, std::move(end.status), -1, now, outbox);
  }
  return !leavers.empty();
}

absl::Time EngineCore::NextLeaver(Lane which) const {
  absl::Time next = absl::InfiniteFuture();
  for (const Sequence* sequence : order_) {
    if (sequence->in_step || !BelongsTo(which, *sequence)) continue;
    next = std::min({next, sequence->request.deadline, drain_until_});
  }
  return next;
}

void EngineCore::End(Sequence* sequence, FinishReason reason, absl::Status status,
                     int32_t stop_token_id, absl::Time now, Outbox* outbox) {
  CHECK(!sequence->in_step);
  lengths_->End(AnswerViewOf(*sequence), reason == FinishReason::kStop);
  swaps_.Forget(sequence, now);
  sequence->table.ShrinkTo(0);
  sequence->MoveTo(SequenceState::kFinished);
  const std::shared_ptr<LiveRequest> owner = sequence->owner;
  if (!status.ok() && !owner->failed.has_value()) owner->failed = EarlyEnd{reason, status};
  Finish finish;
  finish.reason = reason;
  finish.status = std::move(status);
  finish.stop_token_id = stop_token_id;
  finish.prompt_tokens = sequence->prompt_tokens();
  finish.cached_tokens = sequence->cached_tokens;
  finish.completion_tokens = sequence->generated_tokens();
  finish.preemptions = sequence->preemptions;
  finish.queue_time = std::min(sequence->started, now) - sequence->arrived;
  finish.first_token_time = sequence->first_token - sequence->arrived;
  finish.total_time = now - sequence->arrived;
  PostEnding(owner, sequence->answer, finish, outbox);
  finish.completion_tokens = finish.preemptions = 0;
  finish.first_token_time = absl::InfiniteDuration();
  for (; owner->unforked_answers > 0; --owner->unforked_answers) {
    CHECK(!finish.status.ok()) << "an answer ended before the others could fork from it";
    PostEnding(owner, owner->request.n - owner->unforked_answers, finish, outbox);
  }
  order_.erase(sequence);
  const RequestId id = sequence->id;
  sequences_.erase(id);
  wakeups.WakeAll();  // Blocks are free: others may start, pages may go.
}

void EngineCore::PostEnding(const std::shared_ptr<LiveRequest>& owner, int32_t answer,
                            const Finish& finish, Outbox* outbox) {
  outbox->endings.push_back({owner, answer, finish});
  ++undelivered_count_;
  if (--owner->unfinished_answers > 0) return;
  fair_share_.Remove(owner->request.tenant);
  requests_.erase(owner->id);
  ++finished_total_;
}

void EngineCore::Preempt(Sequence* sequence) {
  CHECK(!sequence->in_step);
  const bool kept = swaps_.NotePreempted(sequence, Now());
  sequence->table.ShrinkTo(0);
  sequence->table = NewTable();
  sequence->forked_blocks = 0;
  sequence->place = memory::PrefixPlace();
  sequence->recompute_until = std::max(sequence->recompute_until, sequence->computed_tokens);
  sequence->computed_tokens = 0;
  sequence->made_since_resume = 0;
  sequence->yields = false;
  if (!kept && !sequence->prompt_logprobs_sent) sequence->prompt_logprobs.clear();
  ++sequence->preemptions;
  ++preemptions_total_;
  sequence->MoveTo(SequenceState::kPreempted);
  wakeups.WakeAll();
}

void EngineCore::HandOver(Sequence* sequence, int64_t growth_blocks) {
  const Lane decode = lanes.Of(SequenceState::kDecoding);
  sequence->table.HandOver(AccountOf(decode), growth_blocks);
  sequence->MoveTo(SequenceState::kDecoding);
  wakeups.Wake(ActorOf(decode));
}

// Of a sequence that waits: its first blocks are its prompt's.
memory::BlockTable EngineCore::NewTable() {
  return memory().NewTable(AccountOf(lanes.Of(SequenceState::kPrefilling)));
}

bool EngineCore::IsImmune(const Sequence& sequence) const {
  return sequence.preemptions > 0 && sequence.running() &&
         sequence.made_since_resume < options.queue.resume_immunity_tokens;
}

bool EngineCore::AnythingDrains() {
  for (const memory::PagePool* pool : memory().pools()) {
    if (!pool->draining().empty()) return true;
  }
  return false;
}

void EngineCore::Deliver(Outbox* outbox) {
  if (outbox->device_lost.has_value()) {
    parts.log->Write("device_lost", {{"reason", *outbox->device_lost}});
    std::function<void()> on_lost;
    {
      base::MutexLock lock(&mutex);
      on_lost = on_lost_;
    }
    if (on_lost) on_lost();
    outbox->device_lost.reset();
  }
  for (Ending& ending : outbox->endings) {
    TellEnding(&ending, options.log.requests, parts.log);
    ending.request.reset();
  }
  for (LogLine& line : outbox->lines) parts.log->Write(line.event, std::move(line.fields));
  outbox->lines.clear();
  // Whoever waits for the engine to be empty finds nothing of a request in anybody's hands.
  const int64_t delivered_count = static_cast<int64_t>(outbox->endings.size());
  outbox->endings.clear();
  if (delivered_count == 0) return;
  base::MutexLock lock(&mutex);
  undelivered_count_ -= delivered_count;
  if (requests_.empty() && undelivered_count_ == 0) emptied_.SignalAll();
}

}  // namespace ebb::engine

#include "bench/memory/simulated_server.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "engine/kv_memory_options.h"

namespace ebb::bench {
namespace {

using engine::Actor;
using engine::Lane;

constexpr int32_t kVocabulary = 49152;
constexpr int32_t kContextTokens = 8192;
constexpr int32_t kEndToken = 2;
constexpr int32_t kAnyToken = 7;
// An actor that asks to run again at once may come round this often.
constexpr absl::Duration kLeastWait = absl::Microseconds(100);

}  // namespace

// ---- the runner

void TimedRunner::Submit(engine::Batch batch) {
  LaneState& state = lane(batch.lane);
  CHECK(!state.batch.has_value());
  state.left_seconds = absl::ToDoubleSeconds(times_->Of(batch.lane, engine::ShapeOf(batch)));
  state.abandoned = false;
  state.started = clock_->Now();
  state.batch = std::move(batch);
}

std::optional<double> TimedRunner::left(Lane which) const {
  const LaneState& state = lanes_[static_cast<int>(which)];
  if (!state.batch.has_value() || state.result.has_value()) return std::nullopt;
  return state.left_seconds;
}

void TimedRunner::Work(Lane which, double seconds) {
  constexpr double kNothingSeconds = 1e-9;
  lane(which).left_seconds -= seconds;
  if (lane(which).left_seconds < kNothingSeconds) Complete(which);
}

void TimedRunner::Abandon(Lane which) {
  if (!left(which).has_value()) return;
  lane(which).abandoned = true;
  Complete(which);
}

void TimedRunner::Complete(Lane which) {
  LaneState& state = lane(which);
  engine::StepResult result;
  result.started = state.started;
  result.ended = clock_->Now();
  result.abandoned = state.abandoned;
  if (state.abandoned) {
    result.status = absl::AbortedError("abandoned");
  } else {
    for (const engine::SequenceRows& rows : state.batch->sequences) {
      engine::SequenceResult answer;
      answer.token.index = rows.output_index;
      answer.token.id = kAnyToken;
      result.sequences.push_back(std::move(answer));
    }
  }
  state.result = std::move(result);
  if (on_done_) on_done_(which);
}

std::optional<engine::StepResult> TimedRunner::TakeResult(Lane which) {
  LaneState& state = lane(which);
  std::optional<engine::StepResult> result = std::exchange(state.result, std::nullopt);
  if (result.has_value()) state.batch.reset();
  return result;
}

// ---- the server

class SimulatedServer::Sink final : public engine::RequestSink {
 public:
  Sink(SimulatedServer* server, std::shared_ptr<Outcome> outcome)
      : server_(server), outcome_(std::move(outcome)), arrived_(server->clock_->Now()) {}

  void OnPromptLogprobs(std::vector<engine::PromptLogprob>) override {}
  engine::SinkAnswer OnToken(const engine::Token& token) override {
    const absl::Time now = server_->clock_->Now();
    if (outcome_->last_token == absl::InfinitePast()) {
      outcome_->first_token = now - arrived_;
    } else {
      outcome_->largest_gap = std::max(outcome_->largest_gap, now - outcome_->last_token);
    }
    outcome_->last_token = now;
    const bool has_all =
        server_->serving_.max_tokens > 0 && token.index + 1 == outcome_->output_tokens;
    return has_all ? engine::SinkAnswer::kStop : engine::SinkAnswer::kContinue;
  }
  void OnFinish(const engine::Finish& finish) override {
    outcome_->ok = finish.status.ok();
    outcome_->cached_tokens = finish.cached_tokens;
    --server_->unfinished_;
    server_->open_.erase(std::find(server_->open_.begin(), server_->open_.end(), outcome_));
  }

 private:
  SimulatedServer* const server_;
  const std::shared_ptr<Outcome> outcome_;
  const absl::Time arrived_;
};

SimulatedServer::SimulatedServer(const Options& options, const StepTimes* times,
                                 base::FakeClock* clock, device::FakeVmm* vmm)
    : clock_(clock), vmm_(vmm), serving_(options.serving) {
  options_.queue.running_sequences_max = serving_.running_max;
  options_.queue.queue_requests_max = 1 << 20;
  options_.step.logits_rows_max = 1;
  options_.memory.limit_bytes = options.limit_bytes;
  options_.memory.ceiling_bytes = options.ceiling_bytes;
  options_.memory.headroom_bytes = 0;
  options_.prefix_cache.enabled = false;
  if (serving_.prefix_cache.has_value()) options_.prefix_cache = *serving_.prefix_cache;
  // As in configs/cpu.json.
  options_.memory.slack_pages = 0;
  options_.memory.prepared_pages = 0;
  options_.memory.shrink_windows = 2;
  options_.log.windows = false;
  options_.log.requests = false;
  runner_ = std::make_unique<TimedRunner>(times, clock);
  MakeMemory();
  if (serving_.policy) {
    policy_ = serving_.policy(options_);
  } else {
    policy_ =
        std::make_unique<scheduler::LocalPolicy>(scheduler::LocalPolicy::OptionsFrom(options_));
  }
  engine::EngineParts parts;
  parts.clock = clock;
  parts.log = &log_;
  parts.vmm = vmm;
  parts.memory = memory_.get();
  parts.runner = runner_.get();
  parts.policy = policy_.get();
  parts.limits = {kVocabulary, kContextTokens, {kEndToken}};
  if (!options.ledger_directory.empty()) {
    memory::Sharing::Options sharing;
    sharing.directory = options.ledger_directory;
    sharing.device_id = kDeviceId;
    sharing.terms.capacity_bytes = options.capacity_bytes;
    sharing.terms.floor_bytes = options.floor_bytes;
    sharing_ = std::make_unique<memory::Sharing>(sharing, clock, &log_);
    parts.sharing = sharing_.get();
  }
  auto engine = engine::LocalEngine::Create(options_, parts);
  CHECK_OK(engine.status());
  engine_ = *std::move(engine);
}

SimulatedServer::~SimulatedServer() {
  engine_->BeginDrain(absl::ZeroDuration());
  while (unfinished_ > 0) {
    for (const Lane lane : {Lane::kPrefill, Lane::kDecode}) {
      if (const auto left = runner_->left(lane); left.has_value()) runner_->Work(lane, *left);
    }
    for (const Actor actor : {Actor::kKeeper, Actor::kPrefill, Actor::kDecode}) RunOnce(actor);
  }
  CHECK_OK(engine_->Shutdown());
}

void SimulatedServer::MakeMemory() {
  const memory::KvShape shape{30, 16,
                              kernels::PagedKv::LayerBlockBytes(kernels::DType::kF16, 3, 64, 16)};
  const auto geometry = memory::KvGeometry::Create(shape, vmm_->granularity_bytes());
  CHECK_OK(geometry.status());
  memory::KvMemory::Options memory = engine::KvMemoryOptionsFrom(options_);
  const auto workspace = [this](Lane lane) {
    return runner_->WorkspaceBytes(lane, engine::LargestStep(options_, lane));
  };
  memory.workspaces = {{"workspace.prefill", workspace(Lane::kPrefill)},
                       {"workspace.decode", workspace(Lane::kDecode)}};
  auto made = memory::KvMemory::Create(*geometry, memory, vmm_);
  CHECK_OK(made.status());
  memory_ = *std::move(made);
  CHECK_LE(memory_->workspace(0).bytes_max() + memory_->workspace(1).bytes_max(),
           serving_.workspace_bytes);
}

void SimulatedServer::Submit(const cli::Arrival& arrival) {
  engine::Request request;
  if (serving_.prompt_of) {
    request.prompt = serving_.prompt_of(outcomes_.size());
  } else {
    request.prompt.assign(static_cast<size_t>(arrival.prompt_tokens), kAnyToken);
  }
  request.stopping.max_tokens =
      static_cast<int32_t>(serving_.max_tokens > 0 ? serving_.max_tokens : arrival.output_tokens);
  request.stopping.ignore_eos = true;
  auto outcome = std::make_shared<Outcome>();
  outcome->prompt_tokens = arrival.prompt_tokens;
  outcome->output_tokens = arrival.output_tokens;
  outcomes_.push_back(outcome);
  open_.push_back(outcome);
  ++unfinished_;
  const auto id = engine_->Submit(std::move(request), std::make_shared<Sink>(this, outcome));
  if (id.ok()) return;
  // Refused: it could never fit.
  CHECK(absl::IsResourceExhausted(id.status())) << id.status();
  open_.pop_back();
  --unfinished_;
}

bool SimulatedServer::RunActors() {
  bool ran = false;
  for (const Actor actor : {Actor::kKeeper, Actor::kPrefill, Actor::kDecode, Actor::kSwap}) {
    ActorState& state = actors_[static_cast<int>(actor)];
    if (engine_->wakeups().Version(actor) == state.seen && clock_->Now() < state.next_run) continue;
    state.seen = engine_->wakeups().Version(actor);
    const engine::Pass pass = RunOnce(actor);
    state.next_run =
        pass.progressed ? clock_->Now() : std::max(pass.next_run, clock_->Now() + kLeastWait);
    ran = true;
  }
  return ran;
}

engine::Pass SimulatedServer::RunOnce(Actor actor) {
  switch (actor) {
    case Actor::kKeeper:
      return engine_->keeper().RunOnce();
    case Actor::kPrefill:
      return engine_->prefill().RunOnce();
    case Actor::kDecode:
      return engine_->decode().RunOnce();
    case Actor::kSwap:
      break;  // It has none.
  }
  return {};
}

absl::Time SimulatedServer::next_run() const {
  absl::Time next = absl::InfiniteFuture();
  for (const ActorState& state : actors_) next = std::min(next, state.next_run);
  return next;
}

int64_t SimulatedServer::FinalBytes() const {
  const memory::KvGeometry& geometry = memory_->geometry();
  int64_t blocks = 0;
  for (const auto& outcome : open_) {
    blocks += geometry.BlocksFor(outcome->prompt_tokens + outcome->output_tokens);
  }
  return blocks == 0 ? 0
                     : geometry.PagesFor(blocks) * geometry.page_bytes() + serving_.workspace_bytes;
}

void SimulatedServer::Bound(int64_t bytes) {
  {
    base::MutexLock lock(&engine_->core().mutex);
    memory_->SetLease(std::max(bytes, memory_->held_bytes()), bytes);
    memory_->OnBoundary();
  }
  engine_->wakeups().WakeAll();
}

int64_t SimulatedServer::UsedBytes() const {
  const int64_t pages =
      memory_->pages().count(memory::PageState::kMapped) - memory_->blocks().empty_pages();
  return pages * memory_->geometry().page_bytes() + serving_.workspace_bytes;
}

}  // namespace ebb::bench

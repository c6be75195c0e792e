#include "tests/sim/engine_sim.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock_fake.h"
#include "base/log.h"
#include "base/rng.h"
#include "device/device_lost.h"
#include "device/stream_fake.h"
#include "device/vmm_fake.h"
#include "engine/kv_copier_fake.h"
#include "engine/kv_memory_options.h"
#include "engine/kv_swapper.h"
#include "engine/local_engine.h"
#include "engine/step_runner_fake.h"
#include "memory/kv_memory.h"
#include "scheduler/local_policy.h"
#include "tests/sim/block_checks.h"
#include "tests/sim/canaries.h"
#include "tests/sim/describe.h"
#include "tests/sim/faults.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_options.h"
#include "tests/sim/sim_requests.h"

namespace ebb::sim {
namespace {

using engine::Finish;
using engine::FinishReason;
using engine::Lane;
using engine::Request;
using engine::RequestId;
using engine::Token;

constexpr int32_t kBlocksPerPage = 4;
constexpr int64_t kWorkspaceRowBytes = 256;

class EngineSim {
 public:
  EngineSim(uint64_t seed, Canary canary, engine::Queues queues)
      : canary_(canary),
        lanes_(queues),
        rng_(seed),
        answers_rng_(seed + 8),
        prefixes_rng_(seed + 9),
        swap_rng_(seed + 11),
        world_options_(MakeSimOptions(seed, queues, &rng_)),
        vmm_(VmmOptions()),
        faults_(seed + 6, &vmm_, &clock_) {
    base::Rng loss(seed + 3);  // Of its own: the other draws are the same with it and without.
    if (loss.Chance(0.1)) loss_tick_ = loss.Between(0, 400);
    step_rounds_ = loss.Chance(0.3) ? 1000 : loss.Between(1, 20);
    canary_vmm_ = std::make_unique<CanaryVmm>(canary, seed + 1, &vmm_);
    MakeMemory();
    MakeEngine(seed);
  }

  SimReport Run() {
    const int64_t request_count = rng_.Between(1, 16);
    const int64_t tick_count = rng_.Between(50, 600);
    for (int64_t tick = 0; tick < tick_count && report_.failure.empty(); ++tick) {
      if (static_cast<int64_t>(clients_.size()) < request_count && rng_.Chance(0.15)) SubmitOne();
      if (tick == loss_tick_) LoseDevice();
      Tick();
      CheckInvariants();
      ++report_.ticks;
    }
    if (report_.failure.empty()) Settle();
    if (report_.failure.empty()) CheckEnds();
    if (report_.failure.empty() && engine_->Health().ok()) CheckIdle();
    report_.requests = static_cast<int64_t>(clients_.size());
    report_.preemptions = engine_->Load().preemptions_total;
    report_.copied_blocks = canary_runner_->copied_blocks();
    if (memory_->prefix_cache() != nullptr) {
      report_.found_tokens = memory_->prefix_cache()->totals().hit_tokens;
      report_.evicted_blocks = memory_->prefix_cache()->totals().evicted_blocks;
    }
    report_.moved_blocks = memory_->moved_bytes_total() / memory_->geometry().block_bytes();
    faults_.Count(Fault::kStepAbandoned, runner_->abandoned_count());
    faults_.Count(Fault::kStepFails, runner_->failed_count());
    faults_.Count(Fault::kSwapOutFails, copier_->failed_outs());
    faults_.Count(Fault::kSwapInFails, copier_->failed_ins());
    faults_.Count(Fault::kSwapRoomFails, copier_->failed_chunks());
    report_.faults = faults_.counts();
    report_.swap = engine_->Memory().swap;
    for (const auto& client : clients_) report_.tokens += client->token_count();
    TearDown();
    return report_;
  }

 private:
  device::FakeVmm::Options VmmOptions() {
    device::FakeVmm::Options options;
    options.granularity_bytes = kGranularity;
    options.capacity_bytes = kGranularity * (world_options_.ceiling_pages + 64);
    options.backed = true;
    return options;
  }

  void MakeMemory() {
    memory::KvShape shape;
    shape.layers = kLayers;
    shape.block_tokens = kBlockTokens;
    shape.layer_block_bytes =
        kernels::PagedKv::LayerBlockBytes(kernels::DType::kF32, 1, 2, kBlockTokens);
    const auto geometry = memory::KvGeometry::Create(shape, kGranularity, kBlocksPerPage);
    CHECK_OK(geometry.status());
    memory::KvMemory::Options memory = engine::KvMemoryOptionsFrom(options_);
    memory.shrink.windows_kept = static_cast<int32_t>(rng_.Between(1, 4));
    memory.shrink.slack_pages = options_.memory.slack_pages;
    memory.shrink.after = absl::Milliseconds(rng_.Between(0, 200));
    memory.shrink.pages_at_once = rng_.Between(1, 4);
    if (world_options_.shrinks_eagerly) {
      memory.shrink.windows_kept = 1;
      memory.shrink.slack_pages = 0;
      memory.shrink.after = absl::ZeroDuration();
    }
    for (const Lane lane : lanes_.all()) {
      memory.workspaces.push_back({"workspace", kGranularity * (lanes_.one()             ? 6
                                                                : lane == Lane::kPrefill ? 4
                                                                                         : 2)});
    }
    auto made = memory::KvMemory::Create(*geometry, memory, canary_vmm_.get());
    CHECK_OK(made.status());
    memory_ = *std::move(made);
  }

  void MakeEngine(uint64_t seed) {
    engine::FakeStepRunner::Options runner;
    runner.kv.base = memory_->base();
    runner.kv.dtype = kernels::DType::kF32;
    runner.kv.layers = kLayers;
    runner.kv.kv_heads = 1;
    runner.kv.head_dim = 2;
    runner.kv.block_tokens = kBlockTokens;
    runner.kv.blocks_per_page = kBlocksPerPage;
    runner.kv.layer_block_bytes = memory_->geometry().layer_block_bytes();
    for (const Lane lane : lanes_.all()) {
      runner.workspace_base[static_cast<int>(lane)] = memory_->workspace(lanes_.index(lane)).base();
    }
    for (int stream = 0; stream < 2; ++stream) runner.stream[stream] = &streams_[stream];
    runner.vmm = &vmm_;
    runner.clock = &clock_;
    runner.vocabulary_size = kVocabulary;
    runner.workspace_row_bytes = kWorkspaceRowBytes;
    runner_ = std::make_unique<engine::FakeStepRunner>(runner);
    canary_runner_ = std::make_unique<CanaryRunner>(canary_, seed + 2, runner_.get());
    copier_ = std::make_unique<engine::FakeKvCopier>(runner.kv, world_options_.swap);
    if (canary_ == Canary::kShortSwap) copier_->ForgetLastBlocks();
    if (canary_ == Canary::kCrossedSwap) copier_->CrossSlots();
    swapper_ = std::make_unique<engine::KvSwapper>(copier_.get(), &swap_stream_, &clock_);
    policy_ =
        std::make_unique<scheduler::LocalPolicy>(scheduler::LocalPolicy::OptionsFrom(options_));
    canary_policy_ = std::make_unique<CanaryPolicy>(canary_, policy_.get());
    engine::EngineParts parts;
    parts.clock = &clock_;
    parts.log = &log_;
    parts.vmm = canary_vmm_.get();
    parts.memory = memory_.get();
    parts.runner = canary_runner_.get();
    parts.policy = canary_policy_.get();
    parts.limits = {kVocabulary, kContextTokens, {kEndId}};
    parts.swapper = swapper_.get();
    auto made = engine::LocalEngine::Create(options_, parts);
    CHECK_OK(made.status());
    engine_ = *std::move(made);
  }

  // ---- what happens

  void SubmitOne() {
    Request request = DrawRequest(clock_.Now(), &rng_);
    if (options_.prefix_cache.enabled) BeginLikeAnother(clients_, &prefixes_rng_, &request);
    if (answers_rng_.Chance(0.4)) {
      request.n = static_cast<int32_t>(answers_rng_.Between(1, 4));
      request.n = std::min(request.n, options_.queue.running_sequences_max);
    }
    const int32_t stop_at = rng_.Chance(0.15) ? static_cast<int32_t>(rng_.Between(0, 20)) : -1;
    auto client = std::make_shared<SimClient>(request, stop_at, canary_);
    const absl::StatusOr<RequestId> id = engine_->Submit(std::move(request), client);
    if (!id.ok()) {
      if (id.status().code() != absl::StatusCode::kResourceExhausted &&
          id.status() != engine_->Health()) {
        Fail("refused with " + id.status().ToString());
      }
      return;
    }
    client->id = *id;
    clients_.push_back(std::move(client));
  }

  void Tick() {
    // Beside what else moves, so that seeds stay the runs they were.
    if (swap_rng_.Chance(0.1)) RunSwap();
    if (swap_rng_.Chance(0.1)) swap_stream_.RunNext();
    if (swap_rng_.Chance(0.01)) FailASwap();
    const double choice = rng_.Unit();
    if (choice < 0.22) {
      engine_->prefill().RunOnce();
    } else if (choice < 0.44) {
      engine_->decode().RunOnce();
    } else if (choice < 0.62) {
      engine_->keeper().RunOnce();
    } else if (choice < 0.74) {
      streams_[0].RunNext();
    } else if (choice < 0.86) {
      streams_[1].RunNext();
    } else if (choice < 0.94) {
      clock_.Advance(absl::Microseconds(rng_.Between(0, 30'000)));
    } else {
      Misfortune();
    }
  }

  void RunSwap() {
    if (engine_->swap() != nullptr) engine_->swap()->RunOnce();
  }

  void FailASwap() {
    const auto after_blocks = static_cast<int32_t>(swap_rng_.Between(0, 6));
    switch (swap_rng_.Between(0, 2)) {
      case 0:
        return copier_->FailNextOut(after_blocks);
      case 1:
        return copier_->FailNextIn(after_blocks);
      default:
        if (swap_rng_.Chance(0.5)) copier_->FailNextChunk();
    }
  }

  void Misfortune() {
    switch (rng_.Between(0, 6)) {
      case 0:
        CancelOne();
        break;
      case 1:
        world_.limit_moved = true;
        if (rng_.Chance(0.5)) {
          SetLimit(RandomLimit());
        } else {
          AwaitLimit(RandomLimit());
        }
        break;
      case 2:
        vmm_.FailNth(rng_.Chance(0.5) ? device::VmmCall::kCreate : device::VmmCall::kMap,
                     rng_.Between(1, 4));
        break;
      case 3:
        vmm_.FailNth(device::VmmCall::kSetAccess, rng_.Between(1, 4));
        break;
      case 4:
        vmm_.SetPeerBytes(rng_.Between(0, world_options_.ceiling_pages + 64) * kGranularity);
        break;
      case 5:
        if (rng_.Chance(0.2)) {
          world_.memory_stuck = true;  // Quarantined pages are lost for good.
          vmm_.FailNth(rng_.Chance(0.5) ? device::VmmCall::kUnmap : device::VmmCall::kRelease, 1);
        } else {
          vmm_.FailNth(device::VmmCall::kFreeBytes, 1);
        }
        break;
      default:
        FailAStep();
    }
  }

  engine::LimitChange RandomLimit() {
    engine::LimitChange change;
    change.bytes = rng_.Between(0, world_options_.ceiling_pages) * kGranularity;
    change.deadline = absl::Milliseconds(rng_.Between(0, 200));
    change.force = rng_.Chance(0.2);
    if (rng_.Chance(0.3)) {
      change.revision = static_cast<uint64_t>(
          std::max<int64_t>(1, static_cast<int64_t>(revision_) + rng_.Between(-2, 4)));
    }
    return change;
  }

  // Nobody waits for it.
  void SetLimit(const engine::LimitChange& change) {
    faults_.Count(Fault::kLimitMoved);
    (void)BeginLimit(change);
  }

  absl::StatusOr<engine::Relief::Call> BeginLimit(const engine::LimitChange& change) {
    const absl::Status health = engine_->Health();
    const int64_t limit_before = engine_->Memory().limit_bytes;
    const auto call = engine_->BeginMemoryLimit(change);
    if (call.status() != health) Fail("a limit was answered with " + call.status().ToString());
    if (!call.ok()) return call;
    const bool stale = change.revision != 0 && change.revision <= revision_;
    revision_ = std::max(revision_, change.revision);
    const engine::LimitAnswer answer = engine_->MemoryLimitAnswer(*call);
    if (answer.stale != stale) Fail("a stale revision that is not, or the other way round");
    if (answer.revision != revision_) Fail("another revision in force");
    if (engine_->Memory().limit_bytes != (stale ? limit_before : change.bytes)) {
      Fail("another limit in force than the last that counted");
    }
    return call;
  }

  // A limit in a world where everybody gets a turn each millisecond and a step takes up to 20 of
  // them, or as good as forever, but one once it was told to stop: the limit is reached by its
  // deadline, unless the first request alone needs more.
  void AwaitLimit(engine::LimitChange change) {
    change.deadline = absl::Milliseconds(100);
    faults_.Count(Fault::kLimitAwaited);
    faults_.Pause();
    const auto call = BeginLimit(change);
    if (!call.ok()) return faults_.GoOn();
    int64_t step_rounds[2] = {0, 0};
    absl::Time excused = absl::InfinitePast();
    while (clock_.Now() <= call->deadline && report_.failure.empty()) {
      RunActors();
      if (MayDefer(change)) excused = clock_.Now();
      for (const Lane lane : lanes_.all()) {
        const int at = static_cast<int>(lane);
        if (!runner_->is_told_to_stop(lane) && ++step_rounds[at] < step_rounds_) continue;
        step_rounds[at] = 0;
        streams_[at].RunNext();
      }
      swap_stream_.RunNext();
      clock_.Advance(absl::Milliseconds(1));
    }
    faults_.GoOn();
    const engine::LimitAnswer answer = engine_->MemoryLimitAnswer(*call);
    report_.forced += answer.ended_count;
    if (answer.stale || answer.applied || !engine_->Health().ok()) return;
    ++report_.deferred;
    // What ended just now has no time left to be given back in.
    if (excused + absl::Milliseconds(10) < clock_.Now()) {
      Fail("deferred, though nobody needs it" + Describe(engine_.get(), *memory_));
    }
  }

  // Whether the first running request alone needs more than the limit without force; or a page is
  // lost, or a step in flight that is not abandoned because the one before it was.
  bool MayDefer(const engine::LimitChange& change) {
    engine::EngineCore& core = engine_->core();
    base::MutexLock lock(&core.mutex);
    for (const memory::PagePool* pool : memory_->pools()) {
      if (pool->count(memory::PageState::kQuarantined) > 0) return true;
    }
    for (const Lane lane : lanes_.all()) {
      if (core.lane(lane).in_flight && core.lane(lane).spared) return true;
    }
    for (const engine::Sequence* sequence : core.order()) {
      if (!sequence->running()) continue;
      return !change.force && FirstNeedBytes(*sequence) > change.bytes;
    }
    return false;
  }

  // What the request takes from its first chunk to its next token when it is alone.
  int64_t FirstNeedBytes(const engine::Sequence& sequence) const {
    const int64_t tokens = static_cast<int64_t>(sequence.tokens.size());
    const int64_t rows = std::min<int64_t>(tokens, options_.step.chunk_tokens_max);
    const int64_t logits_rows = sequence.wants_prompt_logprobs()
                                    ? std::min<int64_t>(rows, 1 + options_.step.logits_rows_max)
                                    : 1;
    const auto pages = [](int64_t bytes) { return (bytes + kGranularity - 1) / kGranularity; };
    const int64_t blocks = (tokens + kBlockTokens - 1) / kBlockTokens;
    // With one queue a token's step is no larger than a chunk's and lies in the same workspace.
    const int64_t decode_pages = lanes_.one() ? 0 : pages(kWorkspaceRowBytes * 2);
    return ((blocks + kBlocksPerPage - 1) / kBlocksPerPage +
            pages(kWorkspaceRowBytes * (rows + logits_rows)) + decode_pages) *
           kGranularity;
  }

  void LoseDevice() {
    world_.device_lost = true;
    faults_.Count(Fault::kDeviceLost);
    runner_->LoseDevice(device::DeviceLostError(kLossText));
    vmm_.LoseDevice(kLossText);
  }

  void FailAStep() {
    world_.step_failed = true;
    const Lane lane = rng_.Chance(0.5) ? lanes_.all().front() : Lane::kDecode;
    if (rng_.Chance(0.5)) {
      runner_->FailNext(lane, absl::UnknownError("planted"));
    } else {
      runner_->FailNextSequence(lane, absl::UnknownError("planted"));
    }
  }

  void CancelOne() {
    if (clients_.empty()) return;
    SimClient& client = *clients_[rng_.Between(0, static_cast<int64_t>(clients_.size()) - 1)];
    client.cancelled = true;
    faults_.Count(Fault::kCancel);
    if (canary_ == Canary::kDeafCancel && client.id % 2 == 0) return;
    engine_->Cancel(client.id);
  }

  // ---- what must hold

  void Fail(const std::string& what) {
    if (report_.failure.empty()) report_.failure = what;
  }

  void CheckInvariants() {
    for (const auto& client : clients_) {
      if (!client->failure().empty()) return Fail(client->failure());
    }
    if (!engine_->Health().ok()) CheckLeftAlone();
    engine::EngineCore& core = engine_->core();
    base::MutexLock lock(&core.mutex);
    CheckBytes();
    if (const std::string broken = CheckBlocks(core, *memory_); !broken.empty()) Fail(broken);
    if (const std::string broken = CheckSlots(core); !broken.empty()) Fail(broken);
  }

  // Once the engine knows of the loss, it submits nothing and asks for no memory.
  void CheckLeftAlone() {
    if (!world_.device_lost) Fail("a loss that did not happen");
    int64_t calls = runner_->submit_count();
    for (int call = 0; call < device::kVmmCallCount; ++call) {
      calls += vmm_.call_count(static_cast<device::VmmCall>(call));
    }
    if (calls_at_loss_ < 0) calls_at_loss_ = calls;
    if (calls != calls_at_loss_) Fail("the lost device is not left alone");
  }

  void CheckBytes() {
    const int64_t held = memory_->held_bytes();
    const memory::LimitState limit = memory_->limit_state();
    // Above a lowered limit, what is held may only fall; and no higher than the old limit.
    if (held > memory_->budget().limit_bytes() && held > held_before_) Fail("grew over the limit");
    held_before_ = held;
    if (vmm_.created_bytes() > held) Fail("the device gave more than is held in account");
    if (limit.applied() && held > limit.limit_bytes) Fail("held over an applied limit");
  }

  // ---- the end

  bool AllFinished() const {
    return std::all_of(clients_.begin(), clients_.end(),
                       [](const auto& client) { return client->finished(); });
  }

  // One turn for everybody.
  void RunActors() {
    engine_->keeper().RunOnce();
    CheckInvariants();
    engine_->prefill().RunOnce();
    CheckInvariants();
    engine_->decode().RunOnce();
    CheckInvariants();
    RunSwap();
    CheckInvariants();
  }

  void Round() {
    RunActors();
    streams_[0].RunNext();
    streams_[1].RunNext();
    swap_stream_.RunNext();
    clock_.Advance(absl::Milliseconds(2));
  }

  // Nothing bad happens any more: everything must end, and cancels act within a step.
  void Settle() {
    faults_.Pause();
    vmm_.StopFailing();
    // But one copy: there are few before now.
    if (swap_rng_.Chance(0.4)) FailASwap();
    vmm_.SetPeerBytes(0);
    if (rng_.Chance(0.5)) {
      SetLimit({options_.memory.limit_bytes});
    }
    if (rng_.Chance(0.1)) {
      world_.drained = true;
      faults_.Count(Fault::kDrain);
      engine_->BeginDrain(absl::Milliseconds(rng_.Between(0, 500)));
    }
    if (rng_.Chance(0.3)) CancelOne();
    // A cancel is seen by the next pass of a loop, or by that which reaps the step.
    for (int i = 0; i < 3 && report_.failure.empty(); ++i) Round();
    for (const auto& client : clients_) {
      if (client->cancelled && !client->finished()) Fail("cancelled, and still there");
    }
    // Each round moves each lane by a step. A request needs at most kContextTokens rounds of one
    // token; all may come one after the other and be recomputed a few times.
    const int64_t rounds_max = 2000 + 16 * kContextTokens * 10;
    for (int64_t i = 0; i < rounds_max && !AllFinished() && report_.failure.empty(); ++i) Round();
    if (!AllFinished()) Fail("no progress: requests are left" + Describe(engine_.get(), *memory_));
  }

  void CheckEnds() {
    for (const auto& client : clients_) {
      SimClient::World world = world_;
      world.cancelled = client->cancelled;
      client->CheckEnd(world, clock_.Now());
      if (!client->failure().empty()) return Fail(client->failure());
    }
  }

  void CheckIdle() {
    for (int i = 0; i < 20; ++i) Round();
    clock_.Advance(options_.memory.idle);
    for (int i = 0; i < 60; ++i) Round();
    // A prefix that was found often is kept longer.
    clock_.Advance(options_.prefix_cache.idle * 20);
    for (int i = 0; i < 60; ++i) Round();
    // While idle, what the device has free is looked at once a second.
    clock_.Advance(absl::Seconds(1));
    for (int i = 0; i < 60; ++i) Round();
    if (!engine_->Health().ok()) return;  // Found just now: what is held stays.
    int64_t stuck_bytes = 0;
    for (const memory::PagePool* pool : memory_->pools()) {
      stuck_bytes += pool->count(memory::PageState::kQuarantined) * pool->page_bytes();
    }
    if (stuck_bytes > 0 && !world_.memory_stuck) Fail("quarantined without a cause");
    const int64_t kept =
        std::max<int64_t>(memory_->kept_pages(), memory_->blocks().kept_only_pages());
    const int64_t mapped = engine_->Memory().pages_mapped;
    const bool could_grow = memory_->budget().bounds().GrowableBytes() >= kGranularity;
    if (mapped > kept || (mapped < kept && could_grow)) {
      Fail(absl::StrCat("idle, and ", mapped, " pages instead of the ", kept, " kept",
                        Describe(engine_.get(), *memory_)));
    }
    if (memory_->held_bytes() != stuck_bytes + mapped * kGranularity)
      Fail("idle, and memory is held" + Describe(engine_.get(), *memory_));
    if (vmm_.created_bytes() > memory_->held_bytes()) Fail("the device's memory is not back");
    const engine::SwapView swap = engine_->Memory().swap;
    if (swap.used_bytes > 0) Fail("idle, and slots are taken");
    if (swap.held_bytes > 0 || copier_->chunk_count() > 0) Fail("idle, and swap space is held");
  }

  void TearDown() {
    if (!report_.failure.empty()) {
      // The world is broken: taking it apart would end in a CHECK that says less.
      (void)engine_.release();
      (void)memory_.release();
      (void)canary_vmm_.release();
      return;
    }
    const absl::Status status = engine_->Shutdown();
    if (!status.ok() && !world_.memory_stuck) Fail("shutdown: " + status.ToString());
  }

  const Canary canary_;
  const engine::Lanes lanes_;
  base::Rng rng_;
  base::Rng answers_rng_;   // Of its own, as the loss's.
  base::Rng prefixes_rng_;  // Likewise.
  base::Rng swap_rng_;      // Likewise.
  const SimOptions world_options_;
  const engine::LocalEngineOptions& options_ = world_options_.engine;
  base::FakeClock clock_;
  base::NullLog log_;
  device::FakeVmm vmm_;
  Faults faults_;
  device::FakeStream streams_[2];
  device::FakeStream swap_stream_;
  std::unique_ptr<CanaryVmm> canary_vmm_;
  std::unique_ptr<memory::KvMemory> memory_;
  std::unique_ptr<engine::FakeStepRunner> runner_;
  std::unique_ptr<CanaryRunner> canary_runner_;
  std::unique_ptr<engine::FakeKvCopier> copier_;
  std::unique_ptr<engine::KvSwapper> swapper_;
  std::unique_ptr<scheduler::LocalPolicy> policy_;
  std::unique_ptr<CanaryPolicy> canary_policy_;
  std::unique_ptr<engine::LocalEngine> engine_;
  std::vector<std::shared_ptr<SimClient>> clients_;
  SimClient::World world_;
  int64_t held_before_ = 0;
  int64_t step_rounds_ = 1;  // How long a step takes while a limit is awaited.
  uint64_t revision_ = 0;    // In force.
  int64_t loss_tick_ = -1;
  int64_t calls_at_loss_ = -1;
  SimReport report_;
};

}  // namespace

SimReport RunEngineSim(uint64_t seed, Canary canary, engine::Queues queues) {
  // On the heap, and left there after a failure: what it stands on is broken then.
  auto sim = std::make_unique<EngineSim>(seed, canary, queues);
  SimReport report = sim->Run();
  if (!report.failure.empty()) (void)sim.release();
  return report;
}

}  // namespace ebb::sim

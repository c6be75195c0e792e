// compaction (E6): how many KV pages are held for what running requests need, with compaction and
// without, and by a static pool, in the same binary. Goal: held/needed at most 1.1 after scatter.
//
//   scatter  64 requests at once, answers of 16 to 256 tokens, but each sixteenth goes on to 2,000:
//            what is held for those four, from 6 s to 11 s after the others have ended
//   churn    arrivals at random, answers of 16 to 256 tokens, about 24 at a time, 120 s
//   bursts   24 requests each 20 s, two long ones beside them, 120 s
//
//   default  the settings as they are
//   dense    windows of 8 steps, shrinking after one window and 100 ms
//   static   a pool that stays mapped: memory.keep_bytes is the limit
//
// The engine is the real one and so are its blocks and pages (a 135M llama in f16: 16 tokens a
// block, 256 a page of 6 MiB); the model is a hash and the clock a counter, so that a run takes
// seconds and gives the same figures everywhere. needed: tokens of running requests times bytes per
// token. held: KV pages in any state but reserved, without workspaces.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock_fake.h"
#include "base/log.h"
#include "base/rng.h"
#include "device/stream_fake.h"
#include "device/vmm_fake.h"
#include "engine/kv_memory_options.h"
#include "engine/local_engine.h"
#include "engine/step_runner_fake.h"
#include "memory/kv_memory.h"
#include "scheduler/local_policy.h"

namespace ebb {
namespace {

using engine::Lane;

constexpr int64_t kMib = int64_t{1} << 20;
constexpr int32_t kVocabulary = 64;

// Steps take time on the fake clock: so much for each row, and for the step itself.
class TimedRunner final : public engine::StepRunner {
 public:
  explicit TimedRunner(engine::StepRunner* inner) : inner_(inner) {}

  static absl::Duration StepTime(Lane lane, int64_t rows) {
    return lane == Lane::kPrefill ? absl::Microseconds(2000 + 400 * rows)
                                  : absl::Microseconds(8000 + 200 * rows);
  }
  void SetOnDone(std::function<void(Lane lane)> on_done) override {
    inner_->SetOnDone(std::move(on_done));
  }
  int64_t WorkspaceBytes(Lane lane, const engine::StepShape& shape) const override {
    return inner_->WorkspaceBytes(lane, shape);
  }
  void Submit(engine::Batch batch) override {
    const int i = static_cast<int>(batch.lane);
    time_[i] = StepTime(batch.lane, engine::ShapeOf(batch).row_count);
    in_flight_[i] = true;
    inner_->Submit(std::move(batch));
  }
  std::optional<engine::StepResult> TakeResult(Lane lane) override {
    std::optional<engine::StepResult> result = inner_->TakeResult(lane);
    if (!result.has_value()) return result;
    result->started = result->ended - time_[static_cast<int>(lane)];
    in_flight_[static_cast<int>(lane)] = false;
    return result;
  }
  void WaitIdle() override { inner_->WaitIdle(); }

  bool in_flight(Lane lane) const { return in_flight_[static_cast<int>(lane)]; }
  absl::Duration time(Lane lane) const { return time_[static_cast<int>(lane)]; }

 private:
  engine::StepRunner* const inner_;
  absl::Duration time_[2];
  bool in_flight_[2] = {false, false};
};

class CountingSink final : public engine::RequestSink {
 public:
  explicit CountingSink(int64_t* running) : running_(running) {}
  void OnPromptLogprobs(std::vector<engine::PromptLogprob>) override {}
  engine::SinkAnswer OnToken(const engine::Token&) override {
    return engine::SinkAnswer::kContinue;
  }
  void OnFinish(const engine::Finish& finish) override {
    // Those that the end of the run cuts short ended well before.
    CHECK(finish.status.ok() || absl::IsUnavailable(finish.status)) << finish.status;
    --*running_;
  }

 private:
  int64_t* const running_;
};

struct Result {
  double held = 0;    // Byte seconds.
  double needed = 0;  // Byte seconds.
  double seconds = 0;
  double moved_mib = 0;
  int64_t flips = 0;
  int64_t preemptions = 0;
};

enum class Settings { kDefault, kDense, kStatic };
const char* NameOf(Settings settings) {
  return settings == Settings::kStatic  ? "static"
         : settings == Settings::kDense ? "dense"
                                        : "default";
}

class World {
 public:
  World(bool compacts, Settings settings) {
    options_.queue.running_sequences_max = 64;
    options_.memory.limit_bytes = 1024 * kMib;
    options_.memory.ceiling_bytes = 1024 * kMib;
    options_.memory.headroom_bytes = 0;
    options_.prefix_cache.enabled = false;  // What is held is compared with what is needed.
    if (settings == Settings::kStatic) options_.memory.keep_bytes = options_.memory.limit_bytes;
    if (settings == Settings::kDense) {
      options_.window.decode_steps = 8;
      options_.memory.shrink_windows = 1;
      options_.memory.shrink_after = absl::Milliseconds(100);
    }
    if (!compacts) options_.memory.compact_above_percent = 0;
    MakeMemory();
    engine::FakeStepRunner::Options runner;
    runner.kv.base = memory_->base();
    runner.kv.dtype = kernels::DType::kF16;
    runner.kv.layers = 30;
    runner.kv.kv_heads = 3;
    runner.kv.head_dim = 64;
    runner.kv.block_tokens = 16;
    runner.kv.blocks_per_page = memory_->geometry().blocks_per_page();
    runner.kv.layer_block_bytes = memory_->geometry().layer_block_bytes();
    for (int lane = 0; lane < 2; ++lane) {
      runner.workspace_base[lane] = memory_->workspace(lane).base();
      runner.stream[lane] = &streams_[lane];
    }
    runner.vmm = &vmm_;
    runner.clock = &clock_;
    runner.vocabulary_size = kVocabulary;
    fake_ = std::make_unique<engine::FakeStepRunner>(runner);
    runner_ = std::make_unique<TimedRunner>(fake_.get());
    policy_ =
        std::make_unique<scheduler::LocalPolicy>(scheduler::LocalPolicy::OptionsFrom(options_));
    auto made = engine::LocalEngine::Create(options_, {&clock_,
                                                       &log_,
                                                       &vmm_,
                                                       memory_.get(),
                                                       runner_.get(),
                                                       policy_.get(),
                                                       {kVocabulary, 4096, {7}}});
    CHECK_OK(made.status());
    engine_ = *std::move(made);
  }
  ~World() {
    engine_->BeginDrain(absl::ZeroDuration());
    while (running_ > 0) Advance(clock_.Now() + absl::Milliseconds(10));
    CHECK_OK(engine_->Shutdown());
  }

  void Submit(int32_t prompt_tokens, int32_t answer_tokens) {
    engine::Request request;
    for (int32_t i = 0; i < prompt_tokens; ++i) request.prompt.push_back(i % kVocabulary);
    request.stopping.max_tokens = answer_tokens;
    request.stopping.ignore_eos = true;
    ++running_;
    CHECK_OK(
        engine_->Submit(std::move(request), std::make_shared<CountingSink>(&running_)).status());
  }

  // Lets everything happen until then. A lane's step ends when its time is over.
  void Advance(absl::Time until) {
    for (;;) {
      RunActors();
      absl::Time next = std::min(until, clock_.Now() + absl::Milliseconds(20));
      for (const Lane lane : {Lane::kPrefill, Lane::kDecode}) {
        absl::Time& ends = ends_[static_cast<int>(lane)];
        if (!runner_->in_flight(lane)) {
          ends = absl::InfiniteFuture();
        } else if (ends == absl::InfiniteFuture()) {
          ends = clock_.Now() + runner_->time(lane);
        }
        next = std::min(next, ends);
      }
      Count(next - clock_.Now());
      clock_.Advance(next - clock_.Now());
      for (int lane = 0; lane < 2; ++lane) {
        if (ends_[lane] > clock_.Now()) continue;
        streams_[lane].RunNext();
        ends_[lane] = absl::InfiniteFuture();
      }
      if (clock_.Now() >= until) return;
    }
  }
  absl::Time Now() const { return clock_.Now(); }
  int64_t running() const { return running_; }

  void StartCounting() { result_ = Result(); }
  Result Take() {
    result_.moved_mib = static_cast<double>(memory_->moved_bytes_total()) / kMib;
    result_.flips = memory_->flips().flips_total();
    result_.preemptions = engine_->Load().preemptions_total;
    return result_;
  }
  double page_bytes() const { return static_cast<double>(memory_->geometry().page_bytes()); }

 private:
  void MakeMemory() {
    memory::KvShape shape{30, 16,
                          kernels::PagedKv::LayerBlockBytes(kernels::DType::kF16, 3, 64, 16)};
    const auto geometry = memory::KvGeometry::Create(shape, vmm_.granularity_bytes());
    CHECK_OK(geometry.status());
    memory::KvMemory::Options memory = engine::KvMemoryOptionsFrom(options_);
    memory.workspaces = {{"workspace.prefill", 4 * kMib}, {"workspace.decode", 4 * kMib}};
    auto made = memory::KvMemory::Create(*geometry, memory, &vmm_);
    CHECK_OK(made.status());
    memory_ = *std::move(made);
  }

  void RunActors() {
    for (bool progressed = true; progressed;) {
      progressed = engine_->keeper().RunOnce().progressed;
      progressed |= engine_->prefill().RunOnce().progressed;
      progressed |= engine_->decode().RunOnce().progressed;
    }
  }

  void Count(absl::Duration span) {
    const double seconds = absl::ToDoubleSeconds(span);
    const double held = memory_->pages().held_pages() * page_bytes();
    result_.held += held * seconds;
    result_.needed += static_cast<double>(engine_->Memory().needed_bytes) * seconds;
    result_.seconds += seconds;
  }

  engine::LocalEngineOptions options_;
  base::FakeClock clock_;
  base::NullLog log_;
  device::FakeVmm vmm_{[] {
    device::FakeVmm::Options options;
    options.granularity_bytes = 2 * kMib;
    options.capacity_bytes = 2048 * kMib;
    options.backed = true;
    return options;
  }()};
  std::unique_ptr<memory::KvMemory> memory_;
  device::FakeStream streams_[2];
  std::unique_ptr<engine::FakeStepRunner> fake_;
  std::unique_ptr<TimedRunner> runner_;
  std::unique_ptr<scheduler::LocalPolicy> policy_;
  std::unique_ptr<engine::LocalEngine> engine_;
  absl::Time ends_[2] = {absl::InfiniteFuture(), absl::InfiniteFuture()};
  int64_t running_ = 0;
  Result result_;
};

Result Scatter(World* world) {
  base::Rng rng(1);
  for (int i = 0; i < 64; ++i) {
    world->Submit(64, i % 16 == 0 ? 2000 : static_cast<int32_t>(rng.Between(16, 256)));
  }
  while (world->running() > 4) world->Advance(world->Now() + absl::Milliseconds(100));
  world->Advance(world->Now() + absl::Seconds(6));
  world->StartCounting();
  world->Advance(world->Now() + absl::Seconds(5));
  return world->Take();
}

Result Churn(World* world) {
  base::Rng rng(2);
  const absl::Time end = world->Now() + absl::Seconds(120);
  world->StartCounting();
  while (world->Now() < end) {
    if (world->running() < 60) world->Submit(64, static_cast<int32_t>(rng.Between(16, 256)));
    world->Advance(world->Now() + absl::Milliseconds(rng.Between(1, 160)));
  }
  return world->Take();
}

Result Bursts(World* world) {
  base::Rng rng(3);
  for (int i = 0; i < 2; ++i) world->Submit(64, 4000);
  world->StartCounting();
  for (int burst = 0; burst < 6; ++burst) {
    for (int i = 0; i < 24; ++i) world->Submit(128, static_cast<int32_t>(rng.Between(16, 256)));
    world->Advance(world->Now() + absl::Seconds(20));
  }
  return world->Take();
}

void Print(const char* name, Settings settings, bool compacts, const World& world,
           const Result& result) {
  const double two_pages = 2 * world.page_bytes() * result.seconds;
  std::printf("%-8s %-8s %-3s %9.2f %9.2f %12.2f %16.2f %10.1f %6lld %11lld\n", name,
              NameOf(settings), compacts ? "on" : "off", result.held / result.seconds / kMib,
              result.needed / result.seconds / kMib, result.held / result.needed,
              (result.held - two_pages) / result.needed, result.moved_mib,
              static_cast<long long>(result.flips), static_cast<long long>(result.preemptions));
  std::fflush(stdout);
}

int Main() {
  struct Load {
    const char* name;
    Result (*run)(World*);
  };
  std::printf("%-8s %-8s %-3s %9s %9s %12s %16s %10s %6s %11s\n", "load", "settings", "on?",
              "held MiB", "needed", "held/needed", "less 2 pages", "moved MiB", "flips",
              "preemptions");
  double scattered[3] = {0, 0, 0};  // held/needed after scatter, by settings.
  for (const Load& load :
       {Load{"scatter", Scatter}, Load{"churn", Churn}, Load{"bursts", Bursts}}) {
    for (const Settings settings : {Settings::kDefault, Settings::kDense, Settings::kStatic}) {
      for (const bool compacts : {false, true}) {
        if (compacts && settings == Settings::kStatic) continue;  // Nothing is to be given back.
        World world(compacts, settings);
        const Result result = load.run(&world);
        Print(load.name, settings, compacts, world, result);
        if (load.run == Scatter) {
          scattered[static_cast<int>(settings)] = result.held / result.needed;
        }
      }
    }
  }
  const double held = scattered[static_cast<int>(Settings::kDefault)];
  constexpr double kGoal = 1.1;
  std::printf("E6: after compaction held/needed is %.3f (dense %.3f, static %.2f); goal %.1f: %s\n",
              held, scattered[static_cast<int>(Settings::kDense)],
              scattered[static_cast<int>(Settings::kStatic)], kGoal,
              held <= kGoal ? "met" : "missed");
  return 0;
}

}  // namespace
}  // namespace ebb

int main() { return ebb::Main(); }

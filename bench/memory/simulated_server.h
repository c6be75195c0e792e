// SimulatedServer: a real engine with real memory and its real part in a ledger, on a clock that a
// SimulatedMachine moves; only the model is missing: a step yields tokens once its time is over.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/clock_fake.h"
#include "base/log.h"
#include "bench/memory/step_times.h"
#include "cli/bench/arrivals.h"
#include "device/vmm_fake.h"
#include "engine/local_engine.h"
#include "memory/kv_memory.h"
#include "memory/sharing.h"
#include "scheduler/local_policy.h"

namespace ebb::bench {

// What became of one request. Times since it arrived.
struct Outcome {
  bool ok = false;  // Ended with all its tokens.
  absl::Duration first_token = absl::InfiniteDuration();
  absl::Duration largest_gap = absl::ZeroDuration();  // Between two of its tokens.
  absl::Time last_token = absl::InfinitePast();
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  int64_t cached_tokens = 0;  // Of the prompt, found in the prefix cache.
};

// A step in flight on a lane, with the work that is left of it.
class TimedRunner final : public engine::StepRunner {
 public:
  TimedRunner(const StepTimes* times, const base::Clock* clock) : times_(times), clock_(clock) {}

  static constexpr int64_t kRowBytes = 12 << 10;         // SmolLM2's activations, and
  static constexpr int64_t kLogitsRowBytes = 194 << 10;  // its vocabulary of 49,152.

  void SetOnDone(std::function<void(engine::Lane)> on_done) override {
    on_done_ = std::move(on_done);
  }
  int64_t WorkspaceBytes(engine::Lane, const engine::StepShape& shape) const override {
    return kRowBytes * shape.row_count + kLogitsRowBytes * shape.logits_row_count;
  }
  void Submit(engine::Batch batch) override;
  std::optional<engine::StepResult> TakeResult(engine::Lane lane) override;
  // Steps stop between layers: as good as at once.
  void Abandon(engine::Lane lane) override;
  void WaitIdle() override {}

  // Seconds of the whole machine that the lane's step still takes; nothing: none runs.
  std::optional<double> left(engine::Lane lane) const;
  // Work is done on it; at 0 it completes.
  void Work(engine::Lane lane, double seconds);

 private:
  struct LaneState {
    std::optional<engine::Batch> batch;
    double left_seconds = 0;
    bool abandoned = false;
    absl::Time started;
    std::optional<engine::StepResult> result;
  };
  LaneState& lane(engine::Lane which) { return lanes_[static_cast<int>(which)]; }
  void Complete(engine::Lane which);

  const StepTimes* const times_;
  const base::Clock* const clock_;
  std::function<void(engine::Lane)> on_done_;
  LaneState lanes_[2];
};

// How a server serves.
struct SimulatedServing {
  int32_t running_max = 16;
  int64_t workspace_bytes = int64_t{14} << 20;  // Of both lanes, at most.
  // What requests state as their max_tokens; their answers end by themselves when they have their
  // length. 0: requests state their answers' lengths.
  int64_t max_tokens = 0;
  // None: off, for what is held is compared with what is needed.
  std::optional<engine::PrefixCacheOptions> prefix_cache;
  // The tokens of the nth request. None: all prompts are alike.
  std::function<std::vector<int32_t>(size_t)> prompt_of;
  // None: LocalPolicy.
  std::function<std::unique_ptr<engine::StepPolicy>(const engine::LocalEngineOptions&)> policy;
};

class SimulatedServer {
 public:
  static constexpr char kDeviceId[] = "simulated";  // Of the ledger.

  struct Options {
    int64_t limit_bytes = 0;
    int64_t ceiling_bytes = 0;
    std::string ledger_directory;  // Empty: shares with nobody.
    int64_t capacity_bytes = 0;    // Of the ledger.
    int64_t floor_bytes = 0;
    SimulatedServing serving;
  };
  // All but the options outlive it.
  SimulatedServer(const Options& options, const StepTimes* times, base::FakeClock* clock,
                  device::FakeVmm* vmm);
  // Ends what still runs.
  ~SimulatedServer();

  void Submit(const cli::Arrival& arrival);
  // Lets each actor run that was woken or is due. True when any ran.
  bool RunActors();
  // When an actor must run though nobody wakes it.
  absl::Time next_run() const;

  TimedRunner& runner() { return *runner_; }
  engine::LocalEngine& engine() { return *engine_; }
  const memory::KvMemory& memory() const { return *memory_; }
  int64_t unfinished() const { return unfinished_; }
  const std::vector<std::shared_ptr<Outcome>>& outcomes() const { return outcomes_; }
  // What the unfinished requests will hold at their ends, and the workspaces: what nobody but an
  // oracle knows.
  int64_t FinalBytes() const;
  // What a ledger would say: hold no more from now on. REQUIRES: it shares with nobody.
  void Bound(int64_t bytes);
  // Pages with blocks in use, and the workspaces.
  int64_t UsedBytes() const;

 private:
  class Sink;
  struct ActorState {
    uint64_t seen = std::numeric_limits<uint64_t>::max();
    absl::Time next_run = absl::InfinitePast();
  };
  void MakeMemory();
  engine::Pass RunOnce(engine::Actor actor);

  base::FakeClock* const clock_;
  device::FakeVmm* const vmm_;
  engine::LocalEngineOptions options_;
  base::NullLog log_;
  std::unique_ptr<memory::KvMemory> memory_;
  std::unique_ptr<TimedRunner> runner_;
  std::unique_ptr<memory::Sharing> sharing_;
  const SimulatedServing serving_;
  std::unique_ptr<engine::StepPolicy> policy_;
  std::unique_ptr<engine::LocalEngine> engine_;
  ActorState actors_[engine::kActorCount];
  int64_t unfinished_ = 0;
  std::vector<std::shared_ptr<Outcome>> outcomes_;
  std::vector<std::shared_ptr<Outcome>> open_;  // Unfinished, for FinalBytes.
};

}  // namespace ebb::bench

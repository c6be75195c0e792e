// LocalEngine: the Engine that runs a model in this process: a loop for each lane and a page
// keeper.
//
//   Submit ──> EngineCore <── LaneLoop, .. ──┬──> StepRunner ──> model
//                  └───────── KeeperActor ───┼──> Vmm
//                                            └──> sinks
//
// The actors do nothing by themselves: EngineThreads gives each a thread; a test drives them by
// hand, in any interleaving.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/core.h"
#include "engine/engine.h"
#include "engine/keeper_actor.h"
#include "engine/lane_loop.h"
#include "engine/relief.h"
#include "engine/swap_actor.h"
#include "engine/windows.h"

namespace ebb::engine {

// Thread-safe as Engine is; each actor is driven by one thread at a time.
class LocalEngine final : public Engine {
 public:
  // INVALID_ARGUMENT when an option is out of its range, or the limit has no room for the smallest
  // request beside the workspaces. `parts` outlive the engine.
  static absl::StatusOr<std::unique_ptr<LocalEngine>> Create(const LocalEngineOptions& options,
                                                             const EngineParts& parts);
  // REQUIRES: every request has ended and no actor runs. Call Shutdown first.
  ~LocalEngine() override = default;

  absl::StatusOr<RequestId> Submit(Request request, std::shared_ptr<RequestSink> sink) override;
  void Cancel(RequestId id) override;
  absl::StatusOr<LimitAnswer> SetMemoryLimit(const LimitChange& change) override;
  MemoryView Memory() const override;
  LoadView Load() const override;
  std::vector<WindowView> RecentWindows() const override;
  std::string SaveLengths() const override;
  void FlushPrefixCache() override;
  absl::Status Health() const override { return core_->Health(); }
  void SetOnLost(std::function<void()> on_lost) override { core_->SetOnLost(std::move(on_lost)); }
  // REQUIRES: the actors are running, or nothing is left to end.
  void Drain(absl::Duration grace) override;

  // SetMemoryLimit's first half and its answer as of now, for tests that drive the actors.
  absl::StatusOr<Relief::Call> BeginMemoryLimit(const LimitChange& change);
  LimitAnswer MemoryLimitAnswer(const Relief::Call& call);
  // Drain's first half, for tests that drive the actors.
  void BeginDrain(absl::Duration grace) { core_->BeginDrain(grace); }
  // Gives all memory back. REQUIRES: drained, and no actor runs any more.
  absl::Status Shutdown() { return keeper_.Shutdown(); }

  LaneLoop& loop(Lane lane) { return loops_[core_->lanes.index(lane)]; }
  // The loop that runs prompts, and the one that makes answers: with one queue, the same.
  LaneLoop& prefill() { return loop(core_->lanes.Of(SequenceState::kPrefilling)); }
  LaneLoop& decode() { return loop(core_->lanes.Of(SequenceState::kDecoding)); }
  KeeperActor& keeper() { return keeper_; }
  SwapActor* swap() { return swap_.get(); }  // None where nothing is swapped.
  EngineCore& core() { return *core_; }
  Wakeups& wakeups() { return core_->wakeups; }

 private:
  LocalEngine(const LocalEngineOptions& options, const EngineParts& parts);

  const std::unique_ptr<EngineCore> core_;
  Windows windows_;
  Relief relief_;
  std::vector<LaneLoop> loops_;  // By Lanes::index.
  KeeperActor keeper_;
  std::unique_ptr<SwapActor> swap_;
};

}  // namespace ebb::engine

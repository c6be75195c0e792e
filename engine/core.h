// EngineCore: what the loops share: all unfinished requests in their one order, the lanes, and the
// one mutex that guards them and the memory.
//
//   server threads    Submit, Cancel          |
//   a thread a lane   LaneLoop::RunOnce       |  take core->mutex to plan; never hold it over a
//   keeper thread     KeeperActor::RunOnce    |  device call, a step or a sink call
//
// Owned by LocalEngine.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "device/vmm.h"
#include "engine/engine.h"
#include "engine/fair_share.h"
#include "engine/kv_swapper.h"
#include "engine/lanes.h"
#include "engine/largest_step.h"
#include "engine/live_request.h"
#include "engine/options.h"
#include "engine/outbox.h"
#include "engine/sequence.h"
#include "engine/service_rate.h"
#include "engine/step_policy.h"
#include "engine/step_runner.h"
#include "engine/swaps.h"
#include "engine/wakeups.h"
#include "engine/window_history.h"
#include "memory/kv_memory.h"
#include "memory/sharing.h"
#include "memory/step_time_model.h"
#include "memory/window_manager.h"

namespace ebb::engine {

// What an engine is put together from. Everything outlives it.
struct EngineParts {
  const base::Clock* clock = nullptr;
  base::Log* log = nullptr;
  device::Vmm* vmm = nullptr;
  // It has a workspace for each lane, in the order of Lanes::all().
  memory::KvMemory* memory = nullptr;
  StepRunner* runner = nullptr;
  const StepPolicy* policy = nullptr;
  ModelLimits limits;
  memory::Sharing* sharing = nullptr;  // None: no other server is asked for memory.
  KvSwapper* swapper = nullptr;        // None: nothing is swapped.
  // What keys and values depend on beside tokens: model, number format and numeric path.
  std::string kv_identity = "";
};

// A window that is open.
struct OpenWindow {
  memory::WindowPlan plan;
  absl::Time opened;
  int64_t limit_bytes = 0;   // The memory limit under which it was planned.
  int32_t steps = 0;         // Completed in it.
  bool starved = false;      // A sequence of the queue could not get what its next step needs.
  bool moves_tried = false;  // Blocks were moved in it, or it was found that none can.
  std::unordered_set<RequestId> sequences;  // With which it was opened, by id.
};

// One sequence's part in the step in flight.
struct StagedRows {
  Sequence* sequence = nullptr;
  int32_t token_count = 0;
  bool sample = false;
};

// One lane: the step in flight and the window. Guarded by EngineCore::mutex.
struct LaneState {
  memory::Readers::Id reader = 0;
  uint64_t ticket = 0;
  bool in_flight = false;         // From staging until the results are applied.
  std::vector<StagedRows> batch;  // Of the step in flight, in the order of its rows.
  // Blocks that the step copies on write: it owns a reference of each.
  std::vector<memory::BlockId> copied_from;
  StepShape shape;
  bool other_busy = false;  // Prompts and answers at once: beside it in the other lane, or in it.
  absl::Time step_started;  // When the step in flight was staged.
  bool spared = false;      // The last step was abandoned: the next one is not.
  absl::Time last_step_ended = absl::InfinitePast();
  StepTotals done;
  WindowTotals windows;
  memory::StepTimeModel times;
  std::optional<OpenWindow> window;
  bool leans_on_moves = false;  // At its last boundary nobody gave way, since moving suffices.
  absl::Time free_read = absl::InfinitePast();  // When the device's free bytes were last read.
};

class EngineCore {
 public:
  struct ByOrder {
    bool operator()(const Sequence* a, const Sequence* b) const { return a->key < b->key; }
  };
  using Order = std::set<Sequence*, ByOrder>;

  EngineCore(const LocalEngineOptions& options, const EngineParts& parts);
  // CHECKs that every request has ended.
  ~EngineCore();
  EngineCore(const EngineCore&) = delete;
  EngineCore& operator=(const EngineCore&) = delete;

  // ---- called without the mutex

  absl::StatusOr<RequestId> Submit(Request request, std::shared_ptr<RequestSink> sink);
  void Cancel(RequestId id);
  // No new requests; those unfinished at now + grace end with UNAVAILABLE.
  void BeginDrain(absl::Duration grace);
  // Returns once every request has ended and its sink has been told.
  void WaitUntilEmpty();
  MemoryView Memory();
  LoadView Load();
  std::vector<WindowView> RecentWindows();
  std::string SaveLengths();
  absl::Status Health();
  void SetOnLost(std::function<void()> on_lost);

  // Tells sinks and log. Empties the outbox.
  void Deliver(Outbox* outbox);

  // ---- the parts; immutable but for what they guard themselves

  const LocalEngineOptions options;
  const EngineParts parts;
  const Lanes lanes;
  base::Mutex mutex;
  Wakeups wakeups;
  base::CondVar limit_changed;  // Goes with the mutex: the memory limit's state may have changed.

  // ---- under the mutex

  absl::Time Now() const { return parts.clock->Now(); }
  memory::KvMemory& memory() { return *parts.memory; }
  LaneState& lane(Lane which) { return lane_states_[static_cast<int>(which)]; }
  const LaneState& lane(Lane which) const { return lane_states_[static_cast<int>(which)]; }
  memory::Workspace& workspace(Lane which) const {
    return parts.memory->workspace(lanes.index(which));
  }
  // The loops of all lanes look again.
  void WakeLoops();
  MemoryView MemoryLocked();
  // The device said that it will not work again: all requests end, and nobody touches it any more.
  // The first call counts.
  void NoteDeviceLost(const absl::Status& cause, Outbox* outbox);
  bool device_lost() const { return !health_.ok(); }
  // What requests end with then; OK before.
  const absl::Status& health() const { return health_; }
  // A drain's grace is over: nothing starts any more.
  bool draining_hard(absl::Time now) const { return now >= drain_until_; }
  // All unfinished requests, first first.
  const Order& order() const { return order_; }
  std::vector<Sequence*> InState(SequenceState state) const;
  // Those of the lane that run, first first.
  std::vector<Sequence*> Executing(Lane which) const;
  bool BelongsTo(Lane which, const Sequence& sequence) const {
    return lanes.Executes(which, sequence.state());
  }
  // Sequences; and requests of which any sequence runs.
  int64_t running_count() const;
  int64_t running_requests() const;
  // A sequence for the request's answer, waiting, with nothing yet.
  Sequence* AddSequence(const std::shared_ptr<LiveRequest>& owner, int32_t answer);

  // Whether the request must end now, for the device, an answer of it that failed, its client, its
  // deadline or a drain.
  std::optional<EarlyEnd> MustEnd(const Sequence& sequence, absl::Time now) const;
  // Ends what must end, belongs to the lane and has no step in flight. True when any did.
  bool EndLeavers(Lane which, absl::Time now, Outbox* outbox);
  // When EndLeavers must run next by time alone.
  absl::Time NextLeaver(Lane which) const;

  // Gives the blocks back and takes the sequence, which dies, out of the order. With an error, the
  // request's other answers end likewise when EndLeavers or the reaping of their step comes to
  // them, those that have no sequence yet now. REQUIRES: !sequence->in_step.
  void End(Sequence* sequence, FinishReason reason, absl::Status status, int32_t stop_token_id,
           absl::Time now, Outbox* outbox);
  // Gives the blocks back; the sequence waits to be resumed. What the swap space has all of stays
  // there. REQUIRES: running, not in a step.
  void Preempt(Sequence* sequence);
  int64_t preemptions_total() const { return preemptions_total_; }
  int64_t finished_total() const { return finished_total_; }
  // Of a sequence's part in a step that has been reaped.
  void CountTokens(int64_t prefilled_tokens, int64_t recomputed_tokens, int64_t completion_tokens) {
    prefilled_tokens_total_ += prefilled_tokens;
    recomputed_tokens_total_ += recomputed_tokens;
    completion_tokens_total_ += completion_tokens;
  }
  // Of a whole step.
  void CountStep(int64_t tokens, absl::Time started, absl::Time ended) {
    service_rate_.Add(tokens, started, ended);
  }
  WindowHistory& window_history() { return window_history_; }
  // What the ledger between servers gives this one; kept for those who watch.
  void NoteShare(int64_t share_bytes) { share_bytes_ = share_bytes; }
  // The sequence's prefill is done: blocks and grant go over to decode's lane.
  void HandOver(Sequence* sequence, int64_t growth_blocks);
  bool IsImmune(const Sequence& sequence) const;
  // Of its answer at the end, those made already among them.
  int64_t ExpectedTokens(const Sequence& sequence) const;
  LengthPredictor& lengths() { return *lengths_; }
  // Whether blocks were shared the last time that this was told.
  bool NoteShared(bool shared) { return std::exchange(was_shared_, shared); }
  Swaps& swaps() { return swaps_; }
  const Swaps& swaps() const { return swaps_; }
  AnswerView AnswerViewOf(const Sequence& sequence) const;

  // Whether a page waits for the readers to pass before it can be unmapped.
  bool AnythingDrains();
  // Whether a sequence gives way, or is forced out, once its step is reaped.
  bool AnyoneYields() const;
  // Blocks that the limit, and what all servers may hold, have room for, beside workspaces of so
  // many bytes and quarantined pages.
  int64_t LimitBlocks(int64_t workspace_bytes) const;
  // The same of what those that start may count on: while other servers lack memory, our share.
  // What is held beyond it is only lent until those that run have ended.
  int64_t ShareBlocks(int64_t workspace_bytes) const;
  // Bytes that the lane's workspace takes for a step of this shape: whole units.
  int64_t WorkspaceBytes(Lane which, const StepShape& shape) const;
  // Bytes of workspace that a request with so many tokens needs from its first chunk to its end,
  // when it runs alone.
  int64_t WorkspaceBytesAlone(int64_t tokens, bool prompt_logprobs) const;
  // What the ledger between servers said: another's first goes before ours; no server accepts that
  // all together hold more than `capacity_bytes`; ours are `share_bytes`, which are unbounded while
  // nobody lacks any.
  void SetSharing(bool first_yields, int64_t capacity_bytes, int64_t share_bytes) {
    first_yields_ = first_yields;
    capacity_bytes_ = capacity_bytes;
    admission_bytes_ = share_bytes;
  }
  bool first_yields() const { return first_yields_; }
  // Bytes of a lane's workspace for the largest step that the options allow.
  int64_t WorkspaceBytesMax(Lane which) const;
  // The same of all lanes.
  int64_t WorkspaceBytesMax() const;

 private:
  absl::Status Check(const Request& request) const;
  // Blocks that so many bytes have room for, beside quarantined pages.
  int64_t BlocksWithin(int64_t bytes) const;
  int64_t ExpectedTokensWaiting() const;
  void PostEnding(const std::shared_ptr<LiveRequest>& owner, int32_t answer, const Finish& finish,
                  Outbox* outbox);
  memory::BlockTable NewTable();
  absl::Duration LastStepAge(absl::Time now) const;

  LaneState lane_states_[2];
  std::map<RequestId, std::shared_ptr<LiveRequest>> requests_;  // Unfinished.
  std::map<RequestId, std::unique_ptr<Sequence>> sequences_;
  Order order_;
  FairShare fair_share_;
  ServiceRate service_rate_;
  const std::unique_ptr<LengthPredictor> lengths_;
  Swaps swaps_;
  RequestId next_id_ = 1;
  int64_t undelivered_count_ = 0;  // Answers that ended, and the sink not yet told.
  bool first_yields_ = false;
  int64_t capacity_bytes_ = memory::kUnboundedBytes;
  int64_t admission_bytes_ = memory::kUnboundedBytes;  // Of our share, while others lack memory.
  absl::Time drain_until_ = absl::InfiniteFuture();
  bool draining_ = false;
  absl::Status health_;
  std::function<void()> on_lost_;
  int64_t preemptions_total_ = 0;
  int64_t finished_total_ = 0;
  int64_t prefilled_tokens_total_ = 0;
  int64_t recomputed_tokens_total_ = 0;
  int64_t completion_tokens_total_ = 0;
  std::optional<int64_t> share_bytes_;
  bool was_shared_ = false;  // Blocks, by sequences of any lane.
  WindowHistory window_history_;
  base::CondVar emptied_;
};

}  // namespace ebb::engine

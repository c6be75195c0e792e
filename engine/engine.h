// Engine: takes requests, runs them through prefill and decode, ends each exactly once.
//
// This header is what the server sees. Implementations: LocalEngine (the loops and the page
// keeper) and FakeEngine (a script for the server's tests).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/length_predictor.h"
#include "engine/request.h"
#include "memory/prefix_cache.h"
#include "memory/window_manager.h"

namespace ebb::engine {

// A new memory limit.
struct LimitChange {
  int64_t bytes = 0;
  // Held memory is under it so long after the call at the latest, unless that is answered deferred.
  absl::Duration deadline = absl::ZeroDuration();
  // When the first request of the order alone needs more than the limit, it ends with
  // RESOURCE_EXHAUSTED; without force it goes on in what it holds, and the limit is deferred.
  bool force = false;
  // Counts up, so that several controllers cannot undo each other's newer word: a revision that is
  // not above the one in force changes nothing. 0: none, always counts.
  uint64_t revision = 0;
};

// What became of it.
struct LimitAnswer {
  bool applied = false;        // False: deferred, `held_bytes` is still above the limit.
  int64_t limit_bytes = 0;     // The limit now in force.
  int64_t held_bytes = 0;      // KV pages and workspace, mapped or prepared.
  int64_t deferred_bytes = 0;  // held_bytes - limit_bytes while deferred.

  bool stale = false;     // The revision was not above the one in force: nothing changed.
  uint64_t revision = 0;  // In force; 0 when none ever came.
  // While deferred: what the first running request needs for its next step, workspace included.
  int64_t first_needs_bytes = 0;
  // From the call to the answer:
  int64_t preempted_count = 0;  // Sequences that gave their blocks up.
  int64_t ended_count = 0;      // Requests that `force` ended.
  int64_t pages_unmapped = 0;   // KV pages.
  int64_t held_before_bytes = 0;
  absl::Duration took = absl::ZeroDuration();
};

// Why a sequence whose keys and values were to be kept in the swap space is recomputed.
enum class SwapFallback {
  kFull,    // No slots.
  kFailed,  // A copy, or the memory for it.
  kLimit,   // Memory had to go by a deadline.
};
inline constexpr size_t kSwapFallbackCount = 3;

// The swap space; all zero where there is none.
struct SwapView {
  int64_t bytes_max = 0;
  int64_t held_bytes = 0;  // Of the host's memory or the disk's.
  int64_t used_bytes = 0;  // Of these, slots that sequences have.
  // Since the start: sequences that were swapped and bytes that were copied, also in vain.
  int64_t out_sequences_total = 0;
  int64_t out_bytes_total = 0;
  int64_t in_sequences_total = 0;
  int64_t in_bytes_total = 0;
  std::array<int64_t, kSwapFallbackCount> fallbacks{};
};

struct MemoryView {
  int64_t held_bytes = 0;    // KV pages and workspaces that the device has given us.
  int64_t needed_bytes = 0;  // Live tokens times bytes per token.
  int64_t cached_bytes = 0;  // Of the held ones, kept for prefixes that no request uses.
  memory::PrefixCacheTotals prefix_cache;
  int64_t limit_bytes = 0;
  int64_t page_bytes = 0;
  int64_t pages_mapped = 0;
  // KV pages that were mapped and unmapped since the start.
  int64_t page_maps_total = 0;
  int64_t page_unmaps_total = 0;
  int64_t block_tokens = 0;
  int64_t moved_bytes_total = 0;  // By compaction, since the start.
  // KV pages that were given back and taken again within a minute: since the start, and those of
  // the last minute.
  int64_t flips_total = 0;
  int64_t flips_per_minute = 0;
  // What the ledger between servers lets this one hold; none where there is no ledger.
  std::optional<int64_t> share_bytes;
  SwapView swap;
};

// The steps that a lane has completed, since the start.
struct StepTotals {
  // Upper bounds of classes of tokens in a step: 1, 2, 4, ...; what is larger counts in the last.
  static constexpr size_t kClasses = 16;
  static constexpr int64_t ClassBound(size_t index) { return int64_t{1} << index; }

  std::array<int64_t, kClasses> steps_by_tokens{};
  int64_t tokens = 0;
  absl::Duration busy = absl::ZeroDuration();  // From a step's start on the device to its end.

  void Add(int64_t step_tokens, absl::Duration took) {
    size_t index = 0;
    while (index + 1 < kClasses && step_tokens > ClassBound(index)) ++index;
    ++steps_by_tokens[index];
    tokens += step_tokens;
    busy += took;
  }
};

// What a lane's windows predicted, and what came of it, summed over those that reached their end
// since the start; those that were closed early, or planned anew in their midst, are left out.
struct WindowTotals {
  int64_t predicted_blocks = 0;  // At the end, for the sequences with which it was opened.
  int64_t used_blocks = 0;       // What these did hold then, those that had ended nothing.
  int64_t error_blocks = 0;      // The sizes of the differences.

  void Add(int64_t predicted, int64_t used) {
    predicted_blocks += predicted;
    used_blocks += used;
    error_blocks += predicted > used ? predicted - used : used - predicted;
  }
};

struct LaneView {
  memory::WindowQueue queue = memory::WindowQueue::kOne;  // Whose windows it opens.
  StepTotals done;
  WindowTotals windows;
};

struct LoadView {
  int64_t waiting_requests = 0;
  int64_t running_requests = 0;
  int64_t preemptions_total = 0;
  int64_t finished_total = 0;
  // Tokens whose keys and values prefill computed; once more for each time that they are computed
  // again after a preemption.
  int64_t prefilled_tokens_total = 0;
  int64_t recomputed_tokens_total = 0;  // Of these, those computed again.
  // Tokens of answers, each counted once.
  int64_t completion_tokens_total = 0;
  // How long nothing has come out while anything runs: since a step last completed, or, for a step
  // in flight, since it began. Nothing runs: zero.
  absl::Duration last_step_age = absl::ZeroDuration();
  std::vector<LaneView> lanes;
  LengthScores lengths;  // How the predicted lengths of answers came to be.
};

// A window as it was opened.
struct WindowView {
  int64_t number = 0;  // Counts the windows of its queue, from 1.
  absl::Duration age;  // Since it was opened.
  memory::WindowPlan plan;
};

// Thread-safe.
class Engine {
 public:
  virtual ~Engine() = default;

  // Queues the request. RESOURCE_EXHAUSTED when the queue is full or the request can never fit;
  // UNAVAILABLE while draining, and once Health is not OK. The sink is called only after an OK
  // answer, from other threads, possibly before Submit returns.
  virtual absl::StatusOr<RequestId> Submit(Request request, std::shared_ptr<RequestSink> sink) = 0;

  // The request ends with kCancelled, its blocks come back within one step. No effect on a request
  // that has ended or never was.
  virtual void Cancel(RequestId id) = 0;

  // A lowered limit acts on running requests at once: those that must give way are preempted, never
  // the first of the order, and go on later with the same tokens. Returns when held memory is under
  // the limit, at the deadline at the latest. INVALID_ARGUMENT for a limit below 0 or above the
  // ceiling; what Health says, when it is not OK.
  virtual absl::StatusOr<LimitAnswer> SetMemoryLimit(const LimitChange& change) = 0;

  virtual MemoryView Memory() const = 0;
  virtual LoadView Load() const = 0;
  // The last windows of each queue, at most WindowHistory::kWindowsMax: oldest first within a
  // queue. Open windows are among them.
  virtual std::vector<WindowView> RecentWindows() const = 0;
  // LengthPredictor::Save.
  virtual std::string SaveLengths() const = 0;

  // What the prefix cache knows is forgotten, and what it alone holds can be had by anybody.
  virtual void FlushPrefixCache() = 0;

  // OK, until the device is lost: then UNAVAILABLE with what it said, for good. Nothing computes
  // any more, every unfinished request ends with this status, and only a new process mends it.
  virtual absl::Status Health() const = 0;
  // `on_lost` is called once, from any thread, when Health turns; at once when it has turned. It
  // must not call back into the engine, and stays valid for as long as the engine lives. Set once.
  virtual void SetOnLost(std::function<void()> on_lost) = 0;

  // No new requests from now on. Returns once every accepted request has ended: those still
  // unfinished after `grace` end with UNAVAILABLE. A second call with a shorter grace hurries.
  virtual void Drain(absl::Duration grace) = 0;
};

}  // namespace ebb::engine

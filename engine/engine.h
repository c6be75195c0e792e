// Engine: takes requests, runs them through the prefill and decode loops, ends each exactly once.
//
// This header is what the server sees. Implementations: LocalEngine (the two loops and the page
// keeper) and FakeEngine (a script for the server's tests).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/request.h"

namespace ebb::engine {

// The answer to a new memory limit.
struct LimitAnswer {
  bool applied = false;        // False: deferred, `held_bytes` is still above the limit.
  int64_t limit_bytes = 0;     // The limit now in force.
  int64_t held_bytes = 0;      // KV pages and workspace, mapped or prepared.
  int64_t deferred_bytes = 0;  // held_bytes - limit_bytes while deferred.
};

struct MemoryView {
  int64_t held_bytes = 0;    // KV pages and workspaces that the device has given us.
  int64_t needed_bytes = 0;  // Live tokens times bytes per token.
  int64_t cached_bytes = 0;  // Held for prefixes that no request uses.
  int64_t limit_bytes = 0;
  int64_t page_bytes = 0;
  int64_t pages_mapped = 0;
  int64_t block_tokens = 0;
  int64_t moved_bytes_total = 0;  // By compaction, since the start.
  // KV pages that were given back and taken again within a minute; those of the last minute.
  int64_t flips_per_minute = 0;
};

struct LoadView {
  int64_t waiting_requests = 0;
  int64_t running_requests = 0;
  int64_t preemptions_total = 0;
  int64_t finished_total = 0;
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

  // Takes effect at the next window boundary. Waits for that, at most `timeout`. What Health says,
  // when it is not OK.
  virtual absl::StatusOr<LimitAnswer> SetMemoryLimit(int64_t bytes, absl::Duration timeout) = 0;

  virtual MemoryView Memory() const = 0;
  virtual LoadView Load() const = 0;

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

// PageKeeper: the actor that makes all Vmm calls, outside the engine's mutex.
//
//   RunOnce:   lock: Tend, take        no lock: device calls           lock: commit
//     release  draining, surplus   -->  Unmap, Release             -->  reserved | quarantined
//     prepare  reserved            -->  FreeBytes, Create          -->  prepared | reserved
//     map      prepared            -->  Map, SetAccess of each     -->  mapped   | reserved
//
// A batch is all or nothing: when a call fails, what the batch had done is undone and its pages are
// reserved again: a miss, which planners see and the log shows, and half as many pages next time.
// A page that cannot be undone is quarantined. When the limit falls while a batch is being mapped,
// what is not mapped yet is given back.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "device/vmm.h"
#include "memory/kv_memory.h"

namespace ebb::memory {

// RunOnce and Shutdown are called by one thread at a time. Everything passed in outlives it.
class PageKeeper {
 public:
  struct Options {
    int32_t pages_at_once = 8;  // Of one batch, at least 1.
  };
  // What a pass did.
  struct Pass {
    bool progressed = false;  // A page changed its state: planners should look, and run again.
    absl::Time next_run = absl::InfiniteFuture();  // At the latest, if nobody wakes it.
  };

  PageKeeper(const Options& options, KvMemory* memory, device::Vmm* vmm, const base::Clock* clock,
             base::Mutex* mutex);

  // One pass over all pools: at most one batch of growth for each. REQUIRES: the mutex is not held.
  Pass RunOnce();

  // Gives everything back. What the device still refuses stays quarantined and is named in the
  // status. REQUIRES: every block is back, every reader has completed what it submitted.
  absl::Status Shutdown();

 private:
  bool ReleasePhase();
  bool GrowPhase(absl::Time now);
  bool PrepareBatch(PagePool* pool, absl::Time now);
  bool MapBatch(PagePool* pool, absl::Time now);
  // Device calls; no lock is held. They keep `handle` and `mapped` of each page up to date.
  absl::Status CreateAll(std::vector<PageWork>* batch, int64_t bytes);
  // `done`: so many of them are mapped; fewer than all, and OK, when the rest became unwanted.
  absl::Status MapAll(const PagePool& pool, std::vector<PageWork>* batch, size_t* done);
  bool IsUnwanted(const PagePool& pool);
  // Unmaps and releases what each page has: kUndone, or kStuck with `status` set.
  std::vector<PageOutcome> GiveBack(std::vector<PageWork>* batch, int64_t bytes,
                                    absl::Status* status);
  // The same, and hands the batch back.
  absl::Status GiveBackAndCommit(PagePool* pool, std::vector<PageWork> batch);
  // Hands a batch back after `status`: kDone for all, or everything given back and a miss noted.
  void CommitBatch(PagePool* pool, std::vector<PageWork> batch, const absl::Status& status,
                   absl::Time now);

  const Options options_;
  KvMemory* const memory_;
  device::Vmm* const vmm_;
  const base::Clock* const clock_;
  base::Mutex* const mutex_;
  std::map<const PagePool*, int32_t> batch_pages_;  // Halved by a miss, doubled by success.
};

}  // namespace ebb::memory

// Workspace: memory for a stream's activations, logits and scratch, at addresses that never change.
//
//   base                 usable              bytes_max
//   [ mapped | mapped | mapped |- - - - - - - -]      what is usable is one piece from the start
//
// It is mapped and unmapped by the keeper like KV pages, and counted as held.
#pragma once

#include <cstdint>

#include "memory/page_pool.h"
#include "memory/shrink_policy.h"

namespace ebb::memory {

// Thread-compatible: guarded by the engine's mutex, owned by KvMemory. The memory itself is used
// without the mutex by the stream whose reader ticket covers it.
class Workspace {
 public:
  // Pages of the pool are the workspace's units; the pool outlives it.
  Workspace(PagePool* pool, const ShrinkSettings& shrink);

  uint8_t* base() const { return pool_->address(0); }
  int64_t bytes_max() const { return pool_->page_bytes() * pool_->page_count(); }
  // Bytes from the start that may be used by work that is submitted now.
  int64_t usable_bytes() const;

  // What the coming steps need; the keeper grows to it. Once a window, or before a larger step; 0
  // when its queue closes: then nothing is kept for the sake of past windows.
  // REQUIRES: 0 <= bytes <= bytes_max().
  void SetDemand(int64_t bytes);
  int64_t demand_bytes() const { return demand_bytes_; }
  // Bytes of pages that the demand lacks and that are not yet held.
  int64_t missing_bytes() const;
  // Bytes of pages that are held and that the demand does not need.
  int64_t surplus_bytes() const;

  // ---- for KvMemory

  // Takes pages back that are draining but needed, and drains those that are not needed: at once
  // when `hurry` (over the limit, or idle).
  void Tend(absl::Time now, bool hurry);
  absl::Time next_change() const { return shrink_.next_change(); }
  PagePool* pool() { return pool_; }

 private:
  int64_t DemandPages() const;

  PagePool* const pool_;
  ShrinkPolicy shrink_;
  int64_t demand_bytes_ = 0;
};

}  // namespace ebb::memory

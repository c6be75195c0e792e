// WeightArena: memory for packed weights, one after the other in large regions.
//
// Regions ask for huge pages, so that streaming through the weights misses no address translation,
// and matrices loaded in a row lie in a row.
//
// Owned by a backend; thread-safe. A region goes when the backend and all matrices in it are gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace ebb::kernels::cpu {

class WeightArena {
 public:
  struct Region;  // Anonymous mapping.
  // Keeps its region alive. `data` is aligned to 64 bytes and zero.
  struct Piece {
    std::shared_ptr<Region> region;
    uint8_t* data = nullptr;
  };

  WeightArena() = default;
  WeightArena(const WeightArena&) = delete;
  WeightArena& operator=(const WeightArena&) = delete;

  // RESOURCE_EXHAUSTED when the system gives no more address space.
  absl::StatusOr<Piece> Allocate(size_t bytes);

 private:
  base::Mutex mutex_;
  std::shared_ptr<Region> current_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb::kernels::cpu

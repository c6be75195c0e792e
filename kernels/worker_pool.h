// WorkerPool: the threads that a backend's operations run on.
//
//   decode's caller ──┐   section of tiles   ┌── helper 1 .. T-1: decode's tiles first,
//   prefill's caller ─┴─►  claim, run, count ◄─┘   then prefill's
//
// A section is one parallel loop over tiles. The calling thread takes part in its own section, so
// that T threads in all need T - 1 helpers, and a helper that the system has put aside holds a
// section up only while it holds a tile. Tiles are claimed one compare-and-swap at a time.
//
// While a decode step runs (BeginStep to EndStep), prefill's caller sleeps at its next tile
// boundary and helpers take no tile of prefill's. Between sections helpers spin for at most kSpin,
// then sleep until the next section: an idle pool uses no processor time.
//
// Owned by a backend. Thread-safe between lanes; each lane is driven by one thread at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/backend.h"

namespace ebb::kernels {

class WorkerPool {
 public:
  static constexpr std::chrono::microseconds kSpin{50};
  static constexpr int32_t kMaxTiles = (1 << 24) - 1;

  // REQUIRES: threads >= 1. `threads` counts the calling thread of a lane.
  explicit WorkerPool(int threads);
  ~WorkerPool();  // REQUIRES: no section runs.
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Brackets a forward pass. One thread must not run prefill's sections inside its own decode step:
  // they would wait for each other.
  void BeginStep(Lane lane);
  void EndStep(Lane lane);

  // Calls tile(i) once for each i in [0, tile_count), on any of the threads, and returns when all
  // have returned. What the caller wrote before is visible to the tiles, and the tiles' writes to
  // the caller afterwards. REQUIRES: tile_count <= kMaxTiles; not called from a tile.
  template <typename Tile>
  void Run(Lane lane, int32_t tile_count, const Tile& tile) {
    const auto call = [](const void* argument, int32_t begin, int32_t end) {
      for (int32_t i = begin; i < end; ++i) (*static_cast<const Tile*>(argument))(i);
    };
    RunSection(lane, tile_count, call, &tile);
  }

 private:
  using TileFunction = void (*)(const void* argument, int32_t begin, int32_t end);

  // One lane's current section. `claim` holds its number and the tiles that nobody has claimed yet:
  // whether anything is left can be judged from this word alone, and a helper whose other fields
  // are stale fails its compare-and-swap.
  struct alignas(64) Section {
    std::atomic<uint64_t> claim{0};  // number << 24 | tiles left
    std::atomic<int32_t> tile_count{0};
    std::atomic<TileFunction> function{nullptr};
    std::atomic<const void*> argument{nullptr};
    alignas(64) std::atomic<int32_t> done{0};  // Tiles that have returned.
    std::atomic<int32_t> caller_sleeps{0};
  };

  Section& SectionOf(Lane lane) { return sections_[lane == Lane::kDecode ? 0 : 1]; }
  void RunSection(Lane lane, int32_t tile_count, TileFunction function, const void* argument);
  // Claims and runs one range of tiles; false when none was left.
  bool ServeOnce(Lane lane, Section& section);
  void WaitUntilDone(Section& section, int32_t tile_count);
  void WaitWhileDecodeSteps();
  bool HasWork() const;
  void WakeHelpers();
  void HelperLoop();
  void SleepUntilWork();

  Section sections_[2];
  alignas(64) std::atomic<int32_t> decode_steps_{0};  // 1 while a decode step runs.
  alignas(64) std::atomic<int32_t> wake_{0};          // Changes when helpers should look again.
  std::atomic<int32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> helpers_;
};

}  // namespace ebb::kernels

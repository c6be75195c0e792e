#include "kernels/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::kernels {
namespace {

TEST(WorkerPool, RunsEachTileOnce) {
  for (const int threads : {1, 2, 3, 4, 8}) {
    WorkerPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const Lane lane : {Lane::kPrefill, Lane::kDecode}) {
      for (const int32_t count : {0, 1, 2, 3, 7, 64, 1000}) {
        for (int repeat = 0; repeat < 20; ++repeat) {
          std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
          pool.Run(lane, count, [&](int32_t tile) { runs[static_cast<size_t>(tile)] += 1; });
          for (const auto& run : runs) ASSERT_EQ(run.load(), 1);
        }
      }
    }
  }
}

// Plain memory: what the caller wrote before a section is seen in its tiles, and the other way
// round. The thread sanitizer looks on.
TEST(WorkerPool, SectionsSeeEachOthersWrites) {
  WorkerPool pool(3);
  constexpr int32_t kTiles = 40;
  std::vector<int64_t> values(kTiles, 0);
  pool.BeginStep(Lane::kDecode);
  for (int64_t section = 1; section <= 3000; ++section) {
    pool.Run(Lane::kDecode, kTiles, [&](int32_t tile) { values[tile] += section; });
    ASSERT_EQ(values[section % kTiles], section * (section + 1) / 2);
  }
  pool.EndStep(Lane::kDecode);
}

// While a decode step runs, prefill starts no tile on any thread.
TEST(WorkerPool, PrefillWaitsForTheDecodeStep) {
  for (const int threads : {1, 2, 4}) {
    WorkerPool pool(threads);
    std::atomic<bool> decode_runs{false};
    std::atomic<bool> stop{false};
    std::atomic<int> prefill_tiles{0};
    std::atomic<int> started_inside{0};
    std::thread prefill([&] {
      while (!stop) {
        pool.BeginStep(Lane::kPrefill);
        pool.Run(Lane::kPrefill, 50, [&](int32_t) {
          // A tile that was claimed just before the step began may still look like this; it must be
          // one of the tiles that were under way, at most one a thread.
          if (decode_runs) started_inside += 1;
          prefill_tiles += 1;
        });
        pool.EndStep(Lane::kPrefill);
      }
    });
    while (prefill_tiles.load() == 0) std::this_thread::yield();
    for (int step = 0; step < 50; ++step) {
      started_inside = 0;
      pool.BeginStep(Lane::kDecode);
      decode_runs = true;
      std::atomic<int> done{0};
      for (int section = 0; section < 20; ++section) {
        pool.Run(Lane::kDecode, 30, [&](int32_t) { done += 1; });
      }
      EXPECT_EQ(done.load(), 600);
      EXPECT_LE(started_inside.load(), threads);
      decode_runs = false;
      pool.EndStep(Lane::kDecode);
      // Prefill goes on between two steps: it is held up, not starved.
      const int before = prefill_tiles.load();
      while (prefill_tiles.load() == before) std::this_thread::yield();
    }
    stop = true;
    prefill.join();
  }
}

// The states of this process's threads, as /proc tells them: "S" for one that sleeps.
std::string ThreadStates() {
  std::string states;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "stat");
    std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const size_t name_end = text.rfind(')');
    if (name_end != std::string::npos) states += text[name_end + 2];
  }
  return states;
}

// Ends by the test's time limit if a helper never sleeps.
TEST(WorkerPool, HelpersSleepWhenThereIsNothingToDo) {
  WorkerPool pool(4);
  pool.BeginStep(Lane::kDecode);
  std::atomic<int> done{0};
  for (int round = 0; round < 5; ++round) {
    pool.Run(Lane::kDecode, 100, [&](int32_t) { done += 1; });
    // Also inside a step: the caller may be long over something else.
    for (int asleep = 0; asleep < 3;) {
      std::this_thread::yield();
      const std::string states = ThreadStates();
      asleep = static_cast<int>(std::count(states.begin(), states.end(), 'S'));
    }
  }
  pool.EndStep(Lane::kDecode);
  EXPECT_EQ(done.load(), 500);
}

TEST(WorkerPool, StartsAndStopsAtOnce) {
  for (int i = 0; i < 50; ++i) {
    WorkerPool pool(1 + i % 5);
    if (i % 2 == 0) pool.Run(Lane::kPrefill, 3, [](int32_t) {});
  }
}

}  // namespace
}  // namespace ebb::kernels

#include "kernels/worker_pool.h"

#include "base/check.h"

namespace ebb::kernels {
namespace {

constexpr uint64_t kLeftMask = (uint64_t{1} << 24) - 1;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Spins until `ready` or until WorkerPool::kSpin has passed; says whether it was ready.
template <typename Ready>
bool SpinUntil(const Ready& ready) {
  const auto deadline = std::chrono::steady_clock::now() + WorkerPool::kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

}  // namespace

WorkerPool::WorkerPool(int threads) {
  CHECK_GE(threads, 1);
  helpers_.reserve(static_cast<size_t>(threads) - 1);
  for (int i = 1; i < threads; ++i) helpers_.emplace_back([this] { HelperLoop(); });
}

WorkerPool::~WorkerPool() {
  stop_.store(true);
  WakeHelpers();
  for (std::thread& helper : helpers_) helper.join();
}

void WorkerPool::BeginStep(Lane lane) {
  if (lane == Lane::kDecode) {
    CHECK_EQ(decode_steps_.exchange(1), 0) << "a decode step inside a decode step";
  }
  // Awake before the first section needs them.
  if (sleepers_.load() > 0) WakeHelpers();
}

void WorkerPool::EndStep(Lane lane) {
  if (lane != Lane::kDecode) return;
  CHECK_EQ(decode_steps_.exchange(0), 1) << "EndStep without BeginStep";
  decode_steps_.notify_all();
  if (sleepers_.load() > 0 && HasWork()) WakeHelpers();
}

void WorkerPool::RunSection(Lane lane, int32_t tile_count, TileFunction function,
                            const void* argument) {
  CHECK(tile_count >= 0 && tile_count <= kMaxTiles);
  if (helpers_.empty() || tile_count <= 1) {
    for (int32_t i = 0; i < tile_count; ++i) {
      if (lane == Lane::kPrefill) WaitWhileDecodeSteps();
      function(argument, i, i + 1);
    }
    return;
  }
  Section& section = SectionOf(lane);
  section.done.store(0, std::memory_order_relaxed);
  // Release, and acquire in ServeOnce: a helper that reads one of these early also sees that the
  // former section's tiles are all claimed, so that its compare-and-swap fails.
  section.tile_count.store(tile_count, std::memory_order_release);
  section.function.store(function, std::memory_order_release);
  section.argument.store(argument, std::memory_order_release);
  const uint64_t number = (section.claim.load(std::memory_order_relaxed) >> 24) + 1;
  section.claim.store(number << 24 | static_cast<uint64_t>(tile_count));
  if (sleepers_.load() > 0) WakeHelpers();
  do {
    if (lane == Lane::kPrefill) WaitWhileDecodeSteps();
  } while (ServeOnce(lane, section));
  WaitUntilDone(section, tile_count);
}

bool WorkerPool::ServeOnce(Lane lane, Section& section) {
  uint64_t claim = section.claim.load(std::memory_order_acquire);
  while ((claim & kLeftMask) != 0) {
    const auto left = static_cast<int32_t>(claim & kLeftMask);
    // Decode takes large ranges first and single tiles last: few claims, and an even end. Prefill
    // goes tile by tile, so that decode never waits for more than one.
    const int32_t share = left / (2 * threads());
    const int32_t taken = lane == Lane::kDecode && share > 1 ? share : 1;
    const int32_t begin = section.tile_count.load(std::memory_order_acquire) - left;
    const TileFunction function = section.function.load(std::memory_order_acquire);
    const void* argument = section.argument.load(std::memory_order_acquire);
    if (!section.claim.compare_exchange_weak(claim, claim - static_cast<uint64_t>(taken),
                                             std::memory_order_acq_rel,
                                             std::memory_order_acquire)) {
      continue;
    }
    function(argument, begin, begin + taken);
    section.done.fetch_add(taken);
    if (section.caller_sleeps.load() != 0) section.done.notify_one();
    return true;
  }
  return false;
}

void WorkerPool::WaitUntilDone(Section& section, int32_t tile_count) {
  const auto all_done = [&] { return section.done.load(std::memory_order_acquire) == tile_count; };
  if (SpinUntil(all_done)) return;
  section.caller_sleeps.store(1);
  for (int32_t done = section.done.load(); done != tile_count; done = section.done.load()) {
    section.done.wait(done);
  }
  section.caller_sleeps.store(0);
}

void WorkerPool::WaitWhileDecodeSteps() {
  while (decode_steps_.load() != 0) decode_steps_.wait(1);
}

bool WorkerPool::HasWork() const {
  return (sections_[0].claim.load() & kLeftMask) != 0 ||
         ((sections_[1].claim.load() & kLeftMask) != 0 && decode_steps_.load() == 0);
}

void WorkerPool::WakeHelpers() {
  wake_.fetch_add(1);
  wake_.notify_all();
}

void WorkerPool::HelperLoop() {
  while (!stop_.load()) {
    if (ServeOnce(Lane::kDecode, SectionOf(Lane::kDecode))) continue;
    if (decode_steps_.load() == 0 && ServeOnce(Lane::kPrefill, SectionOf(Lane::kPrefill))) continue;
    if (!SpinUntil([this] { return HasWork() || stop_.load(std::memory_order_relaxed); })) {
      SleepUntilWork();
    }
  }
}

// A section's caller stores its claim and then reads sleepers_; this counts itself in sleepers_ and
// then reads the claims (all sequentially consistent): one of the two sees the other.
void WorkerPool::SleepUntilWork() {
  const int32_t seen = wake_.load();
  sleepers_.fetch_add(1);
  if (!HasWork() && !stop_.load()) wake_.wait(seen);
  sleepers_.fetch_sub(1);
}

}  // namespace ebb::kernels

// DrivenEngine: a small engine over fakes, driven by hand: nothing happens until the test says so.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock_fake.h"
#include "base/log.h"
#include "device/stream_fake.h"
#include "device/vmm_fake.h"
#include "engine/kv_copier_fake.h"
#include "engine/kv_swapper.h"
#include "engine/local_engine.h"
#include "engine/step_runner_fake.h"
#include "gtest/gtest.h"
#include "memory/kv_memory.h"
#include "scheduler/local_policy.h"
#include "tests/engine/small_engine.h"

namespace ebb::engine {

inline constexpr int32_t kDrivenVocabulary = 64;
inline constexpr int32_t kDrivenEndId = 7;
inline constexpr int64_t kDrivenPageBytes = 4096;

// Room for so many pages, and nothing beside what is needed.
inline LocalEngineOptions DrivenOptions(int64_t pages = 64) {
  LocalEngineOptions options;
  options.step.chunk_tokens_max = 16;
  options.window.decode_steps = 4;
  options.memory.limit_bytes = options.memory.ceiling_bytes = pages * kDrivenPageBytes;
  options.memory.headroom_bytes = 0;
  options.memory.slack_pages = 0;
  options.memory.prepared_pages = 0;
  return options;
}

// Blocks of 4 tokens, pages of 16, a context of 128. A fixture may inherit from it.
class DrivenEngine {
 public:
  // A round of steps takes `round_time`. The prefix cache is off unless it is asked for, so that
  // tests can count what they compute.
  explicit DrivenEngine(const LocalEngineOptions& options, base::Log* log = nullptr,
                        absl::Duration round_time = absl::Milliseconds(20),
                        bool prefix_cache = false)
      : options_(options), round_time_(round_time) {
    memory::KvMemory::Options memory = SmallMemory(options, 4 * kDrivenPageBytes);
    memory.shrink.windows_kept = options.memory.shrink_windows;
    memory.shrink.after = options.memory.shrink_after;
    memory.compact_above_percent = options.memory.compact_above_percent;
    memory.prefix_cache = prefix_cache;
    memory.prefix_idle_after = options.prefix_cache.idle;
    memory_ = *memory::KvMemory::Create(SmallGeometry(kDrivenPageBytes), memory, &vmm_);
    runner_ = std::make_unique<FakeStepRunner>(SmallRunner(
        memory_.get(), streams_, &vmm_, &clock_, kDrivenVocabulary, options.queue.queues));
    policy_ =
        std::make_unique<scheduler::LocalPolicy>(scheduler::LocalPolicy::OptionsFrom(options));
    if (options.memory.swap_bytes_max > 0) {
      copier_ = std::make_unique<FakeKvCopier>(
          SmallKv(memory_.get()), CopierTraits{/*chunk_slots=*/3, /*piece_slots=*/2, 1e12});
      swapper_ = std::make_unique<KvSwapper>(copier_.get(), &swap_stream_, &clock_);
    }
    engine_ = *LocalEngine::Create(options, {&clock_,
                                             log == nullptr ? &null_log_ : log,
                                             &vmm_,
                                             memory_.get(),
                                             runner_.get(),
                                             policy_.get(),
                                             {kDrivenVocabulary, 128, {kDrivenEndId}},
                                             nullptr,
                                             swapper_.get()});
  }
  ~DrivenEngine() {
    engine_->BeginDrain(absl::ZeroDuration());
    for (int i = 0; i < 4; ++i) Round();
    EXPECT_TRUE(engine_->Shutdown().ok());
  }

  // Keeper and loops until neither moves; no step completes.
  void Plan() {
    for (int i = 0; i < 10; ++i) {
      engine_->keeper().RunOnce();
      engine_->prefill().RunOnce();
      engine_->decode().RunOnce();
      if (engine_->swap() != nullptr) engine_->swap()->RunOnce();
    }
  }
  void Round() {
    Plan();
    streams_[0].RunAll();
    streams_[1].RunAll();
    swap_stream_.RunAll();
    clock_.Advance(round_time_);
    Plan();
  }

  const LocalEngineOptions options_;
  const absl::Duration round_time_;
  base::FakeClock clock_;
  base::NullLog null_log_;
  device::FakeVmm vmm_{SmallVmm(kDrivenPageBytes, 256 * kDrivenPageBytes)};
  std::unique_ptr<memory::KvMemory> memory_;
  device::FakeStream streams_[2];
  device::FakeStream swap_stream_;
  std::unique_ptr<FakeKvCopier> copier_;  // Where memory.swap_bytes_max is above 0; as the next.
  std::unique_ptr<KvSwapper> swapper_;
  std::unique_ptr<FakeStepRunner> runner_;
  std::unique_ptr<scheduler::LocalPolicy> policy_;
  std::unique_ptr<LocalEngine> engine_;
};

}  // namespace ebb::engine

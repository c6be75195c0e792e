// LocalEngine with real threads on a fake model: what the thread sanitizer looks at.

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "device/stream_host.h"
#include "device/vmm_fake.h"
#include "engine/engine_threads.h"
#include "engine/local_engine.h"
#include "engine/step_runner_fake.h"
#include "gtest/gtest.h"
#include "memory/kv_memory.h"
#include "scheduler/local_policy.h"
#include "tests/engine/recording_sink.h"
#include "tests/engine/small_engine.h"

namespace ebb::engine {
namespace {

constexpr int32_t kVocabulary = 64;
constexpr int32_t kContextTokens = 256;
constexpr int64_t kGranularity = 4096;

// A small engine with its threads: blocks of 4 tokens, pages of 16.
class ThreadedEngine {
 public:
  ThreadedEngine(int64_t limit_pages, Queues queues) {
    options_.queue.queues = queues;
    options_.queue.running_sequences_max = 8;
    options_.queue.queue_requests_max = 1000;
    options_.queue.growth_prior_tokens = 8;
    options_.queue.resume_immunity_tokens = 4;
    options_.step.chunk_tokens_max = 32;
    options_.step.max_gap = absl::Milliseconds(1);
    options_.window.prefill_min = absl::Microseconds(100);
    options_.window.decode_min = absl::Microseconds(100);
    options_.window.decode_steps = 8;
    options_.memory.limit_bytes = limit_pages * kGranularity;
    options_.memory.ceiling_bytes = 256 * kGranularity;
    options_.memory.headroom_bytes = 0;
    options_.memory.idle = absl::Milliseconds(20);

    memory::KvMemory::Options memory = SmallMemory(options_, 8 * kGranularity);
    memory.shrink.after = absl::Milliseconds(1);
    memory_ = *memory::KvMemory::Create(SmallGeometry(kGranularity), memory, &vmm_);
    runner_ = std::make_unique<FakeStepRunner>(
        SmallRunner(memory_.get(), streams_, &vmm_, &clock_, kVocabulary, queues));
    policy_ =
        std::make_unique<scheduler::LocalPolicy>(scheduler::LocalPolicy::OptionsFrom(options_));
    EngineParts parts{&clock_,
                      &log_,
                      &vmm_,
                      memory_.get(),
                      runner_.get(),
                      policy_.get(),
                      {kVocabulary, kContextTokens, {7}}};
    engine_ = *LocalEngine::Create(options_, parts);
    threads_ = std::make_unique<EngineThreads>(engine_.get());
  }
  ~ThreadedEngine() {
    threads_.reset();
    // A stream may still be on the way to say that its last step is done.
    for (device::HostStream& stream : streams_) stream.Wait(stream.submitted());
    EXPECT_TRUE(engine_->Shutdown().ok());
  }

  LocalEngine& engine() { return *engine_; }
  const LocalEngineOptions& options() const { return options_; }
  FakeStepRunner& runner() { return *runner_; }
  device::FakeVmm& vmm() { return vmm_; }

 private:
  LocalEngineOptions options_;
  base::RealClock clock_;
  base::NullLog log_;
  device::FakeVmm vmm_{SmallVmm(kGranularity, 512 * kGranularity)};
  std::unique_ptr<memory::KvMemory> memory_;
  device::HostStream streams_[2];
  std::unique_ptr<FakeStepRunner> runner_;
  std::unique_ptr<scheduler::LocalPolicy> policy_;
  std::unique_ptr<LocalEngine> engine_;
  std::unique_ptr<EngineThreads> threads_;
};

Request RandomRequest(base::Rng* rng) {
  Request request;
  for (int64_t n = rng->Between(1, 60); n > 0; --n) {
    request.prompt.push_back(static_cast<int32_t>(rng->Between(0, kVocabulary - 1)));
  }
  request.sampling.seed = rng->Bits();
  request.stopping.max_tokens = static_cast<int32_t>(rng->Between(1, 80));
  request.stopping.ignore_eos = true;
  if (rng->Chance(0.3)) request.n = static_cast<int32_t>(rng->Between(2, 3));
  return request;
}

std::vector<int32_t> QuietTokens(const Request& request, int32_t answer) {
  model::SamplingParams sampling = request.sampling;
  sampling.seed = SeedOfAnswer(sampling.seed, answer);
  std::vector<int32_t> tokens = request.prompt;
  for (int32_t i = 0; i < request.stopping.max_tokens; ++i) {
    tokens.push_back(FakeStepRunner::NextToken(tokens, i, sampling, {}, kVocabulary));
  }
  return {tokens.begin() + static_cast<int64_t>(request.prompt.size()), tokens.end()};
}

class LocalEngineThreadsTest : public testing::TestWithParam<Queues> {};

INSTANTIATE_TEST_SUITE_P(Queues, LocalEngineThreadsTest,
                         testing::Values(Queues::kSeparate, Queues::kOne),
                         [](const testing::TestParamInfo<Queues>& info) {
                           return info.param == Queues::kOne ? "one" : "separate";
                         });

TEST_P(LocalEngineThreadsTest, ManyClientsInLittleMemoryGetTheirQuietAnswers) {
  ThreadedEngine threaded(24, GetParam());
  constexpr int kClients = 4;
  constexpr int kRequestsEach = 25;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&threaded, &wrong, c] {
      base::Rng rng(static_cast<uint64_t>(100 + c));
      std::vector<std::pair<Request, std::shared_ptr<RecordingSink>>> mine;
      for (int i = 0; i < kRequestsEach; ++i) {
        Request request = RandomRequest(&rng);
        auto sink = std::make_shared<RecordingSink>();
        mine.emplace_back(request, sink);
        if (!threaded.engine().Submit(std::move(request), sink).ok()) ++wrong;
        if (i % 5 == 0) mine.back().second->Wait();
      }
      for (auto& [request, sink] : mine) {
        const Finish finish = sink->Wait();
        if (finish.reason != FinishReason::kLength) ++wrong;
        for (int32_t n = 0; n < request.n; ++n) {
          if (sink->tokens(n) != QuietTokens(request, n)) ++wrong;
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(threaded.engine().Load().finished_total, kClients * kRequestsEach);
  EXPECT_LE(threaded.engine().Memory().held_bytes, threaded.options().memory.limit_bytes);
}

TEST_P(LocalEngineThreadsTest, CancelStormsAndMovingLimitsEndEveryRequestOnce) {
  ThreadedEngine threaded(40, GetParam());
  base::Rng rng(5);
  std::vector<std::pair<RequestId, std::shared_ptr<RecordingSink>>> requests;
  for (int i = 0; i < 200; ++i) {
    auto sink = std::make_shared<RecordingSink>();
    const absl::StatusOr<RequestId> id = threaded.engine().Submit(RandomRequest(&rng), sink);
    if (id.ok()) requests.emplace_back(*id, sink);
    if (rng.Chance(0.5) && !requests.empty()) {
      threaded.engine().Cancel(
          requests[rng.Between(0, static_cast<int64_t>(requests.size()) - 1)].first);
    }
    if (i % 20 == 0) {
      const absl::StatusOr<LimitAnswer> answer = threaded.engine().SetMemoryLimit(
          {rng.Between(30, 60) * kGranularity, absl::Milliseconds(5)});
      ASSERT_TRUE(answer.ok());
    }
  }
  EXPECT_GT(requests.size(), 100u);
  for (auto& [id, sink] : requests) sink->Wait();
  EXPECT_EQ(threaded.engine().Load().waiting_requests, 0);
  EXPECT_EQ(threaded.engine().Load().running_requests, 0);
}

// A client may leave as its last token is made: it is then either answered whole or cancelled, and
// in any case told once. Two cancel each request, at every point from before it is admitted to
// after its end.
TEST_P(LocalEngineThreadsTest, AnAbortThatRacesTheEndEndsTheRequestOnce) {
  ThreadedEngine threaded(40, GetParam());
  constexpr int kRounds = 200;
  constexpr int32_t kTokens = 6;
  base::Rng rng(7);
  int whole = 0;
  for (int round = 0; round < kRounds; ++round) {
    Request request = RandomRequest(&rng);
    request.stopping.max_tokens = kTokens;
    request.n = 1;
    // A neighbour that nobody cancels.
    const Request other = RandomRequest(&rng);
    auto other_sink = std::make_shared<RecordingSink>();
    ASSERT_TRUE(threaded.engine().Submit(other, other_sink).ok());
    auto sink = std::make_shared<RecordingSink>();
    const absl::StatusOr<RequestId> id = threaded.engine().Submit(request, sink);
    ASSERT_TRUE(id.ok()) << id.status();
    // Mostly at the last token and the one before.
    const auto at = static_cast<size_t>(rng.Chance(0.25) ? rng.Between(0, kTokens - 2)
                                                         : rng.Between(kTokens - 1, kTokens));
    std::thread canceller([&] {
      sink->WaitForTokens(at);
      threaded.engine().Cancel(*id);
    });
    sink->WaitForTokens(at);
    threaded.engine().Cancel(*id);
    const Finish finish = sink->Wait();
    canceller.join();
    threaded.engine().Cancel(*id);  // Over: no effect, on nobody.

    const std::vector<int32_t> quiet = QuietTokens(request, 0);
    const std::vector<int32_t> tokens = sink->tokens();
    EXPECT_EQ(tokens, std::vector<int32_t>(quiet.begin(), quiet.begin() + tokens.size()));
    EXPECT_EQ(finish.completion_tokens, static_cast<int32_t>(tokens.size()));
    if (finish.reason == FinishReason::kLength) {
      ++whole;
      EXPECT_EQ(tokens.size(), quiet.size());
    } else {
      EXPECT_EQ(finish.reason, FinishReason::kCancelled);
    }
    EXPECT_EQ(other_sink->Wait().reason, FinishReason::kLength);
    for (int32_t n = 0; n < other.n; ++n) EXPECT_EQ(other_sink->tokens(n), QuietTokens(other, n));
  }
  RecordProperty("answered_whole", whole);
  const LoadView load = threaded.engine().Load();
  EXPECT_EQ(load.running_requests + load.waiting_requests, 0);
  EXPECT_EQ(load.finished_total, 2 * kRounds);
}

// Clients submit and cancel, both lanes run and pages are made while the device goes.
TEST_P(LocalEngineThreadsTest, ALostDeviceUnderLoadEndsEveryRequestOnce) {
  for (const bool keeper_first : {false, true}) {
    ThreadedEngine threaded(40, GetParam());
    std::atomic<int> told = 0;
    threaded.engine().SetOnLost([&] { ++told; });
    std::atomic<int> wrong = 0;
    std::vector<std::thread> clients;
    for (int c = 0; c < 4; ++c) {
      clients.emplace_back([&threaded, &wrong, c] {
        base::Rng rng(static_cast<uint64_t>(200 + c));
        std::vector<std::pair<Request, std::shared_ptr<RecordingSink>>> mine;
        // Until the engine refuses; the queue has room for all that comes before.
        for (;;) {
          Request request = RandomRequest(&rng);
          auto sink = std::make_shared<RecordingSink>();
          const absl::StatusOr<RequestId> id = threaded.engine().Submit(request, sink);
          if (id.status().code() == absl::StatusCode::kUnavailable) break;
          if (!id.ok()) continue;  // The queue is full.
          mine.emplace_back(std::move(request), sink);
          if (rng.Chance(0.1)) threaded.engine().Cancel(*id);
          if (mine.size() % 8 == 0) sink->Wait();
        }
        for (auto& [request, sink] : mine) {
          const Finish finish = sink->Wait();
          const bool whole =
              finish.reason == FinishReason::kLength && sink->tokens() == QuietTokens(request, 0);
          const bool ended = finish.status.code() == absl::StatusCode::kUnavailable ||
                             finish.reason == FinishReason::kCancelled;
          if (!whole && !ended) ++wrong;
        }
      });
    }
    auto first = std::make_shared<RecordingSink>();
    base::Rng rng(9);
    ASSERT_TRUE(threaded.engine().Submit(RandomRequest(&rng), first).ok());
    first->Wait();
    if (keeper_first) threaded.vmm().LoseDevice("gone");
    threaded.runner().LoseDevice(absl::UnavailableError("gone"));
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(told, 1);
    threaded.engine().Drain(absl::Hours(1));  // Nothing is left to wait for.
    EXPECT_EQ(threaded.engine().Health().code(), absl::StatusCode::kUnavailable);
  }
}

TEST_P(LocalEngineThreadsTest, DrainRefusesNewWorkAndHurriesTheOld) {
  ThreadedEngine threaded(40, GetParam());
  base::Rng rng(6);
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (int i = 0; i < 50; ++i) {
    sinks.push_back(std::make_shared<RecordingSink>());
    ASSERT_TRUE(threaded.engine().Submit(RandomRequest(&rng), sinks.back()).ok());
  }
  threaded.engine().Drain(absl::ZeroDuration());
  for (const auto& sink : sinks) {
    ASSERT_TRUE(sink->finished());  // Drain returned: everybody has been told.
    const Finish finish = sink->finish();
    EXPECT_TRUE(finish.status.ok() || finish.status.code() == absl::StatusCode::kUnavailable);
  }
  auto late = std::make_shared<RecordingSink>();
  EXPECT_EQ(threaded.engine().Submit(RandomRequest(&rng), late).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_FALSE(late->finished());
}

}  // namespace
}  // namespace ebb::engine

// E2: how long does the engine take to give memory back when its limit is lowered while requests
// run, and is any request lost for it?
//
//   bazel run //bench/memory:limit_bench -- --model FILE [--trials N] [--deadline-ms N] [--parts N]
//
// Keeps --requests requests running, prompts and answers of mixed lengths. Each time that at least
// --held-mib are held, enough that each request alone fits into a part, at a random moment, it
// lowers the limit to one of --parts parts of what is held, by --deadline-ms, takes the time until
// held memory is under it, and raises it again. Every answer is compared, token by token, with that
// of the same request without any limit. Prints percentiles beside the deadline, how many were
// missed, and what it took. The exit code is 1 when a request is lost or an answer differs.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "bench/number_flags.h"
#include "device/vmm_host.h"
#include "engine/model_engine.h"
#include "engine/model_step_runner.h"
#include "kernels/backend_factory.h"
#include "model/llama.h"
#include "model/open_model.h"
#include "scheduler/local_policy.h"

namespace ebb::bench {
namespace {

struct Options {
  std::string model;
  int64_t trials = 100;
  int64_t deadline_ms = 100;
  int64_t parts = 3;
  int64_t requests = 40;
  int64_t held_mib = 120;
  int64_t chunk_tokens = 128;
  int64_t seed = 1;
};

int Usage() {
  std::cerr << "usage: limit_bench --model FILE [--trials N] [--deadline-ms N] [--parts N]\n"
               "                   [--requests N] [--held-mib N] [--chunk-tokens N]\n"
               "                   [--seed N]\n";
  return 64;
}

bool Parse(int argc, char** argv, Options* options) {
  const std::pair<const char*, int64_t*> numbers[] = {
      {"--trials", &options->trials},    {"--deadline-ms", &options->deadline_ms},
      {"--parts", &options->parts},      {"--requests", &options->requests},
      {"--seed", &options->seed},        {"--chunk-tokens", &options->chunk_tokens},
      {"--held-mib", &options->held_mib}};
  return ReadNumberFlags(argc, argv, /*most=*/std::numeric_limits<int64_t>::max(), &options->model,
                         numbers);
}

// What one request got.
class Sink final : public engine::RequestSink {
 public:
  void OnPromptLogprobs(std::vector<engine::PromptLogprob>) override {}
  engine::SinkAnswer OnToken(const engine::Token& token) override {
    base::MutexLock lock(&mutex_);
    tokens_.push_back(token.id);
    return engine::SinkAnswer::kContinue;
  }
  void OnFinish(const engine::Finish& finish) override {
    base::MutexLock lock(&mutex_);
    finish_ = finish;
    finished_ = true;
    changed_.SignalAll();
  }
  bool finished() {
    base::MutexLock lock(&mutex_);
    return finished_;
  }
  // Its tokens, once it has ended; counts it as lost when that was not well.
  std::vector<int32_t> Wait(int64_t* lost) {
    base::MutexLock lock(&mutex_);
    while (!finished_) changed_.Wait(&mutex_);
    if (!finish_.status.ok()) {
      ++*lost;
      std::cerr << "a request ended with " << finish_.status << "\n";
    }
    return tokens_;
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<int32_t> tokens_ ABSL_GUARDED_BY(mutex_);
  engine::Finish finish_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

engine::LocalEngineOptions EngineOptions(const Options& options) {
  engine::LocalEngineOptions engine;
  engine.step.chunk_tokens_max = static_cast<int32_t>(options.chunk_tokens);
  engine.memory.slack_pages = 0;
  engine.memory.prepared_pages = 0;
  engine.memory.shrink_windows = 2;
  engine.log.windows = false;
  engine.log.requests = false;
  return engine;
}

engine::Request MakeRequest(int64_t index) {
  base::Rng rng(static_cast<uint64_t>(index));
  engine::Request request;
  const int64_t prompt_tokens = rng.Between(50, 500);
  for (int64_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<int32_t>(rng.Between(1000, 20'000)));
  }
  request.sampling.temperature = 0;
  request.stopping.max_tokens = static_cast<int32_t>(rng.Between(30, 200));
  request.stopping.ignore_eos = true;
  return request;
}

struct Figures {
  std::vector<double> took_ms;
  int64_t deferred = 0;
  int64_t preempted = 0;
  int64_t pages = 0;
  double held_before_mib = 0;
  int64_t lost = 0;
  int64_t wrong = 0;
  int64_t answers = 0;
};

double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const size_t last = values.size() - 1;
  return values[std::min(last, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

class Bench {
 public:
  Bench(const Options& options, engine::Engine* engine) : options_(options), engine_(engine) {}

  Figures Run() {
    base::Rng rng(static_cast<uint64_t>(options_.seed));
    const int64_t limit_bytes = engine_->Memory().limit_bytes;
    const absl::Duration deadline = absl::Milliseconds(options_.deadline_ms);
    for (int64_t trial = 0; trial < options_.trials; ++trial) {
      while (Mebibytes(engine_->Memory().held_bytes) < static_cast<double>(options_.held_mib)) {
        KeepBusy(absl::Now() + absl::Milliseconds(rng.Between(5, 50)));
      }
      const int64_t held = engine_->Memory().held_bytes;
      const auto answer = engine_->SetMemoryLimit({held / options_.parts, deadline});
      CHECK_OK(answer.status());
      if (answer->applied) {
        figures_.took_ms.push_back(absl::ToDoubleMilliseconds(answer->took));
      } else {
        ++figures_.deferred;
        std::printf("  deferred: limit %.1f MiB, held %.1f, the first needs %.1f\n",
                    Mebibytes(answer->limit_bytes), Mebibytes(answer->held_bytes),
                    Mebibytes(answer->first_needs_bytes));
      }
      figures_.preempted += answer->preempted_count;
      figures_.pages += answer->pages_unmapped;
      figures_.held_before_mib += Mebibytes(held);
      CHECK_OK(engine_->SetMemoryLimit({limit_bytes, deadline}).status());
    }
    for (Live& live : live_) {
      answers_.emplace_back(live.index, live.sink->Wait(&figures_.lost));
    }
    live_.clear();
    Compare();
    return figures_;
  }

 private:
  struct Live {
    int64_t index = 0;
    std::shared_ptr<Sink> sink;
  };

  static double Mebibytes(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

  Live Submit(int64_t index) {
    Live live{index, std::make_shared<Sink>()};
    CHECK_OK(engine_->Submit(MakeRequest(index), live.sink).status());
    return live;
  }

  // Replaces what has ended, until then.
  void KeepBusy(absl::Time until) {
    while (absl::Now() < until) {
      for (size_t i = 0; i < live_.size();) {
        if (!live_[i].sink->finished()) {
          ++i;
          continue;
        }
        answers_.emplace_back(live_[i].index, live_[i].sink->Wait(&figures_.lost));
        live_.erase(live_.begin() + static_cast<int64_t>(i));
      }
      while (static_cast<int64_t>(live_.size()) < options_.requests) {
        live_.push_back(Submit(next_index_++));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  // Each answer once more, with memory enough.
  void Compare() {
    for (size_t first = 0; first < answers_.size(); first += 16) {
      std::vector<Live> quiet;
      const size_t end = std::min(answers_.size(), first + 16);
      for (size_t i = first; i < end; ++i) quiet.push_back(Submit(answers_[i].first));
      for (size_t i = first; i < end; ++i) {
        const bool same = quiet[i - first].sink->Wait(&figures_.lost) == answers_[i].second;
        figures_.wrong += same ? 0 : 1;
      }
    }
    figures_.answers = static_cast<int64_t>(answers_.size());
  }

  const Options options_;
  engine::Engine* const engine_;
  int64_t next_index_ = 1;
  std::vector<Live> live_;
  std::vector<std::pair<int64_t, std::vector<int32_t>>> answers_;
  Figures figures_;
};

int Main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, &options)) return Usage();
  absl::StatusOr<model::OpenedModel> opened = model::OpenModel(options.model);
  CHECK_OK(opened.status());
  absl::StatusOr<std::unique_ptr<kernels::Backend>> backend = kernels::MakeCpuBackend("auto", 0);
  CHECK_OK(backend.status());
  auto model = model::LlamaModel::Load(*opened->weights, backend->get());
  CHECK_OK(model.status());
  const base::RealClock clock;
  base::NullLog log;
  device::HostVmm vmm;
  const engine::LocalEngineOptions engine_options = EngineOptions(options);
  const scheduler::LocalPolicy policy(scheduler::LocalPolicy::OptionsFrom(engine_options));
  const engine::ModelStepRunnerFactory runners(model->get(), &clock, kernels::DType::kF16);
  engine::ModelEngineParts parts;
  parts.runners = &runners;
  parts.vmm = &vmm;
  parts.clock = &clock;
  parts.log = &log;
  parts.policy = &policy;
  auto engine = engine::ModelEngine::Create(engine_options, parts);
  CHECK_OK(engine.status());
  const Figures figures = Bench(options, (*engine)->engine()).Run();
  const double trials = static_cast<double>(options.trials);
  std::printf("%lld limits lowered to 1/%lld of %.1f MiB on average, deadline %lld ms\n",
              static_cast<long long>(options.trials), static_cast<long long>(options.parts),
              figures.held_before_mib / trials, static_cast<long long>(options.deadline_ms));
  if (!figures.took_ms.empty()) {
    std::printf(
        "given back in: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, most %.1f ms; deferred %lld\n",
        Percentile(figures.took_ms, 0.5), Percentile(figures.took_ms, 0.9),
        Percentile(figures.took_ms, 0.99), Percentile(figures.took_ms, 1),
        static_cast<long long>(figures.deferred));
  }
  std::printf("per limit: %.1f sequences preempted, %.1f KV pages unmapped\n",
              static_cast<double>(figures.preempted) / trials,
              static_cast<double>(figures.pages) / trials);
  std::printf("%lld answers: %lld lost, %lld different\n", static_cast<long long>(figures.answers),
              static_cast<long long>(figures.lost), static_cast<long long>(figures.wrong));
  return figures.lost + figures.wrong > 0 ? 1 : 0;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::Main(argc, argv); }

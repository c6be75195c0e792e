#include "cli/bench/load.h"

#include <algorithm>
#include <chrono>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/mutex.h"
#include "base/rng.h"

namespace ebb::cli {
namespace {

// What the sender and the calls share.
struct Shared {
  base::Mutex mutex;
  base::CondVar changed;  // A call has ended, or the interrupt came.
  int64_t in_flight ABSL_GUARDED_BY(mutex) = 0;
  bool interrupted ABSL_GUARDED_BY(mutex) = false;
};

// One request: owns its context and messages, writes into its outcome. gRPC calls it from its own
// threads, one call at a time; nobody else touches it until it has ended.
class StreamCall final : public grpc::ClientReadReactor<v1::GenerateStreamResponse> {
 public:
  StreamCall(const base::Clock* clock, absl::Time due, Shared* shared, RequestOutcome* outcome)
      : clock_(clock), due_(due), shared_(shared), outcome_(outcome) {}

  void Start(v1::GenerateRequest request, absl::Duration timeout, v1::Inference::Stub* stub) {
    request_ = std::move(request);
    if (timeout != absl::InfiniteDuration()) {
      context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout));
    }
    outcome_->sent = true;
    outcome_->send_lag = SecondsSinceDue();
    stub->async()->GenerateStream(&context_, &request_, this);
    StartRead(&message_);
    StartCall();
  }

  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const int tokens = message_.delta().token_ids_size();
    if (tokens > 0) {
      const double now = SecondsSinceDue();
      if (outcome_->output_tokens == 0) {
        outcome_->first_token = now;
      } else {
        outcome_->gaps.push_back(now - outcome_->last_token);
      }
      outcome_->last_token = now;
      outcome_->output_tokens += tokens;
    }
    StartRead(&message_);
  }

  void OnDone(const grpc::Status& status) override {
    outcome_->total = SecondsSinceDue();
    outcome_->code = status.error_code();
    outcome_->message = status.error_message();
    base::MutexLock lock(&shared_->mutex);
    --shared_->in_flight;
    done_ = true;
    shared_->changed.SignalAll();
  }

  // REQUIRES: the shared mutex is held.
  bool done() const { return done_; }

 private:
  double SecondsSinceDue() const { return absl::ToDoubleSeconds(clock_->Now() - due_); }

  const base::Clock* const clock_;
  const absl::Time due_;
  Shared* const shared_;
  RequestOutcome* const outcome_;
  grpc::ClientContext context_;
  v1::GenerateRequest request_;
  v1::GenerateStreamResponse message_;
  bool done_ = false;
};

v1::GenerateRequest MakeRequest(const Arrival& arrival, const LoadOptions& options, uint64_t index,
                                const std::string& cache_salt) {
  v1::GenerateRequest request;
  const std::vector<int64_t> ids =
      BenchPrompt(arrival.prompt_tokens, options.vocabulary_tokens, options.seed, index);
  request.mutable_token_ids()->mutable_ids()->Assign(ids.begin(), ids.end());
  request.set_cache_salt(cache_salt);
  request.mutable_sampling()->set_temperature(options.temperature);
  request.mutable_stopping()->set_max_tokens(arrival.output_tokens);
  request.mutable_stopping()->set_ignore_eos(true);
  request.mutable_output()->set_return_text(false);
  request.mutable_output()->set_return_token_ids(true);
  return request;
}

// Asks for the server's memory again and again until it is destroyed.
class MemorySampler {
 public:
  MemorySampler(absl::Duration interval, const base::Clock* clock, Connection* connection,
                std::vector<MemorySample>* samples)
      : clock_(clock), connection_(connection), samples_(samples), start_(clock->Now()) {
    if (interval > absl::ZeroDuration())
      thread_ = std::thread([this, interval] { Loop(interval); });
  }
  ~MemorySampler() {
    {
      base::MutexLock lock(&mutex_);
      stop_ = true;
      changed_.SignalAll();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Loop(absl::Duration interval) {
    while (true) {
      Take();
      base::MutexLock lock(&mutex_);
      if (!stop_) changed_.WaitFor(&mutex_, absl::ToChronoNanoseconds(interval));
      if (stop_) return;
    }
  }

  void Take() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
    v1::GetMemoryResponse memory;
    if (!connection_->control()->GetMemory(&context, {}, &memory).ok()) return;
    samples_->push_back({absl::ToDoubleSeconds(clock_->Now() - start_), memory.held_bytes(),
                         memory.needed_bytes(), memory.cached_bytes(), memory.limit_bytes()});
  }

  const base::Clock* const clock_;
  Connection* const connection_;
  std::vector<MemorySample>* const samples_;
  const absl::Time start_;
  base::Mutex mutex_;
  base::CondVar changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Waits until `due`. False if the interrupt came first.
bool WaitUntilDue(absl::Time due, const base::Clock& clock, Shared* shared) {
  base::MutexLock lock(&shared->mutex);
  while (!shared->interrupted) {
    const absl::Duration left = due - clock.Now();
    if (left <= absl::ZeroDuration()) return true;
    shared->changed.WaitFor(&shared->mutex, absl::ToChronoNanoseconds(left));
  }
  return false;
}

// Frees what has ended; the rest is cancelled once the interrupt has come.
void Sweep(Shared* shared, std::list<std::unique_ptr<StreamCall>>* calls) {
  base::MutexLock lock(&shared->mutex);
  calls->remove_if([](const std::unique_ptr<StreamCall>& call) { return call->done(); });
  if (!shared->interrupted) return;
  for (const auto& call : *calls) call->Cancel();
}

void WaitForAll(Shared* shared, std::list<std::unique_ptr<StreamCall>>* calls) {
  while (!calls->empty()) {
    Sweep(shared, calls);
    base::MutexLock lock(&shared->mutex);
    // A call that ended since the sweep has signalled already: look again soon.
    if (shared->in_flight > 0)
      shared->changed.WaitFor(&shared->mutex, std::chrono::milliseconds(50));
  }
}

}  // namespace

LoadResult RunLoad(const std::vector<Arrival>& arrivals, const LoadOptions& options,
                   const base::Clock& clock, Connection* connection, Interrupt* interrupt) {
  CHECK_GE(options.vocabulary_tokens, 8);
  LoadResult result;
  result.requests.resize(arrivals.size());  // Never grows: the calls write into it.
  Shared shared;
  const Interrupt::Scope on_interrupt(interrupt, [&shared] {
    base::MutexLock lock(&shared.mutex);
    shared.interrupted = true;
    shared.changed.SignalAll();
  });
  const absl::Time start = clock.Now();
  // A second run has the same prompts, and is to find the server as the first one did.
  const std::string cache_salt = absl::StrCat("bench ", absl::ToUnixNanos(start));
  {
    const MemorySampler sampler(options.memory_interval, &clock, connection, &result.memory);
    std::list<std::unique_ptr<StreamCall>> calls;
    for (size_t i = 0; i < arrivals.size(); ++i) result.requests[i].arrival = arrivals[i];
    for (size_t i = 0; i < arrivals.size(); ++i) {
      // Before the wait, so that sending is not held up by it.
      v1::GenerateRequest request = MakeRequest(arrivals[i], options, i, cache_salt);
      Sweep(&shared, &calls);
      const absl::Time due = start + arrivals[i].at;
      if (!WaitUntilDue(due, clock, &shared)) {
        result.requests.resize(i);  // The rest never came due.
        break;
      }
      {
        base::MutexLock lock(&shared.mutex);
        if (shared.in_flight >= options.in_flight_max) continue;
        ++shared.in_flight;
      }
      calls.push_back(std::make_unique<StreamCall>(&clock, due, &shared, &result.requests[i]));
      calls.back()->Start(std::move(request), options.request_timeout, connection->inference());
    }
    WaitForAll(&shared, &calls);
    result.seconds = absl::ToDoubleSeconds(clock.Now() - start);
  }
  result.interrupted = interrupt->triggered();
  return result;
}

std::vector<int64_t> BenchPrompt(int64_t tokens, int64_t vocabulary_tokens, uint64_t seed,
                                 uint64_t index) {
  base::Rng rng(base::RandomBits(seed, index));
  std::vector<int64_t> ids(static_cast<size_t>(tokens));
  for (int64_t& id : ids) id = rng.Between(vocabulary_tokens / 4, vocabulary_tokens / 2);
  return ids;
}

}  // namespace ebb::cli

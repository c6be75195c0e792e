// The fake device's streams, events and graphs, as its own files see them.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "device/cuda/cuda_api.h"
#include "device/cuda/fake/fake_cuda.h"

struct EbbCudaContext {
  EbbCudaContext(const ebb::device::FakeCudaOptions& options, int32_t index)
      : fake(options, index) {}
  ebb::device::FakeCuda fake;
  std::atomic<bool> use_hopper = false;
  // Held while a stream goes, and while somebody waits for all of them.
  ebb::base::Mutex streams_mutex;
};

// A thread and what is queued for it. Thread-safe.
struct EbbCudaStream {
 public:
  using Work = std::function<void()>;

  explicit EbbCudaStream(EbbCudaContext* context);
  // Runs what is queued, then ends.
  ~EbbCudaStream();

  EbbCudaContext* context() const { return context_; }
  ebb::device::FakeCuda& fake() const { return context_->fake; }

  // Queues work, or records it while capturing.
  void Add(Work work);
  // Queues what is no work of the device's (waiting, events); INVALID_ARGUMENT while capturing.
  int32_t AddOrdering(Work work, const char* call);
  int32_t Synchronize();
  // Returns when nothing is queued; what is being recorded does not count.
  void WaitIdle();
  void SetHeld(bool held);
  // Looks again at what changed outside: the device was lost.
  void Wake();

  int32_t BeginCapture();
  // Null, and INVALID_ARGUMENT, when the capture was spoilt.
  int32_t EndCapture(std::shared_ptr<std::vector<Work>>* recorded);
  // The running capture cannot succeed any more.
  void SpoilCapture(const char* call);

 private:
  void Run();

  EbbCudaContext* const context_;
  ebb::base::Mutex mutex_;
  ebb::base::CondVar changed_;
  std::deque<Work> queue_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<std::vector<Work>> recording_ ABSL_GUARDED_BY(mutex_);
  std::thread::id capturer_ ABSL_GUARDED_BY(mutex_);
  std::string spoilt_by_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // Must be the last member: it uses the others.
};

namespace ebb::device {

// The table's parts, each by its file.
void SetFakeContextEntries(EbbCudaApi* api);
void SetFakeStreamEntries(EbbCudaApi* api);

// INVALID_ARGUMENT in a thread that is capturing; what it captures is then spoilt.
int32_t RefuseInCapture(const char* call);

}  // namespace ebb::device

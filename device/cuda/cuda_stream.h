// CudaStream, CudaEvent, CudaGraph: ordered work on a device.
//
//   Launch(work)   work queues kernels and copies on native(), in the caller's thread; then an
//   event waiter thread  waits for the events in order: completed() rises, OnCompleted is called
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "device/cuda/cuda_device.h"
#include "device/stream.h"

namespace ebb::device {

class CudaStream;

// A point in a stream's work. Move-only; the device outlives it. Thread-compatible.
class CudaEvent {
 public:
  // `timing`: for MillisecondsBetween; costs a little more.
  static absl::StatusOr<CudaEvent> Create(const CudaDevice* device, bool timing = false);
  CudaEvent() = default;
  ~CudaEvent();
  CudaEvent(CudaEvent&& other) noexcept { *this = std::move(other); }
  CudaEvent& operator=(CudaEvent&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(event_, other.event_);
    return *this;
  }

  // From now on the event stands behind what the stream has.
  absl::Status Record(EbbCudaStream* stream);
  // Whether the work before it is done. True when it was never recorded.
  absl::StatusOr<bool> Done() const;
  absl::Status Wait() const;
  EbbCudaEvent* native() const { return event_; }

 private:
  CudaEvent(const CudaDevice* device, EbbCudaEvent* event) : device_(device), event_(event) {}

  const CudaDevice* device_ = nullptr;
  EbbCudaEvent* event_ = nullptr;
};

// REQUIRES: both were made with timing, recorded, and done.
absl::StatusOr<float> MillisecondsBetween(const CudaDevice& device, const CudaEvent& begin,
                                          const CudaEvent& end);

// Work that was recorded once and runs at each launch with what its addresses then hold. Move-only;
// the device outlives it. Thread-compatible.
class CudaGraph {
 public:
  // Records what `work` queues on the stream; it runs in this thread and none of it is executed.
  // REQUIRES: nobody else uses the stream meanwhile, and work allocates nothing, frees nothing and
  // waits for nothing. Each kernel has run once before, so that nothing loads in the capture.
  static absl::StatusOr<CudaGraph> Capture(const CudaDevice* device, EbbCudaStream* stream,
                                           const std::function<absl::Status()>& work);
  CudaGraph() = default;
  ~CudaGraph();
  CudaGraph(CudaGraph&& other) noexcept { *this = std::move(other); }
  CudaGraph& operator=(CudaGraph&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(graph_, other.graph_);
    return *this;
  }

  absl::Status Launch(EbbCudaStream* stream) const;

 private:
  CudaGraph(const CudaDevice* device, EbbCudaGraph* graph) : device_(device), graph_(graph) {}

  const CudaDevice* device_ = nullptr;
  EbbCudaGraph* graph_ = nullptr;
};

// Thread-safe, but launches come from one thread at a time. The destructor waits for what was
// launched. After the loss of the device every ticket completes, soon and in order, and status()
// says so: what the work should have made is then undefined.
class CudaStream final : public Stream {
 public:
  struct Options {
    bool high_priority = false;  // Its kernels go first where both streams want the device.
  };
  // The device outlives it.
  static absl::StatusOr<std::unique_ptr<CudaStream>> Create(const CudaDevice* device,
                                                            const Options& options,
                                                            OnCompleted on_completed = nullptr);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  // Runs `work` before it returns; what work queues on native() is the ticket's.
  Ticket Launch(Work work) override;
  Ticket submitted() const override;
  Ticket completed() const override;
  void Wait(Ticket ticket) override;

  // The device's work from here on waits for the event; the caller does not.
  absl::Status WaitFor(const CudaEvent& event);
  EbbCudaStream* native() const { return stream_; }
  const CudaDevice& device() const { return *device_; }
  // The first failure of work on this stream; OK while all is well.
  absl::Status status() const;

 private:
  struct Submitted {
    Ticket ticket = 0;
    CudaEvent event;
    bool recorded = false;  // Else the ticket waits for the whole stream.
  };

  CudaStream(const CudaDevice* device, EbbCudaStream* stream, OnCompleted on_completed);
  CudaEvent TakeEvent();
  void Run();
  void NoteFailure(const absl::Status& status);

  const CudaDevice* const device_;
  EbbCudaStream* const stream_;
  const OnCompleted on_completed_;
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<Submitted> queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<CudaEvent> spare_events_ ABSL_GUARDED_BY(mutex_);
  Ticket submitted_ ABSL_GUARDED_BY(mutex_) = 0;
  Ticket completed_ ABSL_GUARDED_BY(mutex_) = 0;
  Ticket reported_ ABSL_GUARDED_BY(mutex_) = 0;  // OnCompleted has returned.
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // Must be the last member: it uses the others.
};

}  // namespace ebb::device

#include "device/cuda/cuda_stream.h"

#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace ebb::device {

absl::StatusOr<CudaEvent> CudaEvent::Create(const CudaDevice* device, bool timing) {
  EbbCudaEvent* event = nullptr;
  RETURN_IF_ERROR(device->Check(
      device->api().event_create(device->context(), timing ? 1 : 0, &event), "making an event"));
  return CudaEvent(device, event);
}

CudaEvent::~CudaEvent() {
  if (event_ != nullptr) device_->api().event_destroy(event_);
}

absl::Status CudaEvent::Record(EbbCudaStream* stream) {
  return device_->Check(device_->api().event_record(event_, stream), "recording an event");
}

absl::StatusOr<bool> CudaEvent::Done() const {
  const int32_t code = device_->api().event_query(event_);
  if (code == EBB_CUDA_NOT_READY) return false;
  RETURN_IF_ERROR(device_->Check(code, "work on the device"));
  return true;
}

absl::Status CudaEvent::Wait() const {
  return device_->Check(device_->api().event_synchronize(event_), "work on the device");
}

absl::StatusOr<float> MillisecondsBetween(const CudaDevice& device, const CudaEvent& begin,
                                          const CudaEvent& end) {
  float milliseconds = 0;
  RETURN_IF_ERROR(
      device.Check(device.api().event_elapsed(begin.native(), end.native(), &milliseconds),
                   "reading the time between two events"));
  return milliseconds;
}

absl::StatusOr<CudaGraph> CudaGraph::Capture(const CudaDevice* device, EbbCudaStream* stream,
                                             const std::function<absl::Status()>& work) {
  const EbbCudaApi& api = device->api();
  RETURN_IF_ERROR(device->Check(api.capture_begin(stream), "beginning to capture a graph"));
  const absl::Status status = work();
  // Ended whatever came of it: a stream left capturing would take no more work.
  EbbCudaGraph* graph = nullptr;
  const absl::Status ended = device->Check(api.capture_end(stream, &graph), "capturing a graph");
  CudaGraph result(device, graph);
  RETURN_IF_ERROR(status);
  RETURN_IF_ERROR(ended);
  return result;
}

CudaGraph::~CudaGraph() {
  if (graph_ != nullptr) device_->api().graph_destroy(graph_);
}

absl::Status CudaGraph::Launch(EbbCudaStream* stream) const {
  return device_->Check(device_->api().graph_launch(graph_, stream), "launching a graph");
}

absl::StatusOr<std::unique_ptr<CudaStream>> CudaStream::Create(const CudaDevice* device,
                                                               const Options& options,
                                                               OnCompleted on_completed) {
  EbbCudaStream* stream = nullptr;
  RETURN_IF_ERROR(device->Check(
      device->api().stream_create(device->context(), options.high_priority ? 1 : 0, &stream),
      "making a stream"));
  return std::unique_ptr<CudaStream>(new CudaStream(device, stream, std::move(on_completed)));
}

CudaStream::CudaStream(const CudaDevice* device, EbbCudaStream* stream, OnCompleted on_completed)
    : device_(device),
      stream_(stream),
      on_completed_(std::move(on_completed)),
      thread_([this] { Run(); }) {}

CudaStream::~CudaStream() {
  {
    base::MutexLock lock(&mutex_);
    closing_ = true;
    changed_.SignalAll();
  }
  thread_.join();
  device_->api().stream_destroy(stream_);
}

Ticket CudaStream::Launch(Work work) {
  work();
  work = nullptr;
  Submitted next;
  next.event = TakeEvent();
  if (next.event.native() != nullptr) {
    const absl::Status status = next.event.Record(stream_);
    next.recorded = status.ok();
    NoteFailure(status);
  }
  base::MutexLock lock(&mutex_);
  CHECK(!closing_);
  const Ticket ticket = ++submitted_;
  next.ticket = ticket;
  queue_.push_back(std::move(next));
  changed_.SignalAll();
  return ticket;
}

Ticket CudaStream::submitted() const {
  base::MutexLock lock(&mutex_);
  return submitted_;
}

Ticket CudaStream::completed() const {
  base::MutexLock lock(&mutex_);
  return completed_;
}

void CudaStream::Wait(Ticket ticket) {
  CHECK(std::this_thread::get_id() != thread_.get_id()) << "a stream cannot wait for itself";
  base::MutexLock lock(&mutex_);
  CHECK_LE(ticket, submitted_);
  while (reported_ < ticket) changed_.Wait(&mutex_);
}

absl::Status CudaStream::WaitFor(const CudaEvent& event) {
  return device_->Check(device_->api().stream_wait_event(stream_, event.native()),
                        "waiting for another stream");
}

absl::Status CudaStream::status() const {
  base::MutexLock lock(&mutex_);
  return status_;
}

// An event that no ticket uses; an empty one when none can be made.
CudaEvent CudaStream::TakeEvent() {
  {
    base::MutexLock lock(&mutex_);
    if (!spare_events_.empty()) {
      CudaEvent event = std::move(spare_events_.back());
      spare_events_.pop_back();
      return event;
    }
  }
  absl::StatusOr<CudaEvent> event = CudaEvent::Create(device_);
  if (event.ok()) return std::move(event).value();
  NoteFailure(event.status());
  return CudaEvent();
}

void CudaStream::NoteFailure(const absl::Status& status) {
  if (status.ok()) return;
  base::MutexLock lock(&mutex_);
  if (status_.ok()) status_ = status;
}

void CudaStream::Run() {
  while (true) {
    Submitted next;
    {
      base::MutexLock lock(&mutex_);
      while (queue_.empty() && !closing_) changed_.Wait(&mutex_);
      if (queue_.empty()) return;
      next = std::move(queue_.front());
      queue_.pop_front();
    }
    NoteFailure(next.recorded ? next.event.Wait()
                              : device_->Check(device_->api().stream_synchronize(stream_),
                                               "work on the device"));
    {
      base::MutexLock lock(&mutex_);
      completed_ = next.ticket;
      if (next.event.native() != nullptr) spare_events_.push_back(std::move(next.event));
    }
    if (on_completed_) on_completed_(next.ticket);
    base::MutexLock lock(&mutex_);
    reported_ = next.ticket;
    changed_.SignalAll();
  }
}

}  // namespace ebb::device

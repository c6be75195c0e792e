// The fake's streams, events, graphs and copies.
#include "device/cuda/fake/fake_stream.h"

#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/stream_internal.h"

namespace device = ebb::device;

namespace {

// The stream that this thread captures.
thread_local EbbCudaStream* captured_here = nullptr;

// What an event knows; kept by queued work, too, so that the event itself may go.
struct EventState {
  ebb::base::Mutex mutex;
  ebb::base::CondVar changed;
  uint64_t recorded ABSL_GUARDED_BY(mutex) = 0;  // Records that were queued,
  uint64_t reached ABSL_GUARDED_BY(mutex) = 0;   // and those that the work has reached.
  std::chrono::steady_clock::time_point at ABSL_GUARDED_BY(mutex);
};

void WaitUntilReached(EventState* state, uint64_t record) {
  ebb::base::MutexLock lock(&state->mutex);
  while (state->reached < record) state->changed.Wait(&state->mutex);
}

}  // namespace

struct EbbCudaEvent {
  EbbCudaContext* context = nullptr;
  bool timing = false;
  std::shared_ptr<EventState> state = std::make_shared<EventState>();
};

struct EbbCudaGraph {
  EbbCudaContext* context = nullptr;
  std::shared_ptr<std::vector<EbbCudaStream::Work>> work;
};

// ---- the stream's thread

EbbCudaStream::EbbCudaStream(EbbCudaContext* context)
    : context_(context), thread_([this] { Run(); }) {}

EbbCudaStream::~EbbCudaStream() {
  {
    ebb::base::MutexLock lock(&mutex_);
    CHECK(recording_ == nullptr) << "a stream is destroyed while it captures";
    closing_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

void EbbCudaStream::Add(Work work) {
  ebb::base::MutexLock lock(&mutex_);
  if (recording_ != nullptr) {
    recording_->push_back(std::move(work));
    return;
  }
  queue_.push_back(std::move(work));
  changed_.SignalAll();
}

int32_t EbbCudaStream::AddOrdering(Work work, const char* call) {
  ebb::base::MutexLock lock(&mutex_);
  if (recording_ != nullptr) {
    spoilt_by_ = call;
    return device::SetError(EBB_CUDA_INVALID_ARGUMENT,
                            std::string(call) + " on a stream that is capturing");
  }
  queue_.push_back(std::move(work));
  changed_.SignalAll();
  return EBB_CUDA_OK;
}

int32_t EbbCudaStream::Synchronize() {
  {
    ebb::base::MutexLock lock(&mutex_);
    if (recording_ != nullptr) {
      spoilt_by_ = "stream_synchronize";
      return device::SetError(EBB_CUDA_INVALID_ARGUMENT,
                              "stream_synchronize on a stream that is capturing");
    }
  }
  WaitIdle();
  return fake().Enter();
}

void EbbCudaStream::WaitIdle() {
  ebb::base::MutexLock lock(&mutex_);
  while (!queue_.empty() || busy_) changed_.Wait(&mutex_);
}

void EbbCudaStream::SetHeld(bool held) {
  ebb::base::MutexLock lock(&mutex_);
  held_ = held;
  changed_.SignalAll();
}

void EbbCudaStream::Wake() {
  ebb::base::MutexLock lock(&mutex_);
  changed_.SignalAll();
}

int32_t EbbCudaStream::BeginCapture() {
  ebb::base::MutexLock lock(&mutex_);
  if (recording_ != nullptr || captured_here != nullptr) {
    return device::SetError(EBB_CUDA_INVALID_ARGUMENT,
                            "capture_begin: the stream or this thread is capturing already");
  }
  recording_ = std::make_shared<std::vector<Work>>();
  capturer_ = std::this_thread::get_id();
  captured_here = this;
  spoilt_by_.clear();
  return EBB_CUDA_OK;
}

int32_t EbbCudaStream::EndCapture(std::shared_ptr<std::vector<Work>>* recorded) {
  ebb::base::MutexLock lock(&mutex_);
  recorded->reset();
  if (recording_ == nullptr) {
    return device::SetError(EBB_CUDA_INVALID_ARGUMENT, "capture_end: the stream is not capturing");
  }
  if (capturer_ != std::this_thread::get_id()) {
    return device::SetError(EBB_CUDA_INVALID_ARGUMENT,
                            "capture_end: another thread has begun this capture");
  }
  captured_here = nullptr;
  const std::shared_ptr<std::vector<Work>> taken = std::move(recording_);
  recording_ = nullptr;
  if (!spoilt_by_.empty()) {
    return device::SetError(EBB_CUDA_INVALID_ARGUMENT,
                            "capture_end: the capture was spoilt by " + spoilt_by_);
  }
  *recorded = taken;
  return EBB_CUDA_OK;
}

void EbbCudaStream::SpoilCapture(const char* call) {
  ebb::base::MutexLock lock(&mutex_);
  spoilt_by_ = call;
}

void EbbCudaStream::Run() {
  while (true) {
    Work work;
    {
      ebb::base::MutexLock lock(&mutex_);
      // A lost device holds nothing up.
      while ((queue_.empty() && !closing_) || (held_ && !closing_ && !fake().lost())) {
        changed_.Wait(&mutex_);
      }
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
      busy_ = true;
    }
    work();
    work = nullptr;
    ebb::base::MutexLock lock(&mutex_);
    busy_ = false;
    changed_.SignalAll();
  }
}

namespace ebb::device {

int32_t EnterStream(EbbCudaStream* stream) { return stream->fake().Enter(); }

bool UseHopperKernels(EbbCudaStream* stream) {
  const FakeCudaOptions& options = stream->fake().options();
  return options.compute_major == 9 && options.compute_minor == 0;
}

int32_t FakeEnqueue(EbbCudaStream* stream, std::function<void()> work) {
  FakeCuda* const fake = &stream->fake();
  const int32_t code = fake->Enter(FakeCudaCall::kLaunch);
  if (code != EBB_CUDA_OK) return code;
  stream->Add([fake, work = std::move(work)] {
    if (fake->BeginRun()) work();
  });
  return EBB_CUDA_OK;
}

int32_t RefuseInCapture(const char* call) {
  if (captured_here == nullptr) return EBB_CUDA_OK;
  captured_here->SpoilCapture(call);
  return SetError(EBB_CUDA_INVALID_ARGUMENT, std::string(call) + " in a thread that is capturing");
}

namespace {

// ---- streams

int32_t StreamCreate(EbbCudaContext* context, int32_t /*high_priority*/, EbbCudaStream** stream) {
  *stream = nullptr;
  const int32_t code = context->fake.Enter(FakeCudaCall::kStreamCreate);
  if (code != EBB_CUDA_OK) return code;
  *stream = new EbbCudaStream(context);
  context->fake.AddStream(*stream);
  return EBB_CUDA_OK;
}

void StreamDestroy(EbbCudaStream* stream) {
  base::MutexLock lock(&stream->context()->streams_mutex);
  stream->fake().RemoveStream(stream);
  delete stream;
}

int32_t StreamSynchronize(EbbCudaStream* stream) {
  const int32_t code = EnterStream(stream);
  return code == EBB_CUDA_OK ? stream->Synchronize() : code;
}

int32_t StreamWaitEvent(EbbCudaStream* stream, EbbCudaEvent* event) {
  const int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  uint64_t record = 0;
  {
    base::MutexLock lock(&event->state->mutex);
    record = event->state->recorded;
  }
  return stream->AddOrdering(
      [state = event->state, record] { WaitUntilReached(state.get(), record); },
      "stream_wait_event");
}

// ---- events

int32_t EventCreate(EbbCudaContext* context, int32_t timing, EbbCudaEvent** event) {
  *event = nullptr;
  const int32_t code = context->fake.Enter(FakeCudaCall::kEventCreate);
  if (code != EBB_CUDA_OK) return code;
  *event = new EbbCudaEvent{context, timing != 0};
  context->fake.CountObject(1);
  return EBB_CUDA_OK;
}

void EventDestroy(EbbCudaEvent* event) {
  event->context->fake.CountObject(-1);
  delete event;
}

int32_t EventRecord(EbbCudaEvent* event, EbbCudaStream* stream) {
  const int32_t code = stream->fake().Enter(FakeCudaCall::kEventRecord);
  if (code != EBB_CUDA_OK) return code;
  const std::shared_ptr<EventState> state = event->state;
  uint64_t record = 0;
  {
    base::MutexLock lock(&state->mutex);
    record = ++state->recorded;
  }
  const int32_t added = stream->AddOrdering(
      [state, record] {
        base::MutexLock lock(&state->mutex);
        state->reached = record;
        state->at = std::chrono::steady_clock::now();
        state->changed.SignalAll();
      },
      "event_record");
  if (added == EBB_CUDA_OK) return added;
  base::MutexLock lock(&state->mutex);
  --state->recorded;
  return added;
}

int32_t EventQuery(EbbCudaEvent* event) {
  const int32_t code = event->context->fake.Enter();
  if (code != EBB_CUDA_OK) return code;
  base::MutexLock lock(&event->state->mutex);
  return event->state->reached < event->state->recorded ? EBB_CUDA_NOT_READY : EBB_CUDA_OK;
}

int32_t EventSynchronize(EbbCudaEvent* event) {
  int32_t code = RefuseInCapture("event_synchronize");
  if (code == EBB_CUDA_OK) code = event->context->fake.Enter();
  if (code != EBB_CUDA_OK) return code;
  uint64_t record = 0;
  {
    base::MutexLock lock(&event->state->mutex);
    record = event->state->recorded;
  }
  WaitUntilReached(event->state.get(), record);
  return event->context->fake.Enter();
}

int32_t EventElapsed(EbbCudaEvent* begin, EbbCudaEvent* end, float* milliseconds) {
  const int32_t code = begin->context->fake.Enter();
  if (code != EBB_CUDA_OK) return code;
  if (!begin->timing || !end->timing) {
    return SetError(EBB_CUDA_INVALID_ARGUMENT, "event_elapsed: an event was made without timing");
  }
  std::chrono::steady_clock::time_point from, to;
  for (const auto& [event, at] : {std::pair{begin, &from}, std::pair{end, &to}}) {
    base::MutexLock lock(&event->state->mutex);
    if (event->state->recorded == 0) {
      return SetError(EBB_CUDA_INVALID_ARGUMENT, "event_elapsed: an event was never recorded");
    }
    if (event->state->reached < event->state->recorded) return EBB_CUDA_NOT_READY;
    *at = event->state->at;
  }
  *milliseconds = std::chrono::duration<float, std::milli>(to - from).count();
  return EBB_CUDA_OK;
}

// ---- graphs

int32_t CaptureBegin(EbbCudaStream* stream) {
  const int32_t code = EnterStream(stream);
  return code == EBB_CUDA_OK ? stream->BeginCapture() : code;
}

int32_t CaptureEnd(EbbCudaStream* stream, EbbCudaGraph** graph) {
  *graph = nullptr;
  // Ended whatever is answered: a stream left capturing would take no more work.
  std::shared_ptr<std::vector<EbbCudaStream::Work>> recorded;
  int32_t code = stream->EndCapture(&recorded);
  if (code == EBB_CUDA_OK) code = stream->fake().Enter(FakeCudaCall::kCaptureEnd);
  if (code != EBB_CUDA_OK) return code;
  *graph = new EbbCudaGraph{stream->context(), std::move(recorded)};
  stream->fake().CountObject(1);
  return EBB_CUDA_OK;
}

int32_t GraphLaunch(EbbCudaGraph* graph, EbbCudaStream* stream) {
  const int32_t code = stream->fake().Enter(FakeCudaCall::kGraphLaunch);
  if (code != EBB_CUDA_OK) return code;
  return stream->AddOrdering(
      [work = graph->work] {
        for (const EbbCudaStream::Work& one : *work) one();
      },
      "graph_launch");
}

void GraphDestroy(EbbCudaGraph* graph) {
  graph->context->fake.CountObject(-1);
  delete graph;
}

// ---- copies: all of them happen late, when the stream comes to them

// Runs `access` on device memory. What is mapped must be open then; to edit it meanwhile ends the
// process.
void WithDeviceMemory(FakeCuda* fake, const void* memory, int64_t bytes,
                      const std::function<void()>& access) {
  if (!fake->IsReserved(memory)) return access();
  const uint64_t use = fake->vmm().BeginUse(static_cast<const uint8_t*>(memory), bytes);
  access();
  fake->vmm().EndUse(use);
}

int32_t CheckSide(const FakeCuda& fake, const void* memory, int64_t bytes, bool on_device,
                  const char* call) {
  if (fake.IsDeviceMemory(memory, on_device ? bytes : 1) == on_device) return EBB_CUDA_OK;
  return SetError(EBB_CUDA_INVALID_ARGUMENT,
                  std::string(call) + (on_device ? ": an address that is not in device memory"
                                                 : ": a device address for host memory"));
}

int32_t Copy(EbbCudaStream* stream, void* to, bool to_device, const void* from, bool from_device,
             int64_t bytes, const char* call) {
  int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  if (bytes < 0) return SetError(EBB_CUDA_INVALID_ARGUMENT, "copy: a negative number of bytes");
  if (bytes == 0) return EBB_CUDA_OK;
  FakeCuda* const fake = &stream->fake();
  code = CheckSide(*fake, to, bytes, to_device, call);
  if (code == EBB_CUDA_OK) code = CheckSide(*fake, from, bytes, from_device, call);
  if (code != EBB_CUDA_OK) return code;
  return FakeEnqueue(stream, [=] {
    const auto copy = [=] { std::memmove(to, from, static_cast<size_t>(bytes)); };
    const auto with_source = [=] {
      if (!from_device) return copy();
      WithDeviceMemory(fake, from, bytes, copy);
    };
    if (!to_device) return with_source();
    WithDeviceMemory(fake, to, bytes, with_source);
  });
}

int32_t CopyToDevice(EbbCudaStream* stream, void* to, const void* from, int64_t bytes) {
  return Copy(stream, to, true, from, false, bytes, "copy_to_device");
}

int32_t CopyToHost(EbbCudaStream* stream, void* to, const void* from, int64_t bytes) {
  return Copy(stream, to, false, from, true, bytes, "copy_to_host");
}

int32_t CopyOnDevice(EbbCudaStream* stream, void* to, const void* from, int64_t bytes) {
  return Copy(stream, to, true, from, true, bytes, "copy_on_device");
}

int32_t FillBytes(EbbCudaStream* stream, void* to, int32_t byte, int64_t bytes) {
  int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  if (bytes < 0) return SetError(EBB_CUDA_INVALID_ARGUMENT, "fill: a negative number of bytes");
  if (bytes == 0) return EBB_CUDA_OK;
  FakeCuda* const fake = &stream->fake();
  code = CheckSide(*fake, to, bytes, /*on_device=*/true, "fill_bytes");
  if (code != EBB_CUDA_OK) return code;
  return FakeEnqueue(stream, [=] {
    WithDeviceMemory(fake, to, bytes, [=] { std::memset(to, byte, static_cast<size_t>(bytes)); });
  });
}

}  // namespace

void SetFakeStreamEntries(EbbCudaApi* api) {
  api->stream_create = StreamCreate;
  api->stream_destroy = StreamDestroy;
  api->stream_synchronize = StreamSynchronize;
  api->event_create = EventCreate;
  api->event_destroy = EventDestroy;
  api->event_record = EventRecord;
  api->event_query = EventQuery;
  api->event_synchronize = EventSynchronize;
  api->event_elapsed = EventElapsed;
  api->stream_wait_event = StreamWaitEvent;
  api->capture_begin = CaptureBegin;
  api->capture_end = CaptureEnd;
  api->graph_launch = GraphLaunch;
  api->graph_destroy = GraphDestroy;
  api->copy_to_device = CopyToDevice;
  api->copy_to_host = CopyToHost;
  api->copy_on_device = CopyOnDevice;
  api->fill_bytes = FillBytes;
}

}  // namespace ebb::device

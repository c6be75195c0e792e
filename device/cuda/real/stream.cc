// Streams, events, graphs and copies.
#include <cuda_runtime_api.h>

#include <memory>

#include "device/cuda/cuda_error.h"
#include "device/cuda/real/context.h"

struct EbbCudaStream {
  EbbCudaContext* context = nullptr;
  cudaStream_t stream = nullptr;
};

struct EbbCudaEvent {
  EbbCudaContext* context = nullptr;
  cudaEvent_t event = nullptr;
};

struct EbbCudaGraph {
  EbbCudaContext* context = nullptr;
  cudaGraphExec_t graph = nullptr;
};

namespace ebb::device {

int32_t EnterStream(EbbCudaStream* stream) { return EnterContext(stream->context); }

cudaStream_t NativeStream(EbbCudaStream* stream) { return stream->stream; }

bool UsesHopper(const EbbCudaStream* stream) {
  return stream->context->is_hopper && stream->context->use_hopper.load(std::memory_order_relaxed);
}

namespace {

// ---- streams

int32_t StreamCreate(EbbCudaContext* context, int32_t high_priority, EbbCudaStream** stream) {
  *stream = nullptr;
  int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  int least = 0, greatest = 0;
  code = FromCuda(cudaDeviceGetStreamPriorityRange(&least, &greatest),
                  "cudaDeviceGetStreamPriorityRange");
  if (code != EBB_CUDA_OK) return code;
  auto made = std::make_unique<EbbCudaStream>();
  made->context = context;
  // Non-blocking: it does not wait for the default stream, on which nobody here works.
  code = FromCuda(cudaStreamCreateWithPriority(&made->stream, cudaStreamNonBlocking,
                                               high_priority != 0 ? greatest : least),
                  "cudaStreamCreateWithPriority");
  if (code == EBB_CUDA_OK) *stream = made.release();
  return code;
}

// Of a lost device nothing can be given back: what the destroying calls answer is of no use.
void StreamDestroy(EbbCudaStream* stream) {
  if (EnterStream(stream) == EBB_CUDA_OK) {
    FromCuda(cudaStreamDestroy(stream->stream), "cudaStreamDestroy");
  }
  delete stream;
}

int32_t StreamSynchronize(EbbCudaStream* stream) {
  const int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaStreamSynchronize(stream->stream), "cudaStreamSynchronize");
}

int32_t StreamWaitEvent(EbbCudaStream* stream, EbbCudaEvent* event) {
  const int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaStreamWaitEvent(stream->stream, event->event, cudaEventWaitDefault),
                  "cudaStreamWaitEvent");
}

// ---- events

int32_t EventCreate(EbbCudaContext* context, int32_t timing, EbbCudaEvent** event) {
  *event = nullptr;
  int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  auto made = std::make_unique<EbbCudaEvent>();
  made->context = context;
  // Who waits sleeps instead of spinning: a core per stream is worth more than some microseconds.
  const unsigned flags =
      cudaEventBlockingSync | (timing != 0 ? cudaEventDefault : cudaEventDisableTiming);
  code = FromCuda(cudaEventCreateWithFlags(&made->event, flags), "cudaEventCreateWithFlags");
  if (code == EBB_CUDA_OK) *event = made.release();
  return code;
}

void EventDestroy(EbbCudaEvent* event) {
  if (EnterContext(event->context) == EBB_CUDA_OK) {
    FromCuda(cudaEventDestroy(event->event), "cudaEventDestroy");
  }
  delete event;
}

int32_t EventRecord(EbbCudaEvent* event, EbbCudaStream* stream) {
  const int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaEventRecord(event->event, stream->stream), "cudaEventRecord");
}

int32_t EventQuery(EbbCudaEvent* event) {
  const int32_t code = EnterContext(event->context);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaEventQuery(event->event), "cudaEventQuery");
}

int32_t EventSynchronize(EbbCudaEvent* event) {
  const int32_t code = EnterContext(event->context);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaEventSynchronize(event->event), "cudaEventSynchronize");
}

int32_t EventElapsed(EbbCudaEvent* begin, EbbCudaEvent* end, float* milliseconds) {
  const int32_t code = EnterContext(begin->context);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaEventElapsedTime(milliseconds, begin->event, end->event),
                  "cudaEventElapsedTime");
}

// ---- graphs

int32_t CaptureBegin(EbbCudaStream* stream) {
  const int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  // Thread-local: what other threads allocate or wait for meanwhile does not disturb the capture.
  return FromCuda(cudaStreamBeginCapture(stream->stream, cudaStreamCaptureModeThreadLocal),
                  "cudaStreamBeginCapture");
}

int32_t CaptureEnd(EbbCudaStream* stream, EbbCudaGraph** graph) {
  *graph = nullptr;
  int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  cudaGraph_t captured = nullptr;
  code = FromCuda(cudaStreamEndCapture(stream->stream, &captured), "cudaStreamEndCapture");
  if (code != EBB_CUDA_OK) return code;
  auto made = std::make_unique<EbbCudaGraph>();
  made->context = stream->context;
  // Captured kernels carry their stream's priority; without this flag it would be that of the
  // stream at launch for all, which is the same today and need not stay so.
  code = FromCuda(cudaGraphInstantiateWithFlags(&made->graph, captured,
                                                cudaGraphInstantiateFlagUseNodePriority),
                  "cudaGraphInstantiateWithFlags");
  FromCuda(cudaGraphDestroy(captured), "cudaGraphDestroy");
  if (code != EBB_CUDA_OK) return code;
  // Else the first launch would bring it to the device.
  code = FromCuda(cudaGraphUpload(made->graph, stream->stream), "cudaGraphUpload");
  if (code != EBB_CUDA_OK) {
    FromCuda(cudaGraphExecDestroy(made->graph), "cudaGraphExecDestroy");
    return code;
  }
  *graph = made.release();
  return EBB_CUDA_OK;
}

int32_t GraphLaunch(EbbCudaGraph* graph, EbbCudaStream* stream) {
  const int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaGraphLaunch(graph->graph, stream->stream), "cudaGraphLaunch");
}

void GraphDestroy(EbbCudaGraph* graph) {
  if (EnterContext(graph->context) == EBB_CUDA_OK) {
    FromCuda(cudaGraphExecDestroy(graph->graph), "cudaGraphExecDestroy");
  }
  delete graph;
}

// ---- copies

int32_t Copy(EbbCudaStream* stream, void* to, const void* from, int64_t bytes,
             cudaMemcpyKind kind) {
  const int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  if (bytes < 0) return SetError(EBB_CUDA_INVALID_ARGUMENT, "copy: a negative number of bytes");
  if (bytes == 0) return EBB_CUDA_OK;
  return FromCuda(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, stream->stream),
                  "cudaMemcpyAsync");
}

int32_t CopyToDevice(EbbCudaStream* stream, void* to, const void* from, int64_t bytes) {
  return Copy(stream, to, from, bytes, cudaMemcpyHostToDevice);
}

int32_t CopyToHost(EbbCudaStream* stream, void* to, const void* from, int64_t bytes) {
  return Copy(stream, to, from, bytes, cudaMemcpyDeviceToHost);
}

int32_t CopyOnDevice(EbbCudaStream* stream, void* to, const void* from, int64_t bytes) {
  return Copy(stream, to, from, bytes, cudaMemcpyDeviceToDevice);
}

int32_t FillBytes(EbbCudaStream* stream, void* to, int32_t byte, int64_t bytes) {
  const int32_t code = EnterStream(stream);
  if (code != EBB_CUDA_OK) return code;
  if (bytes < 0) return SetError(EBB_CUDA_INVALID_ARGUMENT, "fill: a negative number of bytes");
  if (bytes == 0) return EBB_CUDA_OK;
  return FromCuda(cudaMemsetAsync(to, byte, static_cast<size_t>(bytes), stream->stream),
                  "cudaMemsetAsync");
}

}  // namespace

void SetStreamEntries(EbbCudaApi* api) {
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

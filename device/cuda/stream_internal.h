// What the code that launches kernels needs of a stream. Two forms: the device's, and the fake's
// (EBB_SIMT), whose streams are queues of closures. Inside the CUDA library only.
#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"

#ifdef EBB_SIMT
#include <functional>
#else
#include <cuda_runtime_api.h>
#endif

namespace ebb::device {

// Makes the stream's context the calling thread's. DEVICE_LOST once the device is. Every entry of
// the table that takes a stream begins with it; what it calls in turn need not.
int32_t EnterStream(EbbCudaStream* stream);

// Whether kernels may use what compute capability 9.0 alone has: the device has it, and the table's
// use_hopper asked for it.
bool UsesHopper(const EbbCudaStream* stream);

#ifdef EBB_SIMT

// Queues work behind what the stream has; while the stream is capturing, records it instead. The
// work runs on the stream's thread, never beside other work of this process.
int32_t FakeEnqueue(EbbCudaStream* stream, std::function<void()> work);

#else

// REQUIRES: EnterStream(stream) was OK on this thread.
cudaStream_t NativeStream(EbbCudaStream* stream);

// The code for a runtime call's answer, and its text: "cudaLaunchKernelExC: ...". An error after
// which the device does not work again is kept for the context that this thread has entered.
int32_t FromCuda(cudaError_t error, const char* call);

#endif

}  // namespace ebb::device

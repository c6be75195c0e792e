// The operations of the CUDA library: each queues its kernels on a stream. The same code is in the
// device's library and in the fake one; both tables point at these functions.
//
// What each computes stands at its struct in device/cuda/cuda_api.h. All answer an EbbCudaCode:
// INVALID_ARGUMENT, with a text, for what can be told without reading device memory (null pointers,
// shapes that a kernel does not serve, misaligned pointers); zero rows are OK and queue nothing.
// Thread-safe between streams. REQUIRES, of all: device::EnterStream(stream) was OK on this thread
// (the table's entries see to it).
#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"

namespace ebb::kernels::cuda {

int32_t LaunchEmbed(EbbCudaStream* stream, const EbbCudaEmbed* op);
int32_t LaunchRmsNorm(EbbCudaStream* stream, const EbbCudaRmsNorm* op);
int32_t LaunchLinear(EbbCudaStream* stream, const EbbCudaLinear* op);
int32_t LaunchRopeStore(EbbCudaStream* stream, const EbbCudaRopeStore* op);
int32_t LaunchPrefillAttention(EbbCudaStream* stream, const EbbCudaPrefillAttention* op);
int32_t LaunchDecodeAttention(EbbCudaStream* stream, const EbbCudaDecodeAttention* op);
int32_t LaunchSwiGlu(EbbCudaStream* stream, const EbbCudaSwiGlu* op);
int32_t LaunchSample(EbbCudaStream* stream, const EbbCudaSample* op);
int32_t LaunchAdjustLogits(EbbCudaStream* stream, const EbbCudaAdjustLogits* op);
int32_t LaunchFillRandom(EbbCudaStream* stream, const EbbCudaFillRandom* op);

// Bytes of EbbCudaSample::scratch that are needed; 0 for a shape that is not served.
int64_t SampleScratchBytes(int32_t rows, int32_t vocabulary);

// Bytes of EbbCudaLinear::scratch worth giving on this device.
int64_t LinearScratchBytes(EbbCudaContext* context);

}  // namespace ebb::kernels::cuda

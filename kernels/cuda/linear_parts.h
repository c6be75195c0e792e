// The three ways in which LaunchLinear multiplies. Inside the CUDA library only.
#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"

namespace ebb::kernels::cuda {

// The most rows that the matrix-vector kernel takes.
inline constexpr int32_t kGemvRows = 8;

// REQUIRES, of all: the checks of LaunchLinear passed, rows > 0.

// Bound by the weight's bytes. REQUIRES: rows <= kGemvRows.
int32_t LaunchLinearGemv(EbbCudaStream* stream, const EbbCudaLinear& op);
// Any number of rows; the bits of a row depend on nothing but the row.
int32_t LaunchLinearTiles(EbbCudaStream* stream, const EbbCudaLinear& op);
// cuBLASLt in the device's library; a plain loop in the fake one.
int32_t LaunchLinearLibrary(EbbCudaStream* stream, const EbbCudaLinear& op);

}  // namespace ebb::kernels::cuda

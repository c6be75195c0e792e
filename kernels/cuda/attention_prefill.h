// The forms of prefill attention. Inside the CUDA library only.
#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"

namespace ebb::kernels::cuda {

struct PrefillParams {
  EbbCudaPrefillAttention op;
  float scale;  // log2(e) / sqrt(head_dim)
};

// Whether the form for compute capability 9.0 serves this head_dim. All rows of a model go through
// one form: which one depends on the device and the model alone.
bool PrefillSm90Serves(int32_t head_dim);

// Queues it. REQUIRES: the device has compute capability 9.0; the arguments are checked and
// PrefillSm90Serves(head_dim); op.tile_count > 0.
int32_t LaunchPrefillSm90(EbbCudaStream* stream, const PrefillParams& params);

}  // namespace ebb::kernels::cuda

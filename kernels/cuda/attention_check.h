// What both attention operations ask of their arguments before they launch. Inside the CUDA library
// only.
#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"

namespace ebb::kernels::cuda {

// INVALID_ARGUMENT, with a text that begins with the operation's name, unless the shapes are ones
// that the kernels serve, all addresses are aligned to 16, a table's index is below 2^31 bytes from
// the next, and the grid has fewer than 2^30 CTAs.
// `pieces` is the number of tiles or slots, at least 0; with 0 the pointers are not looked at.
int32_t CheckAttention(const char* name, const uint16_t* q, const uint16_t* out,
                       const EbbCudaTables& tables, const EbbCudaKv& kv, int32_t layer,
                       int32_t heads, int32_t pieces);

// log2(e) / sqrt(head_dim): weights are powers of 2.
float AttentionScale(int32_t head_dim);

}  // namespace ebb::kernels::cuda

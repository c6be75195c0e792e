#include "kernels/cuda/attention_check.h"

#include <cmath>
#include <limits>
#include <string>

#include "device/cuda/cuda_error.h"

namespace ebb::kernels::cuda {
namespace {

bool ServedHeadDim(int32_t head_dim) {
  return head_dim == 32 || head_dim == 64 || head_dim == 96 || head_dim == 128;
}

bool ServedBlock(int32_t tokens) {
  return tokens >= 8 && tokens <= 256 && (tokens & (tokens - 1)) == 0;
}

bool Aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

// Null when all is well.
const char* ShapeFault(const EbbCudaKv& kv, int32_t layer, int32_t heads, int32_t pieces) {
  if (!ServedHeadDim(kv.head_dim)) return "head_dim is not 32, 64, 96 or 128";
  if (!ServedBlock(kv.block_tokens)) return "block_tokens is not a power of two from 8 to 256";
  if (kv.kv_heads < 1 || heads < kv.kv_heads || heads % kv.kv_heads != 0) {
    return "heads is not a multiple of kv_heads";
  }
  if (layer < 0 || layer >= kv.layers) return "there is no such layer";
  if (pieces < 0 || int64_t{pieces} * heads > std::numeric_limits<int32_t>::max() / 2) {
    return "the grid would be too large";
  }
  return nullptr;
}

const char* PointerFault(const uint16_t* q, const uint16_t* out, const EbbCudaTables& tables,
                         const EbbCudaKv& kv) {
  if (q == nullptr || out == nullptr || kv.base == nullptr || tables.indices == nullptr ||
      tables.begins == nullptr) {
    return "a pointer is null";
  }
  if (!Aligned(q) || !Aligned(out) || !Aligned(kv.base)) return "a pointer is not aligned to 16";
  if (kv.layer_stride_bytes % 16 != 0 || kv.index_stride_bytes % 16 != 0 ||
      kv.value_offset_bytes % 16 != 0) {
    return "a stride is not a multiple of 16";
  }
  if (kv.index_stride_bytes < 0 || kv.index_stride_bytes > std::numeric_limits<int32_t>::max()) {
    return "the stride of an index does not fit 31 bits";
  }
  return nullptr;
}

}  // namespace

int32_t CheckAttention(const char* name, const uint16_t* q, const uint16_t* out,
                       const EbbCudaTables& tables, const EbbCudaKv& kv, int32_t layer,
                       int32_t heads, int32_t pieces) {
  const char* fault = ShapeFault(kv, layer, heads, pieces);
  if (fault == nullptr && pieces > 0) fault = PointerFault(q, out, tables, kv);
  if (fault == nullptr) return EBB_CUDA_OK;
  return device::SetError(EBB_CUDA_INVALID_ARGUMENT, std::string(name) + ": " + fault);
}

float AttentionScale(int32_t head_dim) {
  return static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(head_dim)));
}

}  // namespace ebb::kernels::cuda

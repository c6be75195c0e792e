// What stands for cuBLASLt in the fake library: a plain matrix product on the host, queued.
#include <bit>
#include <cstdint>

#include "device/cuda/stream_internal.h"
#include "kernels/cuda/linear_parts.h"

namespace ebb::kernels::cuda {
namespace {

float ToFloat(uint16_t bf16) { return std::bit_cast<float>(static_cast<uint32_t>(bf16) << 16); }

uint16_t ToBf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFF;
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

void Multiply(const EbbCudaLinear& op) {
  constexpr int kLanes = 8;  // Sums side by side, which the compiler keeps in a vector.
  for (int64_t row = 0; row < op.rows; ++row) {
    const uint16_t* x = op.x + row * op.inputs;
    for (int64_t output = 0; output < op.outputs; ++output) {
      const uint16_t* weight = op.weight + output * op.inputs;
      float sums[kLanes] = {};
      for (int64_t i = 0; i < op.inputs; i += kLanes) {
        for (int lane = 0; lane < kLanes; ++lane) {
          sums[lane] += ToFloat(x[i + lane]) * ToFloat(weight[i + lane]);
        }
      }
      float sum = 0;
      for (const float part : sums) sum += part;
      const int64_t at = row * op.outputs + output;
      if (op.output == EBB_CUDA_BF16) {
        static_cast<uint16_t*>(op.y)[at] = ToBf16(sum);
      } else if (op.output == EBB_CUDA_F32) {
        static_cast<float*>(op.y)[at] = sum;
      } else {
        static_cast<float*>(op.y)[at] += sum;
      }
    }
  }
}

}  // namespace

int32_t LaunchLinearLibrary(EbbCudaStream* stream, const EbbCudaLinear& op) {
  return device::FakeEnqueue(stream, [op] { Multiply(op); });
}

}  // namespace ebb::kernels::cuda

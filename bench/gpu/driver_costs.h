// What the driver's virtual memory calls cost, by size and number; and waiting for work.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/gpu/gpu_bench.h"
#include "device/cuda/cuda_vmm.h"

namespace ebb::bench {

// One kind of call, in one setting.
struct CallCost {
  std::string call;        // "create", "set_access of all" ...
  int64_t bytes = 0;       // Of one piece; 0: the call has none.
  int32_t pieces = 0;      // That were made one after the other, and held together.
  std::vector<double> us;  // Of each call, ascending.
};

// Pieces of each of these sizes in units of the granularity (2 MiB on today's devices).
inline constexpr int64_t kPieceUnits[] = {1, 4, 16, 32};

// Makes `pieces` pieces, maps them side by side, opens them one by one, takes all of it down again,
// and the same with one opening call for all; `rounds` times. Empty when the device has less than
// twice that memory free.
std::vector<CallCost> MeasureCalls(Gpu* gpu, device::CudaVmm* vmm, int64_t bytes, int32_t pieces,
                                   int rounds);

// Reading the free memory, `rounds` times.
CallCost MeasureMemoryInfo(device::CudaVmm* vmm, int rounds);

// From queueing next to nothing to knowing that it is done: "wait, sleeping", as CudaStream does,
// and "wait, polling". Their difference is what sleeping costs a step.
std::vector<CallCost> MeasureWaits(Gpu* gpu, int rounds);

}  // namespace ebb::bench

// Whether addresses may be edited beside running kernels.
//
//   one reservation   [ edited pages | what the kernels read ........ | edited pages ]
//   stream            y += W x, again and again, W all of the middle; then y to the host: any wrong
//                     read changes its bits
//   another thread    map + set_access, unmap of the outer pages, round and round; now and then a
//                     page is written and read back as soon as it is open
//
// A fault ends the device for this process: then the cycle at which it happened is the finding.
#pragma once

#include <cstdint>
#include <string>

#include "bench/gpu/gpu_bench.h"
#include "device/cuda/cuda_vmm.h"

namespace ebb::bench {

struct SoakOptions {
  int64_t cycles = 100000;   // Of map, set_access, unmap.
  bool with_create = false;  // Memory is created and released in each cycle, too.
};

struct SoakResult {
  int64_t cycles = 0;          // Done.
  int64_t rounds = 0;          // Results compared beside the edits.
  int64_t wrong_rounds = 0;    // Whose bits were not those of the quiet run.
  int64_t pages_checked = 0;   // Written and read back right after they were opened,
  int64_t wrong_pages = 0;     // and not as written.
  std::string error;           // What ended it early; empty: nothing.
  double cycle_us = 0;         // Of one cycle, mean.
  double quiet_round_us = 0;   // The kernels' time, median, without edits,
  double beside_round_us = 0;  // and beside them,
  double beside_p99_us = 0;    // at its 99th percentile.

  bool ok() const { return error.empty() && wrong_rounds == 0 && wrong_pages == 0; }
};

SoakResult RunSoak(Gpu* gpu, device::CudaVmm* vmm, const SoakOptions& options);

}  // namespace ebb::bench

// CpuBackend: the fast operations, cut into tiles for a WorkerPool. What a tile computes is in the
// KernelTable that it is made with.
#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/cpu/kernel_table.h"

namespace ebb::kernels::cpu {

// REQUIRES: the processor has what the table needs; threads >= 1 (all in all, see worker_pool.h).
std::unique_ptr<Backend> MakeCpuBackend(const KernelTable& kernels, int threads);

}  // namespace ebb::kernels::cpu

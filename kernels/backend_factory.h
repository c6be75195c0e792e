// Chooses and makes the backend of a setting.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"

namespace ebb::kernels {

// `path` is one of:
//   auto       avx512 where the processor has it, else avx2, else reference
//   avx512     AVX-512 with VNNI
//   avx2       AVX2, FMA and F16C
//   reference  slow and exact; uses one thread
// `threads` counts the calling thread of a lane; 0 means the processors that the affinity mask and
// the cgroup's quota allow. A path's numbers are its own: two paths agree only within tolerances.
//
// Errors: INVALID_ARGUMENT (unknown path, bad count), FAILED_PRECONDITION (the processor lacks a
// feature, which is named), UNIMPLEMENTED (`amx`: not written yet).
absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(absl::string_view path, int threads);

}  // namespace ebb::kernels

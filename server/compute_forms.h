// The forms of Compute, for OpenCompute to choose from.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/server_config.h"
#include "server/compute.h"

namespace ebb::server {

// INVALID_ARGUMENT, FAILED_PRECONDITION or UNIMPLEMENTED when this processor cannot run what
// config.kernels asks for.
absl::StatusOr<std::unique_ptr<Compute>> OpenCpuCompute(const config::ServerConfig& config,
                                                        const base::Clock* clock);

// Loads the CUDA library and opens the device. Writes the `device` line when it can be used.
absl::StatusOr<std::unique_ptr<Compute>> OpenCudaCompute(const config::ServerConfig& config,
                                                         const base::Clock* clock, base::Log* log);

}  // namespace ebb::server

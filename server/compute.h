// Compute: what computes the model, with its weights: this host's processors, or a CUDA device.
//
//   OpenCompute (the `device` line) ──> Load (weights) ──> MakeRunners, vmm ──> EngineStack
//
// The CUDA library is loaded at run time: one binary starts on hosts with and without a driver, and
// says what it found.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/server_config.h"
#include "device/vmm.h"
#include "engine/step_runner_factory.h"
#include "kernels/dtype.h"
#include "model/weight_source.h"
#include "model/weights.h"

namespace ebb::server {

// Thread-compatible; what it gives lives as long as it does.
class Compute {
 public:
  virtual ~Compute() = default;

  // The kernels: "avx512", "cuda".
  virtual absl::string_view name() const = 0;
  // Which memory it computes in, the same for every process that does: "host", "GPU-...".
  virtual std::string device_id() const = 0;
  // Where keys and values lie, and their format.
  virtual device::Vmm* vmm() = 0;
  virtual kernels::DType kv_dtype() const = 0;

  // Takes the model's weights. Called once. Errors are those of the model's reading (load_error.h),
  // UNIMPLEMENTED for a model that these kernels cannot run, RESOURCE_EXHAUSTED without room.
  virtual absl::Status Load(const model::WeightSource& source,
                            const model::LoadProgress& progress) = 0;

  // These need the weights.
  virtual int64_t weight_bytes() const = 0;
  // `banned_ids_max`: token ids that one request may forbid.
  virtual std::unique_ptr<engine::StepRunnerFactory> MakeRunners(int32_t banned_ids_max) = 0;
};

// What config.device asks for. Writes one `device` line: what computes, and with device.kind `auto`
// why not a CUDA device where it is the CPU. INVALID_ARGUMENT when settings do not go together with
// the device; what the device answers when device.kind is `cuda` and it cannot be used. Everything
// passed in outlives it.
absl::StatusOr<std::unique_ptr<Compute>> OpenCompute(const config::ServerConfig& config,
                                                     const base::Clock* clock, base::Log* log);

}  // namespace ebb::server

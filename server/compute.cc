#include "server/compute.h"

#include <string>
#include <utility>

#include "base/status_macros.h"
#include "server/compute_forms.h"

namespace ebb::server {

absl::StatusOr<std::unique_ptr<Compute>> OpenCompute(const config::ServerConfig& config,
                                                     const base::Clock* clock, base::Log* log) {
  const config::DeviceKind kind = config.device.kind;
  absl::Status no_cuda;
  if (kind != config::DeviceKind::kCpu) {
    absl::StatusOr<std::unique_ptr<Compute>> cuda = OpenCudaCompute(config, clock, log);
    // With wrong settings for a device that is there, the CPU is not what was meant.
    if (cuda.ok() || kind == config::DeviceKind::kCuda || absl::IsInvalidArgument(cuda.status())) {
      return cuda;
    }
    no_cuda = cuda.status();
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Compute> cpu, OpenCpuCompute(config, clock));
  nlohmann::ordered_json fields = {{"kind", "cpu"}, {"kernels", std::string(cpu->name())}};
  if (!no_cuda.ok()) fields["no_cuda"] = std::string(no_cuda.message());
  log->Write("device", std::move(fields));
  return cpu;
}

}  // namespace ebb::server

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "device/cuda/cuda_device.h"
#include "device/cuda/cuda_library.h"
#include "device/cuda/cuda_vmm.h"
#include "device/launch_gate.h"
#include "device/vmm_gated.h"
#include "engine/cuda_step_runner.h"
#include "model/llama_cuda.h"
#include "server/compute_forms.h"

namespace ebb::server {
namespace {

class CudaCompute final : public Compute {
 public:
  struct Parts {
    std::unique_ptr<device::CudaLibrary> library;
    std::unique_ptr<device::CudaDevice> device;
    std::unique_ptr<device::CudaVmm> vmm;
  };
  CudaCompute(Parts parts, bool edits_any_time, const engine::CudaStepRunnerFactory::Options& steps,
              const base::Clock* clock)
      : edits_any_time_(edits_any_time),
        steps_(steps),
        clock_(clock),
        parts_(std::move(parts)),
        gated_vmm_(parts_.vmm.get(), &gate_) {}

  absl::string_view name() const override { return "cuda"; }
  std::string device_id() const override { return parts_.device->info().uuid; }
  device::Vmm* vmm() override {
    return edits_any_time_ ? static_cast<device::Vmm*>(parts_.vmm.get()) : &gated_vmm_;
  }
  kernels::DType kv_dtype() const override { return kernels::DType::kBF16; }
  absl::Status Load(const model::WeightSource& source,
                    const model::LoadProgress& progress) override {
    CHECK(llama_ == nullptr);
    ASSIGN_OR_RETURN(llama_, model::CudaLlama::Load(source, parts_.device.get(), progress));
    return absl::OkStatus();
  }
  int64_t weight_bytes() const override { return llama_->weight_bytes(); }
  std::unique_ptr<engine::StepRunnerFactory> MakeRunners(int32_t banned_ids_max) override {
    engine::CudaStepRunner::Parts runner;
    runner.model = llama_.get();
    runner.clock = clock_;
    runner.gate = edits_any_time_ ? nullptr : &gate_;
    engine::CudaStepRunnerFactory::Options steps = steps_;
    steps.banned_ids_max = banned_ids_max;
    return std::make_unique<engine::CudaStepRunnerFactory>(runner, steps);
  }

 private:
  const bool edits_any_time_;
  const engine::CudaStepRunnerFactory::Options steps_;
  const base::Clock* const clock_;
  // In order of construction; destroyed in reverse.
  const Parts parts_;
  device::LaunchGate gate_;
  device::GatedVmm gated_vmm_;
  std::unique_ptr<model::CudaLlama> llama_;
};

absl::Status CheckSettings(const config::ServerConfig& config) {
  const config::KvDtype dtype = config.kv.dtype;
  if (dtype != config::KvDtype::kAuto && dtype != config::KvDtype::kBf16) {
    return absl::InvalidArgumentError(
        "kv.dtype: a CUDA device keeps keys and values as bf16; set kv.dtype to auto or bf16, or "
        "device.kind to cpu");
  }
  if (config.requests.logprobs_max > EBB_CUDA_TOP_MAX) {
    return absl::InvalidArgumentError(
        absl::StrCat("requests.logprobs_max: ", config.requests.logprobs_max,
                     ", but a CUDA device gives at most ", EBB_CUDA_TOP_MAX,
                     " alternatives; lower it, or set device.kind to cpu"));
  }
  return absl::OkStatus();
}

std::string Version(int32_t version) {
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Compute>> OpenCudaCompute(const config::ServerConfig& config,
                                                         const base::Clock* clock, base::Log* log) {
  ASSIGN_OR_RETURN(std::unique_ptr<device::CudaLibrary> library,
                   device::CudaLibrary::Load(config.cuda.library));
  ASSIGN_OR_RETURN(const EbbCudaDriverInfo driver, library->Find());
  RETURN_IF_ERROR(CheckSettings(config));
  ASSIGN_OR_RETURN(std::unique_ptr<device::CudaDevice> device,
                   device::CudaDevice::Open(library.get(), config.device.index));
  if (config.cuda.hopper) device->UseHopper();
  ASSIGN_OR_RETURN(std::unique_ptr<device::CudaVmm> vmm, device::CudaVmm::Create(device.get()));
  const EbbCudaDeviceInfo& info = device->info();
  log->Write("device", {{"kind", "cuda"},
                        {"index", config.device.index},
                        {"name", std::string(info.name)},
                        {"uuid", std::string(info.uuid)},
                        {"compute", absl::StrCat(info.compute_major, ".", info.compute_minor)},
                        {"sm_count", info.sm_count},
                        {"memory_bytes", info.memory_bytes},
                        {"page_granularity_bytes", vmm->granularity_bytes()},
                        {"driver", Version(driver.driver_version)},
                        {"toolkit", Version(driver.toolkit_version)},
                        {"library", library->origin()}});
  engine::CudaStepRunnerFactory::Options steps;
  steps.batch_invariant = config.cuda.batch_invariant;
  steps.prefill_sm_target = std::max(1, info.sm_count * config.cuda.prefill_sm_percent / 100);
  return std::make_unique<CudaCompute>(
      CudaCompute::Parts{std::move(library), std::move(device), std::move(vmm)},
      config.cuda.page_edits == config::PageEdits::kAnyTime, steps, clock);
}

}  // namespace ebb::server

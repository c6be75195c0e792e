#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "device/vmm_host.h"
#include "engine/model_step_runner.h"
#include "kernels/backend_factory.h"
#include "kernels/dtype.h"
#include "model/llama.h"
#include "server/compute_forms.h"

namespace ebb::server {
namespace {

kernels::DType KvDTypeOf(config::KvDtype dtype) {
  switch (dtype) {
    case config::KvDtype::kAuto:
    case config::KvDtype::kF16:
      return kernels::DType::kF16;
    case config::KvDtype::kBf16:
      return kernels::DType::kBF16;
    case config::KvDtype::kF32:
      return kernels::DType::kF32;
  }
  return kernels::DType::kF16;
}

class CpuCompute final : public Compute {
 public:
  CpuCompute(std::unique_ptr<kernels::Backend> backend, kernels::DType kv_dtype,
             const base::Clock* clock)
      : clock_(clock), kv_dtype_(kv_dtype), backend_(std::move(backend)) {}

  absl::string_view name() const override { return backend_->name(); }
  std::string device_id() const override { return "host"; }
  device::Vmm* vmm() override { return &vmm_; }
  kernels::DType kv_dtype() const override { return kv_dtype_; }
  absl::Status Load(const model::WeightSource& source,
                    const model::LoadProgress& progress) override {
    CHECK(llama_ == nullptr);
    ASSIGN_OR_RETURN(llama_, model::LlamaModel::Load(source, backend_.get(), progress));
    return absl::OkStatus();
  }
  int64_t weight_bytes() const override { return llama_->weight_bytes(); }
  std::unique_ptr<engine::StepRunnerFactory> MakeRunners(int32_t) override {
    return std::make_unique<engine::ModelStepRunnerFactory>(llama_.get(), clock_, kv_dtype_);
  }

 private:
  const base::Clock* const clock_;
  const kernels::DType kv_dtype_;
  const std::unique_ptr<kernels::Backend> backend_;
  device::HostVmm vmm_;
  std::unique_ptr<model::LlamaModel> llama_;  // Uses the backend.
};

}  // namespace

absl::StatusOr<std::unique_ptr<Compute>> OpenCpuCompute(const config::ServerConfig& config,
                                                        const base::Clock* clock) {
  ASSIGN_OR_RETURN(
      std::unique_ptr<kernels::Backend> backend,
      kernels::MakeCpuBackend(config::ValueOf(config, "kernels.path"), config.kernels.threads));
  return std::make_unique<CpuCompute>(std::move(backend), KvDTypeOf(config.kv.dtype), clock);
}

}  // namespace ebb::server

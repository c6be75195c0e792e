#include "model/gguf_weights.h"

#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "model/gguf_config.h"
#include "model/gguf_tensors.h"

namespace ebb::model {
namespace {

class Source final : public WeightSource {
 public:
  Source(std::shared_ptr<const GgufFile> file, ModelConfig config)
      : file_(std::move(file)), config_(std::move(config)) {
    for (const WeightId id : WeightsOf(config_)) {
      total_bytes_ += static_cast<int64_t>(file_->FindTensor(GgufTensorName(id))->bytes);
    }
  }

  const std::string& name() const override { return file_->name(); }
  const ModelConfig& config() const override { return config_; }
  int64_t total_bytes() const override { return total_bytes_; }

  absl::StatusOr<WeightTensor> Read(WeightKind kind, int32_t layer) const override {
    const std::string tensor_name = GgufTensorName({kind, layer});
    const GgufTensor* found = file_->FindTensor(tensor_name);
    CHECK(found != nullptr) << tensor_name;
    WeightTensor tensor;
    tensor.dtype = found->dtype;
    tensor.rows = found->dims[1];
    tensor.columns = found->dims[0];
    ASSIGN_OR_RETURN(tensor.bytes, file_->ReadTensor(tensor_name));
    RETURN_IF_ERROR(CheckFinite(name(), tensor_name, tensor));
    if (HasRopePairs(kind) && config_.architecture != "llama") {
      InterleaveRopePairs(config_.head_dim, static_cast<int32_t>(config_.rope_frequencies.size()),
                          &tensor);
    }
    return tensor;
  }

 private:
  const std::shared_ptr<const GgufFile> file_;
  const ModelConfig config_;
  int64_t total_bytes_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<const WeightSource>> GgufWeightSource(
    std::shared_ptr<const GgufFile> file) {
  ASSIGN_OR_RETURN(ModelConfig config, ReadGgufConfig(*file));
  return std::make_unique<const Source>(std::move(file), std::move(config));
}

}  // namespace ebb::model

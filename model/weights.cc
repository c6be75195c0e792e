#include "model/weights.h"

#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/llama_tensors.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

// Reads one tensor after the other, telling the progress. Used once.
class WeightLoader {
 public:
  WeightLoader(const GgufFile& file, kernels::Backend* backend, const LoadProgress& progress)
      : file_(file), backend_(backend), progress_(progress) {
    for (const GgufTensor& tensor : file.tensors()) {
      bytes_total_ += static_cast<int64_t>(tensor.bytes);
    }
  }

  absl::Status Load(const ModelConfig& config, LlamaWeights* weights) {
    RETURN_IF_ERROR(ReadMatrix(std::string(kEmbeddingTensor), &weights->embedding));
    RETURN_IF_ERROR(ReadNorm(std::string(kOutputNormTensor), &weights->output_norm));
    if (!config.tied_head) {
      RETURN_IF_ERROR(ReadMatrix(std::string(kHeadTensor), &weights->own_head));
    }
    weights->layers.resize(static_cast<size_t>(config.layers));
    for (int32_t layer = 0; layer < config.layers; ++layer) {
      RETURN_IF_ERROR(LoadLayer(layer, &weights->layers[layer]));
    }
    weights->held_bytes = held_bytes_;
    return absl::OkStatus();
  }

 private:
  absl::Status LoadLayer(int32_t index, LlamaLayer* layer) {
    const auto name = [&](absl::string_view part) { return LayerTensorName(index, part); };
    RETURN_IF_ERROR(ReadNorm(name("attn_norm"), &layer->attention_norm));
    RETURN_IF_ERROR(ReadMatrix(name("attn_q"), &layer->q));
    RETURN_IF_ERROR(ReadMatrix(name("attn_k"), &layer->k));
    RETURN_IF_ERROR(ReadMatrix(name("attn_v"), &layer->v));
    RETURN_IF_ERROR(ReadMatrix(name("attn_output"), &layer->attention_out));
    RETURN_IF_ERROR(ReadNorm(name("ffn_norm"), &layer->ffn_norm));
    RETURN_IF_ERROR(ReadMatrix(name("ffn_gate"), &layer->gate));
    RETURN_IF_ERROR(ReadMatrix(name("ffn_up"), &layer->up));
    return ReadMatrix(name("ffn_down"), &layer->down);
  }

  absl::Status ReadMatrix(const std::string& name, std::unique_ptr<kernels::Matrix>* matrix) {
    const GgufTensor* tensor = file_.FindTensor(name);
    CHECK(tensor != nullptr) << name;
    ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, file_.ReadTensor(name));
    kernels::MatrixSource source;
    source.dtype = tensor->dtype;
    source.rows = tensor->dims[1];
    source.columns = tensor->dims[0];
    source.bytes = bytes;
    absl::StatusOr<std::unique_ptr<kernels::Matrix>> packed = backend_->LoadMatrix(source);
    if (absl::IsInvalidArgument(packed.status())) {
      return file_.Error(absl::StatusCode::kInvalidArgument, "nonfinite",
                         absl::StrCat("tensor ", name, ": ", packed.status().message(),
                                      ". The file is damaged: fetch it again."));
    }
    if (!packed.ok()) {
      return file_.Error(packed.status().code(), "pack",
                         absl::StrCat("tensor ", name, ": ", packed.status().message()));
    }
    held_bytes_ += (*packed)->held_bytes();
    *matrix = *std::move(packed);
    TellProgress(bytes.size());
    return absl::OkStatus();
  }

  absl::Status ReadNorm(const std::string& name, std::vector<float>* norm) {
    ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, file_.ReadTensor(name));
    norm->resize(bytes.size() / sizeof(float));
    std::memcpy(norm->data(), bytes.data(), bytes.size());
    for (size_t i = 0; i < norm->size(); ++i) {
      if (!std::isfinite((*norm)[i])) {
        return file_.Error(absl::StatusCode::kInvalidArgument, "nonfinite",
                           absl::StrCat("element ", i, " of the norm ", name,
                                        " is not finite. The file is damaged: fetch it again."));
      }
    }
    held_bytes_ += static_cast<int64_t>(bytes.size());
    TellProgress(bytes.size());
    return absl::OkStatus();
  }

  void TellProgress(size_t tensor_bytes) {
    bytes_done_ += static_cast<int64_t>(tensor_bytes);
    if (progress_ != nullptr) progress_(bytes_done_, bytes_total_);
  }

  const GgufFile& file_;
  kernels::Backend* const backend_;
  const LoadProgress& progress_;
  int64_t bytes_total_ = 0;
  int64_t bytes_done_ = 0;
  int64_t held_bytes_ = 0;
};

}  // namespace

absl::StatusOr<LlamaWeights> LoadLlamaWeights(const GgufFile& file, const ModelConfig& config,
                                              kernels::Backend* backend,
                                              const LoadProgress& progress) {
  LlamaWeights weights;
  RETURN_IF_ERROR(WeightLoader(file, backend, progress).Load(config, &weights));
  return weights;
}

}  // namespace ebb::model

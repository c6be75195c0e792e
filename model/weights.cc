#include "model/weights.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

// Reads one weight after the other, telling the progress. Used once.
class WeightLoader {
 public:
  WeightLoader(const WeightSource& source, kernels::Backend* backend, const LoadProgress& progress)
      : source_(source), backend_(backend), progress_(progress) {}

  absl::Status Load(LlamaWeights* weights) {
    weights->layers.resize(static_cast<size_t>(source_.config().layers));
    for (const WeightId id : WeightsOf(source_.config())) {
      RETURN_IF_ERROR(LoadWeight(id, weights));
    }
    weights->held_bytes = held_bytes_;
    return absl::OkStatus();
  }

 private:
  absl::Status LoadWeight(WeightId id, LlamaWeights* weights) {
    LlamaLayer* const layer = &weights->layers[static_cast<size_t>(id.layer)];
    switch (id.kind) {
      case WeightKind::kEmbedding:
        return ReadMatrix(id, &weights->embedding);
      case WeightKind::kOutputNorm:
        return ReadVector(id, &weights->output_norm);
      case WeightKind::kHead:
        return ReadMatrix(id, &weights->own_head);
      case WeightKind::kAttentionNorm:
        return ReadVector(id, &layer->attention_norm);
      case WeightKind::kQ:
        return ReadMatrix(id, &layer->q);
      case WeightKind::kK:
        return ReadMatrix(id, &layer->k);
      case WeightKind::kV:
        return ReadMatrix(id, &layer->v);
      case WeightKind::kQBias:
        return ReadVector(id, &layer->q_bias);
      case WeightKind::kKBias:
        return ReadVector(id, &layer->k_bias);
      case WeightKind::kVBias:
        return ReadVector(id, &layer->v_bias);
      case WeightKind::kQNorm:
        return ReadVector(id, &layer->q_norm);
      case WeightKind::kKNorm:
        return ReadVector(id, &layer->k_norm);
      case WeightKind::kAttentionOut:
        return ReadMatrix(id, &layer->attention_out);
      case WeightKind::kFfnNorm:
        return ReadVector(id, &layer->ffn_norm);
      case WeightKind::kGate:
        return ReadMatrix(id, &layer->gate);
      case WeightKind::kUp:
        return ReadMatrix(id, &layer->up);
      case WeightKind::kDown:
        return ReadMatrix(id, &layer->down);
    }
    return absl::OkStatus();
  }

  absl::Status ReadMatrix(WeightId id, std::unique_ptr<kernels::Matrix>* matrix) {
    ASSIGN_OR_RETURN(const WeightTensor tensor, source_.Read(id.kind, id.layer));
    kernels::MatrixSource source;
    source.dtype = tensor.dtype;
    source.rows = tensor.rows;
    source.columns = tensor.columns;
    source.bytes = tensor.bytes;
    absl::StatusOr<std::unique_ptr<kernels::Matrix>> packed = backend_->LoadMatrix(source);
    if (!packed.ok()) {
      return LoadError(packed.status().code(), source_.name(), "pack", kNoOffset,
                       absl::StrCat("weight ", NameOf(id), ": ", packed.status().message()));
    }
    held_bytes_ += (*packed)->held_bytes();
    *matrix = *std::move(packed);
    TellProgress(tensor.bytes.size());
    return absl::OkStatus();
  }

  absl::Status ReadVector(WeightId id, std::vector<float>* vector) {
    ASSIGN_OR_RETURN(const WeightTensor tensor, source_.Read(id.kind, id.layer));
    *vector = ToFloats(tensor);
    held_bytes_ += static_cast<int64_t>(vector->size() * sizeof(float));
    TellProgress(tensor.bytes.size());
    return absl::OkStatus();
  }

  void TellProgress(size_t weight_bytes) {
    bytes_done_ += static_cast<int64_t>(weight_bytes);
    if (progress_ != nullptr) progress_(bytes_done_, source_.total_bytes());
  }

  const WeightSource& source_;
  kernels::Backend* const backend_;
  const LoadProgress& progress_;
  int64_t bytes_done_ = 0;
  int64_t held_bytes_ = 0;
};

}  // namespace

absl::StatusOr<LlamaWeights> LoadLlamaWeights(const WeightSource& source, kernels::Backend* backend,
                                              const LoadProgress& progress) {
  LlamaWeights weights;
  RETURN_IF_ERROR(WeightLoader(source, backend, progress).Load(&weights));
  return weights;
}

}  // namespace ebb::model

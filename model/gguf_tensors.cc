#include "model/gguf_tensors.h"

#include <array>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

// The name within a layer, or the whole name of what a model has once.
absl::string_view PartName(WeightKind kind) {
  switch (kind) {
    case WeightKind::kEmbedding:
      return "token_embd.weight";
    case WeightKind::kOutputNorm:
      return "output_norm.weight";
    case WeightKind::kHead:
      return "output.weight";
    case WeightKind::kAttentionNorm:
      return "attn_norm.weight";
    case WeightKind::kQ:
      return "attn_q.weight";
    case WeightKind::kK:
      return "attn_k.weight";
    case WeightKind::kV:
      return "attn_v.weight";
    case WeightKind::kQBias:
      return "attn_q.bias";
    case WeightKind::kKBias:
      return "attn_k.bias";
    case WeightKind::kVBias:
      return "attn_v.bias";
    case WeightKind::kQNorm:
      return "attn_q_norm.weight";
    case WeightKind::kKNorm:
      return "attn_k_norm.weight";
    case WeightKind::kAttentionOut:
      return "attn_output.weight";
    case WeightKind::kFfnNorm:
      return "ffn_norm.weight";
    case WeightKind::kGate:
      return "ffn_gate.weight";
    case WeightKind::kUp:
      return "ffn_up.weight";
    case WeightKind::kDown:
      return "ffn_down.weight";
  }
  return "?";
}

// A vector has dims {columns}, a matrix {columns, rows}.
absl::Status CheckShape(const GgufFile& file, const std::string& name, const WeightShape& shape) {
  const GgufTensor* tensor = file.FindTensor(name);
  if (tensor == nullptr) {
    return file.Error(absl::StatusCode::kInvalidArgument, "missing",
                      absl::StrCat("tensor ", name,
                                   " is missing. Use a complete file; a "
                                   "model split into several files must be merged first."));
  }
  const std::array<int64_t, 4> want = {shape.columns, shape.rows, 1, 1};
  if (tensor->dims != want) {
    return file.Error(absl::StatusCode::kInvalidArgument, "shape",
                      absl::StrCat("tensor ", name, " is [", absl::StrJoin(tensor->dims, ", "),
                                   "] but the model's hyperparameters make it [",
                                   absl::StrJoin(want, ", "), "]. Convert the model again."));
  }
  if (shape.is_vector && tensor->dtype != kernels::DType::kF32) {
    return file.Error(
        absl::StatusCode::kInvalidArgument, "shape",
        absl::StrCat("the vector ", name, " has type ", kernels::TraitsOf(tensor->dtype).name,
                     " but must be F32. Convert the model again."));
  }
  return absl::OkStatus();
}

absl::Status ExtraTensorError(const GgufFile& file, absl::string_view name) {
  if (absl::EndsWith(name, ".bias") || absl::StrContains(name, "_exps.") ||
      absl::StrContains(name, "ffn_gate_inp")) {
    return file.Error(absl::StatusCode::kUnimplemented, "unsupported",
                      absl::StrCat("tensor ", name,
                                   ": models with experts, or with biases elsewhere than in "
                                   "queries, keys and values, are not supported. Use another "
                                   "model."));
  }
  return file.Error(absl::StatusCode::kInvalidArgument, "extra",
                    absl::StrCat("tensor ", name,
                                 " is no part of a model with these hyperparameters. Convert the "
                                 "model again."));
}

}  // namespace

std::string GgufTensorName(WeightId id) {
  if (!IsPerLayer(id.kind)) return std::string(PartName(id.kind));
  return absl::StrCat("blk.", id.layer, ".", PartName(id.kind));
}

bool HasGgufTensor(const GgufFile& file, WeightKind kind) {
  return file.FindTensor(GgufTensorName({kind, 0})) != nullptr;
}

absl::Status CheckGgufTensors(const GgufFile& file, const ModelConfig& config) {
  absl::flat_hash_set<std::string> known = {std::string(kRopeFactorsTensor)};
  for (const WeightId id : WeightsOf(config)) {
    std::string name = GgufTensorName(id);
    RETURN_IF_ERROR(CheckShape(file, name, ShapeOf(config, id.kind)));
    known.insert(std::move(name));
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (!known.contains(tensor.name)) return ExtraTensorError(file, tensor.name);
  }
  return absl::OkStatus();
}

}  // namespace ebb::model

#include "model/llama_tensors.h"

#include <array>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

// A norm has dims {columns}, a matrix {columns, rows}.
struct TensorSpec {
  std::string name;
  int64_t columns = 0;
  int64_t rows = 0;  // 0: a norm.
};

void AddLayer(const ModelConfig& config, int32_t layer, std::vector<TensorSpec>* specs) {
  const int64_t width = config.width;
  const int64_t q_width = int64_t{config.heads} * config.head_dim;
  const int64_t kv_width = int64_t{config.kv_heads} * config.head_dim;
  const int64_t ffn_width = config.ffn_width;
  const auto add = [&](absl::string_view part, int64_t columns, int64_t rows) {
    specs->push_back({LayerTensorName(layer, part), columns, rows});
  };
  add("attn_norm", width, 0);
  add("attn_q", width, q_width);
  add("attn_k", width, kv_width);
  add("attn_v", width, kv_width);
  add("attn_output", q_width, width);
  add("ffn_norm", width, 0);
  add("ffn_gate", width, ffn_width);
  add("ffn_up", width, ffn_width);
  add("ffn_down", ffn_width, width);
}

std::vector<TensorSpec> AllSpecs(const ModelConfig& config) {
  std::vector<TensorSpec> specs;
  specs.push_back({std::string(kEmbeddingTensor), config.width, config.vocab});
  specs.push_back({std::string(kOutputNormTensor), config.width, 0});
  if (!config.tied_head) {
    specs.push_back({std::string(kHeadTensor), config.width, config.vocab});
  }
  for (int32_t layer = 0; layer < config.layers; ++layer) AddLayer(config, layer, &specs);
  return specs;
}

absl::Status CheckShape(const GgufFile& file, const TensorSpec& spec) {
  const GgufTensor* tensor = file.FindTensor(spec.name);
  if (tensor == nullptr) {
    return file.Error(absl::StatusCode::kInvalidArgument, "missing",
                      absl::StrCat("tensor ", spec.name,
                                   " is missing. Use a complete file; a "
                                   "model split into several files must be merged first."));
  }
  const bool is_norm = spec.rows == 0;
  const std::array<int64_t, 4> want = {spec.columns, is_norm ? 1 : spec.rows, 1, 1};
  if (tensor->dims != want) {
    return file.Error(absl::StatusCode::kInvalidArgument, "shape",
                      absl::StrCat("tensor ", spec.name, " is [", absl::StrJoin(tensor->dims, ", "),
                                   "] but the model's hyperparameters make it [",
                                   absl::StrJoin(want, ", "), "]. Convert the model again."));
  }
  if (is_norm && tensor->dtype != kernels::DType::kF32) {
    return file.Error(
        absl::StatusCode::kInvalidArgument, "shape",
        absl::StrCat("the norm ", spec.name, " has type ", kernels::TraitsOf(tensor->dtype).name,
                     " but must be F32. Convert the model again."));
  }
  return absl::OkStatus();
}

absl::Status ExtraTensorError(const GgufFile& file, absl::string_view name) {
  if (absl::EndsWith(name, ".bias") || absl::StrContains(name, "_exps.") ||
      absl::StrContains(name, "ffn_gate_inp")) {
    return file.Error(absl::StatusCode::kUnimplemented, "unsupported",
                      absl::StrCat("tensor ", name,
                                   ": llama variants with biases or experts are "
                                   "not supported. Use another model."));
  }
  return file.Error(absl::StatusCode::kInvalidArgument, "extra",
                    absl::StrCat("tensor ", name,
                                 " is no part of a llama model with these "
                                 "hyperparameters. Convert the model again."));
}

}  // namespace

std::string LayerTensorName(int32_t layer, absl::string_view part) {
  return absl::StrCat("blk.", layer, ".", part, ".weight");
}

absl::Status CheckLlamaTensors(const GgufFile& file, const ModelConfig& config) {
  absl::flat_hash_set<std::string> known = {std::string(kRopeFactorsTensor)};
  for (TensorSpec& spec : AllSpecs(config)) {
    RETURN_IF_ERROR(CheckShape(file, spec));
    known.insert(std::move(spec.name));
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (!known.contains(tensor.name)) return ExtraTensorError(file, tensor.name);
  }
  return absl::OkStatus();
}

}  // namespace ebb::model

#include "model/hf_weights.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/hf_files.h"
#include "model/json_fields.h"
#include "model/load_error.h"
#include "model/safetensors.h"

namespace ebb::model {
namespace {

constexpr size_t kShardCountMax = 1024;  // Each stays open.
constexpr size_t kFileNameBytesMax = 255;

// The name within a layer, or the whole name of what a model has once.
absl::string_view PartName(WeightKind kind) {
  switch (kind) {
    case WeightKind::kEmbedding:
      return "model.embed_tokens.weight";
    case WeightKind::kOutputNorm:
      return "model.norm.weight";
    case WeightKind::kHead:
      return "lm_head.weight";
    case WeightKind::kAttentionNorm:
      return "input_layernorm.weight";
    case WeightKind::kQ:
      return "self_attn.q_proj.weight";
    case WeightKind::kK:
      return "self_attn.k_proj.weight";
    case WeightKind::kV:
      return "self_attn.v_proj.weight";
    case WeightKind::kQBias:
      return "self_attn.q_proj.bias";
    case WeightKind::kKBias:
      return "self_attn.k_proj.bias";
    case WeightKind::kVBias:
      return "self_attn.v_proj.bias";
    case WeightKind::kQNorm:
      return "self_attn.q_norm.weight";
    case WeightKind::kKNorm:
      return "self_attn.k_norm.weight";
    case WeightKind::kAttentionOut:
      return "self_attn.o_proj.weight";
    case WeightKind::kFfnNorm:
      return "post_attention_layernorm.weight";
    case WeightKind::kGate:
      return "mlp.gate_proj.weight";
    case WeightKind::kUp:
      return "mlp.up_proj.weight";
    case WeightKind::kDown:
      return "mlp.down_proj.weight";
  }
  return "?";
}

// Where a tensor lies.
struct Place {
  const SafetensorsFile* file = nullptr;
  const SafetensorsTensor* tensor = nullptr;
};

// All files of a model, and its tensors by name.
struct Tensors {
  std::vector<std::unique_ptr<const SafetensorsFile>> files;
  absl::flat_hash_map<std::string, Place> by_name;
};

class Source final : public WeightSource {
 public:
  Source(std::string name, ModelConfig config, Tensors tensors)
      : name_(std::move(name)), config_(std::move(config)), tensors_(std::move(tensors)) {
    for (const WeightId id : WeightsOf(config_)) {
      total_bytes_ += static_cast<int64_t>(tensors_.by_name.at(HfTensorName(id)).tensor->bytes);
    }
  }

  const std::string& name() const override { return name_; }
  const ModelConfig& config() const override { return config_; }
  int64_t total_bytes() const override { return total_bytes_; }

  absl::StatusOr<WeightTensor> Read(WeightKind kind, int32_t layer) const override {
    const std::string tensor_name = HfTensorName({kind, layer});
    const auto found = tensors_.by_name.find(tensor_name);
    CHECK(found != tensors_.by_name.end()) << tensor_name;
    const Place& place = found->second;
    const WeightShape shape = ShapeOf(config_, kind);
    WeightTensor tensor;
    tensor.dtype = place.tensor->dtype;
    tensor.rows = shape.rows;
    tensor.columns = shape.columns;
    ASSIGN_OR_RETURN(tensor.bytes, place.file->ReadTensor(*place.tensor));
    RETURN_IF_ERROR(CheckFinite(place.file->name(), tensor_name, tensor));
    if (HasRopePairs(kind)) {
      InterleaveRopePairs(config_.head_dim, static_cast<int32_t>(config_.rope_frequencies.size()),
                          &tensor);
    }
    return tensor;
  }

 private:
  const std::string name_;
  const ModelConfig config_;
  const Tensors tensors_;
  int64_t total_bytes_ = 0;
};

absl::Status Error(const std::string& file, absl::string_view reason, absl::string_view message) {
  return LoadError(absl::StatusCode::kInvalidArgument, file, reason, kNoOffset, message);
}

// A file in the same directory, by a name that can lead nowhere else.
bool IsPlainFileName(absl::string_view name) {
  return name.size() <= kFileNameBytesMax && absl::EndsWith(name, ".safetensors") &&
         name[0] != '.' && std::all_of(name.begin(), name.end(), [](char c) {
           return c > 0x20 && c < 0x7F && c != '/' && c != '\\';
         });
}

absl::Status AddFile(const std::string& path, Tensors* tensors,
                     std::vector<std::string>* warnings) {
  ASSIGN_OR_RETURN(std::unique_ptr<const SafetensorsFile> file, SafetensorsFile::Open(path));
  if (file->trailing_bytes() > 0) {
    warnings->push_back(absl::StrCat(file->trailing_bytes(), " bytes follow the last tensor of ",
                                     Printable(path), "; they are ignored"));
  }
  tensors->files.push_back(std::move(file));
  return absl::OkStatus();
}

absl::StatusOr<Tensors> OpenSingle(const std::string& path, std::vector<std::string>* warnings) {
  Tensors tensors;
  RETURN_IF_ERROR(AddFile(path, &tensors, warnings));
  const SafetensorsFile* const file = tensors.files[0].get();
  for (const SafetensorsTensor& tensor : file->tensors()) {
    tensors.by_name[tensor.name] = {file, &tensor};
  }
  return tensors;
}

// Opens each shard once, and looks each tensor up where the index says it is.
class IndexReader {
 public:
  IndexReader(const std::string& directory, std::vector<std::string>* warnings)
      : directory_(directory), path_(PathOf(directory, kHfWeightsIndex)), warnings_(warnings) {}

  absl::StatusOr<Tensors> Read() {
    ASSIGN_OR_RETURN(const auto json, ReadJson(directory_, kHfWeightsIndex));
    ASSIGN_OR_RETURN(const JsonFields fields, FieldsOf(*json));
    ASSIGN_OR_RETURN(const std::optional<JsonValue> map, fields.OptionalObject("weight_map"));
    if (!map.has_value()) {
      return Error(path_, "missing_key", "weight_map is missing. Save the model again.");
    }
    RETURN_IF_ERROR(map->ForEachMember([&](absl::string_view tensor_name, JsonValue shard) {
      return AddTensor(tensor_name, shard);
    }));
    return std::move(tensors_);
  }

 private:
  absl::Status AddTensor(absl::string_view tensor_name, JsonValue shard) {
    if (!shard.IsString() || !IsPlainFileName(*shard.String())) {
      return Error(path_, "shard",
                   absl::StrCat("tensor ", Printable(tensor_name), " is said to lie in ",
                                Printable(shard.String().value_or(shard.TypeName())),
                                ", which is no name of a .safetensors file beside the index. Save "
                                "the model again."));
    }
    ASSIGN_OR_RETURN(const SafetensorsFile* const file, ShardOf(std::string(*shard.String())));
    const SafetensorsTensor* const tensor = file->FindTensor(tensor_name);
    if (tensor == nullptr) {
      return Error(
          path_, "missing",
          absl::StrCat("tensor ", Printable(tensor_name), " is not in ", Printable(*shard.String()),
                       ", where the index says it is. Fetch both again."));
    }
    tensors_.by_name[tensor->name] = {file, tensor};
    return absl::OkStatus();
  }

  absl::StatusOr<const SafetensorsFile*> ShardOf(const std::string& file_name) {
    const auto found = shards_.find(file_name);
    if (found != shards_.end()) return found->second;
    if (shards_.size() >= kShardCountMax) {
      return Error(path_, "limit",
                   absl::StrCat("it names more than ", kShardCountMax,
                                " files. Save the model in larger shards."));
    }
    RETURN_IF_ERROR(AddFile(absl::StrCat(directory_, "/", file_name), &tensors_, warnings_));
    return shards_[file_name] = tensors_.files.back().get();
  }

  const std::string directory_;
  const std::string path_;
  std::vector<std::string>* const warnings_;
  Tensors tensors_;
  absl::flat_hash_map<std::string, const SafetensorsFile*> shards_;
};

absl::StatusOr<Tensors> OpenTensors(const std::string& directory,
                                    std::vector<std::string>* warnings) {
  if (IsThere(directory, kHfWeights)) return OpenSingle(PathOf(directory, kHfWeights), warnings);
  if (IsThere(directory, kHfWeightsIndex)) return IndexReader(directory, warnings).Read();
  return LoadError(absl::StatusCode::kNotFound, directory, "not_found", kNoOffset,
                   absl::StrCat("it holds neither ", kHfWeights.name, " nor ", kHfWeightsIndex.name,
                                ". Save the model in safetensors; other formats of weights are "
                                "not read."));
}

absl::Status CheckShape(const std::string& directory, const std::string& tensor_name,
                        const WeightShape& shape, const Tensors& tensors) {
  const auto found = tensors.by_name.find(tensor_name);
  if (found == tensors.by_name.end()) {
    return Error(
        directory, "missing",
        absl::StrCat("tensor ", tensor_name, " is missing. Fetch all files of the model again."));
  }
  const SafetensorsTensor& tensor = *found->second.tensor;
  std::vector<int64_t> want = {shape.columns};
  if (!shape.is_vector) want.insert(want.begin(), shape.rows);
  if (tensor.shape == want) return absl::OkStatus();
  return Error(found->second.file->name(), "shape",
               absl::StrCat("tensor ", tensor_name, " is [", absl::StrJoin(tensor.shape, ", "),
                            "] but config.json makes it [", absl::StrJoin(want, ", "),
                            "]. Fetch all files of the model again."));
}

// What may stand beside a model's own tensors because it changes nothing: tables that are worked
// out again, and a copy of the embedding.
bool IsIgnored(absl::string_view tensor_name, const ModelConfig& config) {
  return absl::EndsWith(tensor_name, ".rotary_emb.inv_freq") ||
         (config.tied_head && tensor_name == PartName(WeightKind::kHead));
}

absl::Status CheckTensors(const std::string& directory, const ModelConfig& config,
                          const Tensors& tensors) {
  absl::flat_hash_set<std::string> known;
  for (const WeightId id : WeightsOf(config)) {
    std::string tensor_name = HfTensorName(id);
    RETURN_IF_ERROR(CheckShape(directory, tensor_name, ShapeOf(config, id.kind), tensors));
    known.insert(std::move(tensor_name));
  }
  std::vector<std::string> extra;
  for (const auto& [tensor_name, place] : tensors.by_name) {
    if (!known.contains(tensor_name) && !IsIgnored(tensor_name, config)) {
      extra.push_back(tensor_name);
    }
  }
  if (extra.empty()) return absl::OkStatus();
  const std::string first = *std::min_element(extra.begin(), extra.end());
  if (absl::EndsWith(first, ".bias") || absl::StrContains(first, "expert")) {
    return LoadError(absl::StatusCode::kUnimplemented, directory, "unsupported", kNoOffset,
                     absl::StrCat("tensor ", first,
                                  ": models with experts, or with biases elsewhere than in "
                                  "queries, keys and values, are not supported. Use another "
                                  "model."));
  }
  return Error(directory, "extra",
               absl::StrCat("tensor ", first,
                            " is no part of the model that config.json describes. Fetch all files "
                            "of the model again."));
}

}  // namespace

std::string HfTensorName(WeightId id) {
  if (!IsPerLayer(id.kind)) return std::string(PartName(id.kind));
  return absl::StrCat("model.layers.", id.layer, ".", PartName(id.kind));
}

absl::StatusOr<std::unique_ptr<const WeightSource>> HfWeightSource(
    const std::string& directory, ModelConfig config, std::vector<std::string>* warnings) {
  ASSIGN_OR_RETURN(Tensors tensors, OpenTensors(directory, warnings));
  RETURN_IF_ERROR(CheckTensors(directory, config, tensors));
  return std::make_unique<const Source>(directory, std::move(config), std::move(tensors));
}

}  // namespace ebb::model

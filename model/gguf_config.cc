#include "model/gguf_config.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/gguf_tensors.h"
#include "model/load_error.h"
#include "model/vocab_check.h"

namespace ebb::model {
namespace {

constexpr float kRopeBaseDefault = 10000.0f;  // Llama 1; converters leave it out.

constexpr absl::string_view kMend = " Convert the model again with a current converter.";

absl::Status HparamError(const GgufFile& file, absl::string_view message) {
  return file.Error(absl::StatusCode::kInvalidArgument, "hparams", absl::StrCat(message, kMend));
}

// Keys of hyperparameters begin with the architecture: "qwen2.block_count".
std::string KeyOf(const ModelConfig& config, absl::string_view name) {
  return absl::StrCat(config.architecture, ".", name);
}

// Reads a count within [1, max] into `out`.
absl::Status ReadCount(const GgufFile& file, const std::string& key, int32_t max, int32_t* out) {
  ASSIGN_OR_RETURN(const uint64_t value, file.GetUint64(key));
  if (value < 1 || value > static_cast<uint64_t>(max)) {
    return HparamError(file, absl::StrCat(key, " is ", value, "; 1 to ", max, " are possible."));
  }
  *out = static_cast<int32_t>(value);
  return absl::OkStatus();
}

// Like ReadCount; leaves `out` alone when the key is absent.
absl::Status ReadOptionalCount(const GgufFile& file, const std::string& key, int32_t max,
                               int32_t* out) {
  if (!file.Has(key)) return absl::OkStatus();
  return ReadCount(file, key, max, out);
}

// Reads a number within [min, max], also refusing NaN. Leaves `out` alone when absent.
absl::Status ReadOptionalFloat(const GgufFile& file, const std::string& key, double min, double max,
                               float* out) {
  if (!file.Has(key)) return absl::OkStatus();
  ASSIGN_OR_RETURN(*out, file.GetFloat(key));
  if (!(*out >= min && *out <= max)) {
    return HparamError(file, absl::StrCat(key, " is ", *out, "; it must be a number from ", min,
                                          " to ", max, "."));
  }
  return absl::OkStatus();
}

absl::Status ReadArchitecture(const GgufFile& file, ModelConfig* config) {
  ASSIGN_OR_RETURN(const absl::string_view architecture, file.GetString("general.architecture"));
  if (architecture == "llama" || architecture == "qwen2" || architecture == "qwen3") {
    config->architecture = std::string(architecture);
    return absl::OkStatus();
  }
  return file.Error(absl::StatusCode::kUnimplemented, "arch",
                    absl::StrCat("its architecture is \"", Printable(architecture),
                                 "\"; llama, qwen2 and qwen3 are supported. Use another model."));
}

absl::Status ReadHeads(const GgufFile& file, ModelConfig* config) {
  RETURN_IF_ERROR(ReadCount(file, KeyOf(*config, "attention.head_count"), ModelBounds::kHeadsMax,
                            &config->heads));
  config->kv_heads = config->heads;
  RETURN_IF_ERROR(ReadOptionalCount(file, KeyOf(*config, "attention.head_count_kv"),
                                    ModelBounds::kHeadsMax, &config->kv_heads));
  if (config->heads % config->kv_heads != 0) {
    return HparamError(file, absl::StrCat(config->heads, " heads cannot share ", config->kv_heads,
                                          " key heads evenly."));
  }
  if (file.Has(KeyOf(*config, "attention.key_length"))) {
    RETURN_IF_ERROR(ReadCount(file, KeyOf(*config, "attention.key_length"),
                              ModelBounds::kHeadDimMax, &config->head_dim));
  } else if (config->width % config->heads == 0) {
    config->head_dim = config->width / config->heads;
  } else {
    return HparamError(file, absl::StrCat("width ", config->width, " is no multiple of ",
                                          config->heads, " heads."));
  }
  int32_t value_dim = config->head_dim;
  RETURN_IF_ERROR(ReadOptionalCount(file, KeyOf(*config, "attention.value_length"),
                                    ModelBounds::kHeadDimMax, &value_dim));
  if (value_dim != config->head_dim) {
    return file.Error(absl::StatusCode::kUnimplemented, "unsupported",
                      absl::StrCat("keys have ", config->head_dim, " dimensions but values ",
                                   value_dim, "; they must be equal. Use another model."));
  }
  if (config->head_dim > ModelBounds::kHeadDimMax) {
    return HparamError(file, absl::StrCat("a head has ", config->head_dim, " dimensions; at most ",
                                          ModelBounds::kHeadDimMax, " are possible."));
  }
  return absl::OkStatus();
}

absl::Status ReadHyperparameters(const GgufFile& file, ModelConfig* config) {
  RETURN_IF_ERROR(
      ReadCount(file, KeyOf(*config, "block_count"), ModelBounds::kLayersMax, &config->layers));
  RETURN_IF_ERROR(
      ReadCount(file, KeyOf(*config, "embedding_length"), ModelBounds::kWidthMax, &config->width));
  RETURN_IF_ERROR(ReadCount(file, KeyOf(*config, "feed_forward_length"), ModelBounds::kFfnWidthMax,
                            &config->ffn_width));
  RETURN_IF_ERROR(ReadCount(file, KeyOf(*config, "context_length"), ModelBounds::kContextMax,
                            &config->context_tokens));
  RETURN_IF_ERROR(ReadHeads(file, config));
  const std::string epsilon_key = KeyOf(*config, "attention.layer_norm_rms_epsilon");
  if (!file.Has(epsilon_key)) return HparamError(file, absl::StrCat(epsilon_key, " is missing."));
  RETURN_IF_ERROR(ReadOptionalFloat(file, KeyOf(*config, "attention.layer_norm_rms_epsilon"),
                                    ModelBounds::kRmsEpsilonMin, ModelBounds::kRmsEpsilonMax,
                                    &config->rms_epsilon));
  if (const std::string key = KeyOf(*config, "expert_count"); file.Has(key)) {
    ASSIGN_OR_RETURN(const uint32_t experts, file.GetUint32(key));
    if (experts != 0) {
      return file.Error(absl::StatusCode::kUnimplemented, "unsupported",
                        "mixtures of experts are not supported. Use another model.");
    }
  }
  return absl::OkStatus();
}

// The divisor of all frequencies ("linear" scaling), 1 without scaling.
absl::StatusOr<float> ReadRopeScale(const GgufFile& file, const ModelConfig& config) {
  const std::string type_key = KeyOf(config, "rope.scaling.type");
  const std::string factor_key = KeyOf(config, "rope.scaling.factor");
  const std::string linear_key = KeyOf(config, "rope.scale_linear");
  float scale = 1.0f;
  std::string type = "none";
  if (file.Has(type_key)) {
    ASSIGN_OR_RETURN(const absl::string_view named, file.GetString(type_key));
    type = std::string(named);
  } else if (file.Has(factor_key) || file.Has(linear_key)) {
    type = "linear";  // Written before there was a type.
  }
  if (type == "none") return scale;
  if (type != "linear") {
    return file.Error(absl::StatusCode::kUnimplemented, "unsupported",
                      absl::StrCat("rope scaling \"", Printable(type),
                                   "\" is not supported; none, "
                                   "linear, and llama3's (a rope_freqs tensor) are."));
  }
  RETURN_IF_ERROR(ReadOptionalFloat(file, linear_key, 1 / ModelBounds::kRopeScaleMax,
                                    ModelBounds::kRopeScaleMax, &scale));
  RETURN_IF_ERROR(ReadOptionalFloat(file, factor_key, 1 / ModelBounds::kRopeScaleMax,
                                    ModelBounds::kRopeScaleMax, &scale));
  return scale;
}

// llama3's scaling: a divisor for each frequency, worked out by the converter. Ones without it.
absl::StatusOr<std::vector<float>> ReadRopeFactors(const GgufFile& file, int32_t pair_count) {
  std::vector<float> factors(static_cast<size_t>(pair_count), 1.0f);
  const GgufTensor* tensor = file.FindTensor(kRopeFactorsTensor);
  if (tensor == nullptr) return factors;
  const std::array<int64_t, 4> want = {pair_count, 1, 1, 1};
  if (tensor->dims != want || tensor->dtype != kernels::DType::kF32) {
    return file.Error(absl::StatusCode::kInvalidArgument, "shape",
                      absl::StrCat("tensor ", kRopeFactorsTensor, " must hold ", pair_count,
                                   " F32 numbers.", kMend));
  }
  ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, file.ReadTensor(kRopeFactorsTensor));
  std::memcpy(factors.data(), bytes.data(), bytes.size());
  for (const float factor : factors) {
    if (!(factor >= 1 / ModelBounds::kRopeScaleMax && factor <= ModelBounds::kRopeScaleMax)) {
      return HparamError(file, absl::StrCat("tensor ", kRopeFactorsTensor, " holds ", factor,
                                            ", which can divide no frequency."));
    }
  }
  return factors;
}

absl::Status ReadRope(const GgufFile& file, ModelConfig* config) {
  int32_t rope_dims = config->head_dim;
  RETURN_IF_ERROR(ReadOptionalCount(file, KeyOf(*config, "rope.dimension_count"),
                                    ModelBounds::kHeadDimMax, &rope_dims));
  if (rope_dims % 2 != 0 || rope_dims > config->head_dim) {
    return HparamError(file,
                       absl::StrCat("rope turns ", rope_dims, " of a head's ", config->head_dim,
                                    " dimensions; it must be an even number of them."));
  }
  float base = kRopeBaseDefault;
  RETURN_IF_ERROR(ReadOptionalFloat(file, KeyOf(*config, "rope.freq_base"),
                                    ModelBounds::kRopeBaseMin, ModelBounds::kRopeBaseMax, &base));
  ASSIGN_OR_RETURN(const float scale, ReadRopeScale(file, *config));
  const int32_t pair_count = rope_dims / 2;
  ASSIGN_OR_RETURN(const std::vector<float> factors, ReadRopeFactors(file, pair_count));
  config->rope_base = base;
  if (scale != 1) config->rope_scaling = {RopeScaling::Type::kLinear, scale};
  config->rope_frequencies = RopeFrequencies(base, pair_count, config->rope_scaling);
  if (file.FindTensor(kRopeFactorsTensor) == nullptr) return absl::OkStatus();
  config->rope_scaling.type = RopeScaling::Type::kFactors;
  for (int32_t i = 0; i < pair_count; ++i) config->rope_frequencies[i] /= factors[i];
  return absl::OkStatus();
}

// The vocabulary's size and the head come from the tensors; the metadata must agree.
absl::Status ReadVocab(const GgufFile& file, ModelConfig* config) {
  const GgufTensor* embedding = file.FindTensor(GgufTensorName({WeightKind::kEmbedding, 0}));
  if (embedding == nullptr) {
    return file.Error(absl::StatusCode::kInvalidArgument, "missing",
                      absl::StrCat("the tensor of the embedding is missing; the file may hold a "
                                   "vocabulary only. Use a complete model."));
  }
  if (embedding->dims[1] > ModelBounds::kVocabMax) {
    return HparamError(file,
                       absl::StrCat("the embedding has ", embedding->dims[1], " rows; at most ",
                                    ModelBounds::kVocabMax, " are possible."));
  }
  config->vocab = static_cast<int32_t>(embedding->dims[1]);
  return CheckVocabMetadata(file, config->architecture, config->vocab);
}

// Attention that looks back over a part of the context only.
absl::Status CheckWindow(const GgufFile& file, const ModelConfig& config) {
  const std::string key = KeyOf(config, "attention.sliding_window");
  if (!file.Has(key)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const uint64_t window, file.GetUint64(key));
  if (window == 0 || window >= static_cast<uint64_t>(config.context_tokens)) {
    return absl::OkStatus();
  }
  return file.Error(absl::StatusCode::kUnimplemented, "unsupported",
                    absl::StrCat("attention over a sliding window of ", window,
                                 " tokens is not supported. Use another model."));
}

// What the tensors tell: the metadata has no keys for it.
void ReadVariant(const GgufFile& file, ModelConfig* config) {
  config->tied_head = !HasGgufTensor(file, WeightKind::kHead);
  config->qkv_bias = config->architecture == "qwen2" || HasGgufTensor(file, WeightKind::kQBias);
  config->qk_norm = config->architecture == "qwen3";
}

}  // namespace

absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& file) {
  ModelConfig config;
  RETURN_IF_ERROR(ReadArchitecture(file, &config));
  if (file.Has("general.name")) {
    ASSIGN_OR_RETURN(const absl::string_view name, file.GetString("general.name"));
    config.name = std::string(name);
  }
  RETURN_IF_ERROR(ReadHyperparameters(file, &config));
  RETURN_IF_ERROR(CheckWindow(file, config));
  RETURN_IF_ERROR(ReadVocab(file, &config));
  ReadVariant(file, &config);
  RETURN_IF_ERROR(CheckGgufTensors(file, config));
  RETURN_IF_ERROR(ReadRope(file, &config));
  return config;
}

}  // namespace ebb::model

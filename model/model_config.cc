#include "model/model_config.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/llama_tensors.h"
#include "model/load_error.h"
#include "model/vocab_check.h"

namespace ebb::model {
namespace {

// Bounds far above any llama model in use; below them no product of two overflows 64 bits, and of
// one with a row count 32 bits.
constexpr int32_t kLayersMax = 1024;
constexpr int32_t kWidthMax = 1 << 17;
constexpr int32_t kFfnWidthMax = 1 << 19;
constexpr int32_t kHeadsMax = 1024;
constexpr int32_t kHeadDimMax = 1024;
constexpr int32_t kContextMax = 1 << 24;
constexpr int64_t kVocabMax = 1 << 22;
constexpr double kRopeScaleMax = 1e6;
constexpr float kRopeBaseDefault = 10000.0f;  // Llama 1; converters leave it out.

constexpr absl::string_view kMend = " Convert the model again with a current converter.";

absl::Status HparamError(const GgufFile& file, absl::string_view message) {
  return file.Error(absl::StatusCode::kInvalidArgument, "hparams", absl::StrCat(message, kMend));
}

// Reads "llama.<name>" within [1, max] into `out`.
absl::Status ReadCount(const GgufFile& file, absl::string_view name, int32_t max, int32_t* out) {
  const std::string key = absl::StrCat("llama.", name);
  ASSIGN_OR_RETURN(const uint64_t value, file.GetUint64(key));
  if (value < 1 || value > static_cast<uint64_t>(max)) {
    return HparamError(file, absl::StrCat(key, " is ", value, "; 1 to ", max, " are possible."));
  }
  *out = static_cast<int32_t>(value);
  return absl::OkStatus();
}

// Like ReadCount; leaves `out` alone when the key is absent.
absl::Status ReadOptionalCount(const GgufFile& file, absl::string_view name, int32_t max,
                               int32_t* out) {
  if (!file.Has(absl::StrCat("llama.", name))) return absl::OkStatus();
  return ReadCount(file, name, max, out);
}

// Reads "llama.<name>" within [min, max], also refusing NaN. Leaves `out` alone when absent.
absl::Status ReadOptionalFloat(const GgufFile& file, absl::string_view name, double min, double max,
                               float* out) {
  const std::string key = absl::StrCat("llama.", name);
  if (!file.Has(key)) return absl::OkStatus();
  ASSIGN_OR_RETURN(*out, file.GetFloat(key));
  if (!(*out >= min && *out <= max)) {
    return HparamError(file, absl::StrCat(key, " is ", *out, "; it must be a number from ", min,
                                          " to ", max, "."));
  }
  return absl::OkStatus();
}

absl::Status CheckArchitecture(const GgufFile& file) {
  ASSIGN_OR_RETURN(const absl::string_view architecture, file.GetString("general.architecture"));
  if (architecture == "llama") return absl::OkStatus();
  return file.Error(absl::StatusCode::kUnimplemented, "arch",
                    absl::StrCat("its architecture is \"", Printable(architecture),
                                 "\"; only llama is supported. Use another model."));
}

absl::Status ReadHeads(const GgufFile& file, ModelConfig* config) {
  RETURN_IF_ERROR(ReadCount(file, "attention.head_count", kHeadsMax, &config->heads));
  config->kv_heads = config->heads;
  RETURN_IF_ERROR(ReadOptionalCount(file, "attention.head_count_kv", kHeadsMax, &config->kv_heads));
  if (config->heads % config->kv_heads != 0) {
    return HparamError(file, absl::StrCat(config->heads, " heads cannot share ", config->kv_heads,
                                          " key heads evenly."));
  }
  if (file.Has("llama.attention.key_length")) {
    RETURN_IF_ERROR(ReadCount(file, "attention.key_length", kHeadDimMax, &config->head_dim));
  } else if (config->width % config->heads == 0) {
    config->head_dim = config->width / config->heads;
  } else {
    return HparamError(file, absl::StrCat("width ", config->width, " is no multiple of ",
                                          config->heads, " heads."));
  }
  int32_t value_dim = config->head_dim;
  RETURN_IF_ERROR(ReadOptionalCount(file, "attention.value_length", kHeadDimMax, &value_dim));
  if (value_dim != config->head_dim) {
    return file.Error(absl::StatusCode::kUnimplemented, "unsupported",
                      absl::StrCat("keys have ", config->head_dim, " dimensions but values ",
                                   value_dim, "; they must be equal. Use another model."));
  }
  if (config->head_dim > kHeadDimMax) {
    return HparamError(file, absl::StrCat("a head has ", config->head_dim, " dimensions; at most ",
                                          kHeadDimMax, " are possible."));
  }
  return absl::OkStatus();
}

absl::Status ReadHyperparameters(const GgufFile& file, ModelConfig* config) {
  RETURN_IF_ERROR(ReadCount(file, "block_count", kLayersMax, &config->layers));
  RETURN_IF_ERROR(ReadCount(file, "embedding_length", kWidthMax, &config->width));
  RETURN_IF_ERROR(ReadCount(file, "feed_forward_length", kFfnWidthMax, &config->ffn_width));
  RETURN_IF_ERROR(ReadCount(file, "context_length", kContextMax, &config->context_tokens));
  RETURN_IF_ERROR(ReadHeads(file, config));
  const std::string epsilon_key = "llama.attention.layer_norm_rms_epsilon";
  if (!file.Has(epsilon_key)) return HparamError(file, absl::StrCat(epsilon_key, " is missing."));
  RETURN_IF_ERROR(ReadOptionalFloat(file, "attention.layer_norm_rms_epsilon", 1e-12, 0.1,
                                    &config->rms_epsilon));
  if (file.Has("llama.expert_count")) {
    ASSIGN_OR_RETURN(const uint32_t experts, file.GetUint32("llama.expert_count"));
    if (experts != 0) {
      return file.Error(absl::StatusCode::kUnimplemented, "unsupported",
                        "mixtures of experts are not supported. Use another model.");
    }
  }
  return absl::OkStatus();
}

// The divisor of all frequencies ("linear" scaling), 1 without scaling.
absl::StatusOr<float> ReadRopeScale(const GgufFile& file) {
  float scale = 1.0f;
  std::string type = "none";
  if (file.Has("llama.rope.scaling.type")) {
    ASSIGN_OR_RETURN(const absl::string_view named, file.GetString("llama.rope.scaling.type"));
    type = std::string(named);
  } else if (file.Has("llama.rope.scaling.factor") || file.Has("llama.rope.scale_linear")) {
    type = "linear";  // Written before there was a type.
  }
  if (type == "none") return scale;
  if (type != "linear") {
    return file.Error(absl::StatusCode::kUnimplemented, "unsupported",
                      absl::StrCat("rope scaling \"", Printable(type),
                                   "\" is not supported; none, "
                                   "linear, and llama3's (a rope_freqs tensor) are."));
  }
  RETURN_IF_ERROR(
      ReadOptionalFloat(file, "rope.scale_linear", 1 / kRopeScaleMax, kRopeScaleMax, &scale));
  RETURN_IF_ERROR(
      ReadOptionalFloat(file, "rope.scaling.factor", 1 / kRopeScaleMax, kRopeScaleMax, &scale));
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
    if (!(factor >= 1 / kRopeScaleMax && factor <= kRopeScaleMax)) {
      return HparamError(file, absl::StrCat("tensor ", kRopeFactorsTensor, " holds ", factor,
                                            ", which can divide no frequency."));
    }
  }
  return factors;
}

absl::Status ReadRope(const GgufFile& file, ModelConfig* config) {
  int32_t rope_dims = config->head_dim;
  RETURN_IF_ERROR(ReadOptionalCount(file, "rope.dimension_count", kHeadDimMax, &rope_dims));
  if (rope_dims % 2 != 0 || rope_dims > config->head_dim) {
    return HparamError(file,
                       absl::StrCat("rope turns ", rope_dims, " of a head's ", config->head_dim,
                                    " dimensions; it must be an even number of them."));
  }
  float base = kRopeBaseDefault;
  RETURN_IF_ERROR(ReadOptionalFloat(file, "rope.freq_base", 1.0, 1e12, &base));
  ASSIGN_OR_RETURN(const float scale, ReadRopeScale(file));
  const int32_t pair_count = rope_dims / 2;
  ASSIGN_OR_RETURN(const std::vector<float> factors, ReadRopeFactors(file, pair_count));
  config->rope_frequencies.resize(static_cast<size_t>(pair_count));
  for (int32_t i = 0; i < pair_count; ++i) {
    const double frequency = std::pow(static_cast<double>(base), -2.0 * i / rope_dims);
    config->rope_frequencies[i] = static_cast<float>(frequency / scale / factors[i]);
  }
  return absl::OkStatus();
}

// The vocabulary's size and the head come from the tensors; the metadata must agree.
absl::Status ReadVocab(const GgufFile& file, ModelConfig* config) {
  const GgufTensor* embedding = file.FindTensor(kEmbeddingTensor);
  if (embedding == nullptr) {
    return file.Error(absl::StatusCode::kInvalidArgument, "missing",
                      absl::StrCat("tensor ", kEmbeddingTensor,
                                   " is missing; the file may hold a "
                                   "vocabulary only. Use a complete model."));
  }
  if (embedding->dims[1] > kVocabMax) {
    return HparamError(file, absl::StrCat("the embedding has ", embedding->dims[1],
                                          " rows; at most ", kVocabMax, " are possible."));
  }
  config->vocab = static_cast<int32_t>(embedding->dims[1]);
  config->tied_head = file.FindTensor(kHeadTensor) == nullptr;
  return CheckVocabMetadata(file, config->vocab);
}

}  // namespace

absl::StatusOr<ModelConfig> ReadModelConfig(const GgufFile& file) {
  ModelConfig config;
  RETURN_IF_ERROR(CheckArchitecture(file));
  config.architecture = "llama";
  if (file.Has("general.name")) {
    ASSIGN_OR_RETURN(const absl::string_view name, file.GetString("general.name"));
    config.name = std::string(name);
  }
  RETURN_IF_ERROR(ReadHyperparameters(file, &config));
  RETURN_IF_ERROR(ReadVocab(file, &config));
  RETURN_IF_ERROR(CheckLlamaTensors(file, config));
  RETURN_IF_ERROR(ReadRope(file, &config));
  return config;
}

}  // namespace ebb::model

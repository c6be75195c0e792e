#include "model/hf_config.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/json_fields.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

constexpr double kRopeBaseDefault = 10000.0;
constexpr double kRmsEpsilonDefault = 1e-6;
constexpr int32_t kQwen3HeadDimDefault = 128;
constexpr int32_t kWindowDefault = 4096;
constexpr absl::string_view kMend = " Save the model again.";

struct KnownClass {
  absl::string_view class_name;
  absl::string_view model_type;
  absl::string_view architecture;  // ModelConfig's.
};
constexpr KnownClass kKnownClasses[] = {
    {"LlamaForCausalLM", "llama", "llama"},
    {"MistralForCausalLM", "mistral", "llama"},
    {"Qwen2ForCausalLM", "qwen2", "qwen2"},
    {"Qwen3ForCausalLM", "qwen3", "qwen3"},
};

// The class that the file names, or else its model_type.
absl::StatusOr<KnownClass> ReadClass(const JsonFields& fields) {
  std::string named;
  ASSIGN_OR_RETURN(const std::optional<JsonValue> classes, fields.OptionalArray("architectures"));
  if (classes.has_value() && classes->size() > 0) {
    if (classes->size() != 1) {
      return fields.Unsupported("it names several architectures. Use another model.");
    }
    RETURN_IF_ERROR(classes->ForEachElement([&](JsonValue element) {
      if (!element.IsString()) return fields.Error("type", "architectures must hold a string.");
      named = std::string(*element.String());
      return absl::OkStatus();
    }));
    for (const KnownClass& known : kKnownClasses) {
      if (named == known.class_name) return known;
    }
  } else {
    RETURN_IF_ERROR(fields.ReadOptionalString("model_type", &named));
    for (const KnownClass& known : kKnownClasses) {
      if (named == known.model_type) return known;
    }
  }
  return LoadError(absl::StatusCode::kUnimplemented, fields.file(), "arch", kNoOffset,
                   absl::StrCat("its architecture is \"", Printable(named),
                                "\"; LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM and "
                                "Qwen3ForCausalLM are supported. Use another model."));
}

absl::Status ReadHeads(const JsonFields& fields, ModelConfig* config) {
  RETURN_IF_ERROR(fields.ReadCount("num_attention_heads", ModelBounds::kHeadsMax, &config->heads));
  config->kv_heads = config->heads;
  // Llama's first files were written before heads could share keys; the others' default to numbers
  // that would be a guess here.
  if (config->architecture != "llama" || fields.Has("num_key_value_heads")) {
    RETURN_IF_ERROR(
        fields.ReadCount("num_key_value_heads", ModelBounds::kHeadsMax, &config->kv_heads));
  }
  if (config->heads % config->kv_heads != 0) {
    return fields.Error("hparams", absl::StrCat(config->heads, " heads cannot share ",
                                                config->kv_heads, " key heads evenly.", kMend));
  }
  if (fields.Has("head_dim")) {
    RETURN_IF_ERROR(fields.ReadCount("head_dim", ModelBounds::kHeadDimMax, &config->head_dim));
  } else if (config->architecture == "qwen3") {
    config->head_dim = kQwen3HeadDimDefault;
  } else if (config->width % config->heads == 0) {
    config->head_dim = config->width / config->heads;
  } else {
    return fields.Error(
        "hparams", absl::StrCat("hidden_size ", config->width, " is no multiple of ", config->heads,
                                " heads.", kMend));
  }
  if (config->head_dim % 2 != 0 || config->head_dim > ModelBounds::kHeadDimMax) {
    return fields.Error("hparams", absl::StrCat("a head has ", config->head_dim,
                                                " dimensions; an even number of at most ",
                                                ModelBounds::kHeadDimMax, " is possible.", kMend));
  }
  return absl::OkStatus();
}

absl::Status CheckLayerTypes(const JsonFields& fields, bool* all_full) {
  ASSIGN_OR_RETURN(const std::optional<JsonValue> types, fields.OptionalArray("layer_types"));
  if (!types.has_value()) return absl::OkStatus();
  *all_full = true;
  return types->ForEachElement([&](JsonValue type) {
    if (!type.IsString()) return fields.Error("type", "layer_types must hold strings.");
    if (*type.String() == "full_attention") return absl::OkStatus();
    return fields.Unsupported(absl::StrCat("layers of type \"", Printable(*type.String()),
                                           "\" are not supported. Use another model."));
  });
}

// Attention that looks back over a part of the context only, in all layers or in some.
absl::Status CheckWindow(const JsonFields& fields, bool is_mistral, const ModelConfig& config) {
  bool all_full = false;
  RETURN_IF_ERROR(CheckLayerTypes(fields, &all_full));
  // Mistral uses its window unless the file says null; the others only when they are told to.
  bool uses_window = is_mistral && !fields.IsNull("sliding_window");
  int32_t window = kWindowDefault;
  double first_layer = 0;
  RETURN_IF_ERROR(fields.ReadOptionalBool("use_sliding_window", &uses_window));
  if (all_full || !uses_window || fields.IsNull("sliding_window")) return absl::OkStatus();
  RETURN_IF_ERROR(fields.ReadOptionalCount("sliding_window", ModelBounds::kContextMax, &window));
  if (!is_mistral) {
    RETURN_IF_ERROR(fields.ReadOptionalNumber("max_window_layers", 0, 1e9, &first_layer));
  }
  if (window >= config.context_tokens || first_layer >= config.layers) return absl::OkStatus();
  return fields.Unsupported(absl::StrCat("attention over a sliding window of ", window,
                                         " tokens is not supported. Use another model."));
}

absl::Status CheckPlain(const JsonFields& fields) {
  std::string activation = "silu";
  RETURN_IF_ERROR(fields.ReadOptionalString("hidden_act", &activation));
  if (activation != "silu" && activation != "swish") {
    return fields.Unsupported(absl::StrCat("the activation \"", Printable(activation),
                                           "\" is not supported; silu is. Use another model."));
  }
  if (fields.Has("quantization_config")) {
    return fields.Unsupported(
        "its weights are quantised (quantization_config); F32, F16 and BF16 are supported. Use "
        "the model it was made from.");
  }
  return absl::OkStatus();
}

absl::Status ReadHyperparameters(const JsonFields& fields, ModelConfig* config) {
  RETURN_IF_ERROR(fields.ReadCount("num_hidden_layers", ModelBounds::kLayersMax, &config->layers));
  RETURN_IF_ERROR(fields.ReadCount("hidden_size", ModelBounds::kWidthMax, &config->width));
  RETURN_IF_ERROR(
      fields.ReadCount("intermediate_size", ModelBounds::kFfnWidthMax, &config->ffn_width));
  RETURN_IF_ERROR(fields.ReadCount("max_position_embeddings", ModelBounds::kContextMax,
                                   &config->context_tokens));
  RETURN_IF_ERROR(fields.ReadCount("vocab_size", ModelBounds::kVocabMax, &config->vocab));
  RETURN_IF_ERROR(ReadHeads(fields, config));
  double epsilon = kRmsEpsilonDefault;
  RETURN_IF_ERROR(fields.ReadOptionalNumber("rms_norm_eps", ModelBounds::kRmsEpsilonMin,
                                            ModelBounds::kRmsEpsilonMax, &epsilon));
  config->rms_epsilon = static_cast<float>(epsilon);
  RETURN_IF_ERROR(fields.ReadOptionalBool("tie_word_embeddings", &config->tied_head));
  config->qkv_bias = config->architecture == "qwen2";
  if (config->architecture != "qwen2") {
    // The output projection has a bias, too, then: its tensor will be refused by name.
    RETURN_IF_ERROR(fields.ReadOptionalBool("attention_bias", &config->qkv_bias));
  }
  config->qk_norm = config->architecture == "qwen3";
  return absl::OkStatus();
}

absl::Status ReadLlama3Scaling(const JsonFields& rope, const ModelConfig& config,
                               RopeScaling* scaling) {
  constexpr double kMax = ModelBounds::kRopeScaleMax;
  scaling->type = RopeScaling::Type::kLlama3;
  scaling->original_context_tokens = config.context_tokens;
  RETURN_IF_ERROR(
      rope.ReadOptionalNumber("low_freq_factor", 1 / kMax, kMax, &scaling->low_frequency_factor));
  RETURN_IF_ERROR(
      rope.ReadOptionalNumber("high_freq_factor", 1 / kMax, kMax, &scaling->high_frequency_factor));
  RETURN_IF_ERROR(rope.ReadOptionalNumber("original_max_position_embeddings", 1,
                                          ModelBounds::kContextMax,
                                          &scaling->original_context_tokens));
  if (scaling->high_frequency_factor > scaling->low_frequency_factor) return absl::OkStatus();
  return rope.Error("hparams", absl::StrCat("high_freq_factor ", scaling->high_frequency_factor,
                                            " must be above low_freq_factor ",
                                            scaling->low_frequency_factor, ".", kMend));
}

absl::Status ReadRopeScaling(const JsonFields& rope, const ModelConfig& config,
                             RopeScaling* scaling) {
  std::string type = "default";
  RETURN_IF_ERROR(rope.ReadOptionalString("type", &type));
  RETURN_IF_ERROR(rope.ReadOptionalString("rope_type", &type));
  if (type == "default") return absl::OkStatus();
  if (type != "linear" && type != "llama3") {
    return rope.Unsupported(absl::StrCat("rope scaling \"", Printable(type),
                                         "\" is not supported; default, linear and llama3 are. "
                                         "Use another model."));
  }
  if (!rope.Has("factor")) {
    return rope.Error("hparams", absl::StrCat("rope scaling has no factor.", kMend));
  }
  RETURN_IF_ERROR(rope.ReadOptionalNumber("factor", 1 / ModelBounds::kRopeScaleMax,
                                          ModelBounds::kRopeScaleMax, &scaling->factor));
  if (type == "llama3") return ReadLlama3Scaling(rope, config, scaling);
  scaling->type = RopeScaling::Type::kLinear;
  return absl::OkStatus();
}

// transformers 5 writes all of it to rope_parameters; before, the base stood in rope_theta and the
// rest in rope_scaling.
absl::Status ReadRope(const JsonFields& fields, ModelConfig* config) {
  config->rope_base = kRopeBaseDefault;
  double partial = 1;
  const auto read_base = [&](const JsonFields& from) {
    RETURN_IF_ERROR(from.ReadOptionalNumber("rope_theta", ModelBounds::kRopeBaseMin,
                                            ModelBounds::kRopeBaseMax, &config->rope_base));
    return from.ReadOptionalNumber("partial_rotary_factor", 0, 1, &partial);
  };
  RETURN_IF_ERROR(read_base(fields));
  ASSIGN_OR_RETURN(std::optional<JsonValue> rope, fields.OptionalObject("rope_scaling"));
  if (!rope.has_value()) {
    ASSIGN_OR_RETURN(rope, fields.OptionalObject("rope_parameters"));
  }
  if (rope.has_value()) {
    const JsonFields parameters(fields.file(), *rope);
    if (parameters.Has("full_attention")) {
      return fields.Unsupported(
          "layers with different ropes are not supported. Use another model.");
    }
    RETURN_IF_ERROR(read_base(parameters));
    RETURN_IF_ERROR(ReadRopeScaling(parameters, *config, &config->rope_scaling));
  }
  if (partial != 1) {
    return fields.Unsupported(absl::StrCat("a rope over ", partial,
                                           " of a head (partial_rotary_factor) is not supported. "
                                           "Use another model."));
  }
  config->rope_frequencies =
      RopeFrequencies(config->rope_base, config->head_dim / 2, config->rope_scaling);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ReadHfConfig(const JsonDocument& json) {
  ASSIGN_OR_RETURN(const JsonFields fields, FieldsOf(json));
  ASSIGN_OR_RETURN(const KnownClass known, ReadClass(fields));
  ModelConfig config;
  config.architecture = std::string(known.architecture);
  RETURN_IF_ERROR(CheckPlain(fields));
  RETURN_IF_ERROR(ReadHyperparameters(fields, &config));
  RETURN_IF_ERROR(CheckWindow(fields, known.model_type == "mistral", config));
  RETURN_IF_ERROR(ReadRope(fields, &config));
  return config;
}

}  // namespace ebb::model

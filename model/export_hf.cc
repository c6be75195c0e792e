#include "model/export_hf.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/dequantize.h"
#include "model/file_writer.h"
#include "model/hf_files.h"
#include "model/hf_weights.h"
#include "model/tokenizer_hf_write.h"

namespace ebb::model {
namespace {

using Json = nlohmann::ordered_json;
using kernels::DType;

constexpr size_t kHeaderAlignment = 8;

// The class whose layers are these.
absl::StatusOr<std::pair<std::string, std::string>> ClassOf(const ModelConfig& config) {
  if (config.qkv_bias && config.qk_norm) {
    return absl::UnimplementedError("no Hugging Face class has both biases and norms of heads");
  }
  if (config.qkv_bias) return std::make_pair("Qwen2ForCausalLM", "qwen2");
  if (config.qk_norm) return std::make_pair("Qwen3ForCausalLM", "qwen3");
  return std::make_pair("LlamaForCausalLM", "llama");
}

absl::StatusOr<Json> RopeScalingJson(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  switch (scaling.type) {
    case RopeScaling::Type::kNone:
      return Json(nullptr);
    case RopeScaling::Type::kLinear:
      return Json{{"rope_type", "linear"}, {"factor", scaling.factor}};
    case RopeScaling::Type::kLlama3:
      return Json{{"rope_type", "llama3"},
                  {"factor", scaling.factor},
                  {"low_freq_factor", scaling.low_frequency_factor},
                  {"high_freq_factor", scaling.high_frequency_factor},
                  {"original_max_position_embeddings",
                   static_cast<int64_t>(scaling.original_context_tokens)}};
    case RopeScaling::Type::kFactors:
      break;
  }
  return absl::UnimplementedError(
      "the file tells the factors of its rope scaling, not the numbers that config.json needs; "
      "write the model out from its Hugging Face form");
}

Json OptionalId(std::optional<int32_t> id) { return id.has_value() ? Json(*id) : Json(nullptr); }

absl::StatusOr<std::string> ConfigText(const OpenedModel& model, DType dtype) {
  const ModelConfig& config = model.weights->config();
  ASSIGN_OR_RETURN(const auto names, ClassOf(config));
  ASSIGN_OR_RETURN(Json rope_scaling, RopeScalingJson(config));
  if (static_cast<int32_t>(config.rope_frequencies.size()) * 2 != config.head_dim) {
    return absl::UnimplementedError("config.json cannot say that rope turns a part of a head");
  }
  Json json = {{"architectures", Json::array({names.first})},
               {"model_type", names.second},
               {"hidden_size", config.width},
               {"intermediate_size", config.ffn_width},
               {"num_hidden_layers", config.layers},
               {"num_attention_heads", config.heads},
               {"num_key_value_heads", config.kv_heads},
               {"head_dim", config.head_dim},
               {"max_position_embeddings", config.context_tokens},
               {"vocab_size", config.vocab},
               {"hidden_act", "silu"},
               // The shortest decimal that gives the same float.
               {"rms_norm_eps", std::stod(absl::StrCat(config.rms_epsilon))},
               {"rope_theta", config.rope_base},
               {"rope_scaling", std::move(rope_scaling)},
               {"tie_word_embeddings", config.tied_head},
               {"bos_token_id", OptionalId(model.tokenizer->bos_id())},
               {"eos_token_id", OptionalId(model.tokenizer->eos_id())},
               {"torch_dtype", dtype == DType::kF32 ? "float32" : "bfloat16"}};
  if (names.second != "qwen2") json["attention_bias"] = false;
  if (names.second == "llama") {
    json["mlp_bias"] = false;
  } else {
    json["use_sliding_window"] = false;
  }
  return json.dump(2) + "\n";
}

std::string GenerationText(const OpenedModel& model) {
  const Json json = {{"bos_token_id", OptionalId(model.tokenizer->bos_id())},
                     {"eos_token_id", model.tokenizer->eos_ids()}};
  return json.dump(2) + "\n";
}

// The weights as `dtype`, in the order of Hugging Face's rows.
absl::StatusOr<WeightTensor> ReadConverted(const WeightSource& source, WeightId id, DType dtype) {
  ASSIGN_OR_RETURN(WeightTensor tensor, source.Read(id.kind, id.layer));
  if (tensor.dtype != dtype) {
    std::vector<float> numbers(static_cast<size_t>(tensor.rows * tensor.columns));
    kernels::Dequantize(tensor.dtype, tensor.bytes, absl::MakeSpan(numbers));
    const auto element_bytes = static_cast<size_t>(kernels::TraitsOf(dtype).block_bytes);
    tensor.dtype = dtype;
    tensor.bytes.resize(numbers.size() * element_bytes);
    for (size_t i = 0; i < numbers.size(); ++i) {
      const uint16_t bf16 = kernels::FloatToBf16(numbers[i]);
      const void* from = dtype == DType::kF32 ? static_cast<const void*>(&numbers[i]) : &bf16;
      std::memcpy(tensor.bytes.data() + i * element_bytes, from, element_bytes);
    }
  }
  if (HasRopePairs(id.kind)) {
    const ModelConfig& config = source.config();
    SplitRopePairs(config.head_dim, static_cast<int32_t>(config.rope_frequencies.size()), &tensor);
  }
  return tensor;
}

// Writes the weights, a shard after the other. Used once.
class WeightsWriter {
 public:
  WeightsWriter(const WeightSource& source, const std::string& directory,
                const ExportOptions& options, const LoadProgress& progress)
      : source_(source), directory_(directory), options_(options), progress_(progress) {}

  absl::Status Write() {
    Plan();
    Json map = Json::object();
    for (size_t i = 0; i < shards_.size(); ++i) {
      const std::string file_name =
          shards_.size() == 1
              ? std::string(kHfWeights.name)
              : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards_.size());
      RETURN_IF_ERROR(WriteShard(shards_[i], file_name));
      for (const WeightId id : shards_[i]) map[HfTensorName(id)] = file_name;
    }
    if (shards_.size() == 1) return absl::OkStatus();
    const Json index = {{"metadata", {{"total_size", bytes_total_}}},
                        {"weight_map", std::move(map)}};
    return WriteNewFile(PathOf(directory_, kHfWeightsIndex), index.dump(2) + "\n");
  }

 private:
  int64_t BytesOf(WeightId id) const {
    const WeightShape shape = ShapeOf(source_.config(), id.kind);
    return shape.rows * shape.columns * kernels::TraitsOf(options_.dtype).block_bytes;
  }

  void Plan() {
    int64_t shard_bytes = 0;
    for (const WeightId id : WeightsOf(source_.config())) {
      const int64_t bytes = BytesOf(id);
      if (shards_.empty() || shard_bytes + bytes > options_.shard_bytes_max) {
        shards_.emplace_back();
        shard_bytes = 0;
      }
      shards_.back().push_back(id);
      shard_bytes += bytes;
      bytes_total_ += bytes;
    }
  }

  std::string Header(const std::vector<WeightId>& ids) const {
    Json header = {{"__metadata__", {{"format", "pt"}}}};
    int64_t begin = 0;
    for (const WeightId id : ids) {
      const WeightShape shape = ShapeOf(source_.config(), id.kind);
      Json dims = Json::array({shape.columns});
      if (!shape.is_vector) dims.insert(dims.begin(), shape.rows);
      header[HfTensorName(id)] = {{"dtype", std::string(kernels::TraitsOf(options_.dtype).name)},
                                  {"shape", std::move(dims)},
                                  {"data_offsets", Json::array({begin, begin + BytesOf(id)})}};
      begin += BytesOf(id);
    }
    std::string text = header.dump();
    while (text.size() % kHeaderAlignment != 0) text += ' ';
    return text;
  }

  absl::Status WriteShard(const std::vector<WeightId>& ids, const std::string& file_name) {
    ASSIGN_OR_RETURN(const std::unique_ptr<FileWriter> file,
                     FileWriter::Create(absl::StrCat(directory_, "/", file_name)));
    const std::string header = Header(ids);
    const uint64_t header_bytes = header.size();
    RETURN_IF_ERROR(file->Append(
        absl::string_view(reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes))));
    RETURN_IF_ERROR(file->Append(header));
    for (const WeightId id : ids) {
      ASSIGN_OR_RETURN(const WeightTensor tensor, ReadConverted(source_, id, options_.dtype));
      CHECK_EQ(static_cast<int64_t>(tensor.bytes.size()), BytesOf(id));
      RETURN_IF_ERROR(file->Append(absl::string_view(
          reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size())));
      bytes_done_ += BytesOf(id);
      if (progress_ != nullptr) progress_(bytes_done_, bytes_total_);
    }
    return file->Close();
  }

  const WeightSource& source_;
  const std::string directory_;
  const ExportOptions options_;
  const LoadProgress& progress_;
  std::vector<std::vector<WeightId>> shards_;
  int64_t bytes_total_ = 0;
  int64_t bytes_done_ = 0;
};

}  // namespace

absl::Status ExportHf(const OpenedModel& model, const std::string& directory,
                      const ExportOptions& options, const LoadProgress& progress) {
  CHECK(options.dtype == DType::kBF16 || options.dtype == DType::kF32);
  ASSIGN_OR_RETURN(const std::string config, ConfigText(model, options.dtype));
  ASSIGN_OR_RETURN(const std::string tokenizer, TokenizerJsonText(model.tokenizer_data));
  RETURN_IF_ERROR(MakeEmptyDirectory(directory));
  RETURN_IF_ERROR(WriteNewFile(PathOf(directory, kHfConfig), config));
  RETURN_IF_ERROR(WriteNewFile(PathOf(directory, kHfGenerationConfig), GenerationText(model)));
  RETURN_IF_ERROR(WriteNewFile(PathOf(directory, kHfTokenizer), tokenizer));
  RETURN_IF_ERROR(
      WriteNewFile(PathOf(directory, kHfTokenizerConfig),
                   TokenizerConfigText(*model.tokenizer, model.weights->config().context_tokens,
                                       model.chat_template)));
  return WeightsWriter(*model.weights, directory, options, progress).Write();
}

}  // namespace ebb::model

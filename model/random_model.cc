#include "model/random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/check.h"
#include "base/rng.h"
#include "model/byte_alphabet.h"
#include "model/load_error.h"
#include "model/random_weights.h"

namespace ebb::model {
namespace {

constexpr uint64_t kModelSeed = 0x45626220;
constexpr float kBiasScale = 0.1f;

struct Shape {
  absl::string_view name;
  absl::string_view architecture;
  int32_t layers, width, ffn_width, heads, kv_heads, head_dim, context_tokens, vocab;
  float rms_epsilon;
  bool tied_head;
  double rope_base;
  double llama3_factor;  // 0: no scaling.
};

constexpr Shape kShapes[] = {
    {"llama-3.1-8b", "llama", 32, 4096, 14336, 32, 8, 128, 131072, 128256, 1e-5f, false, 500000, 8},
    {"llama-3.2-1b", "llama", 16, 2048, 8192, 32, 8, 64, 131072, 128256, 1e-5f, true, 500000, 32},
    {"qwen2.5-0.5b", "qwen2", 24, 896, 4864, 14, 2, 64, 32768, 151936, 1e-6f, true, 1e6, 0},
    {"qwen3-0.6b", "qwen3", 28, 1024, 3072, 16, 8, 128, 40960, 151936, 1e-6f, true, 1e6, 0},
    {"tiny-llama", "llama", 2, 128, 256, 4, 2, 32, 4096, 512, 1e-5f, false, 500000, 8},
    {"tiny-qwen2", "qwen2", 2, 96, 192, 3, 1, 32, 4096, 512, 1e-6f, true, 1e6, 0},
    {"tiny-qwen3", "qwen3", 2, 64, 192, 4, 2, 32, 4096, 512, 1e-6f, true, 1e6, 0},
};

ModelConfig ConfigOf(const Shape& shape) {
  ModelConfig config;
  config.architecture = std::string(shape.architecture);
  config.name = absl::StrCat("random ", shape.name);
  config.layers = shape.layers;
  config.width = shape.width;
  config.ffn_width = shape.ffn_width;
  config.heads = shape.heads;
  config.kv_heads = shape.kv_heads;
  config.head_dim = shape.head_dim;
  config.context_tokens = shape.context_tokens;
  config.vocab = shape.vocab;
  config.rms_epsilon = shape.rms_epsilon;
  config.tied_head = shape.tied_head;
  config.qkv_bias = shape.architecture == "qwen2";
  config.qk_norm = shape.architecture == "qwen3";
  config.rope_base = shape.rope_base;
  if (shape.llama3_factor != 0) {
    config.rope_scaling.type = RopeScaling::Type::kLlama3;
    config.rope_scaling.factor = shape.llama3_factor;
    config.rope_scaling.original_context_tokens =
        std::min<double>(config.rope_scaling.original_context_tokens, shape.context_tokens / 4.0);
  }
  config.rope_frequencies =
      RopeFrequencies(config.rope_base, config.head_dim / 2, config.rope_scaling);
  return config;
}

class Source final : public WeightSource {
 public:
  Source(std::string name, ModelConfig config)
      : name_(std::move(name)), config_(std::move(config)) {
    for (const WeightId id : WeightsOf(config_)) {
      const WeightShape shape = ShapeOf(config_, id.kind);
      total_bytes_ += shape.rows * shape.columns * static_cast<int64_t>(sizeof(uint16_t));
    }
  }

  const std::string& name() const override { return name_; }
  const ModelConfig& config() const override { return config_; }
  int64_t total_bytes() const override { return total_bytes_; }

  absl::StatusOr<WeightTensor> Read(WeightKind kind, int32_t layer) const override {
    const WeightShape shape = ShapeOf(config_, kind);
    WeightTensor tensor;
    tensor.dtype = kernels::DType::kBF16;
    tensor.rows = shape.rows;
    tensor.columns = shape.columns;
    const RandomFill fill = FillOf({kind, layer}, shape);
    std::vector<uint16_t> numbers(static_cast<size_t>(shape.rows * shape.columns), kBf16One);
    if (fill.scale != 0) {
      for (size_t i = 0; i < numbers.size(); ++i) {
        numbers[i] = RandomWeightBf16(fill.seed, fill.first_index + i, fill.scale);
      }
    }
    tensor.bytes.resize(numbers.size() * sizeof(uint16_t));
    std::memcpy(tensor.bytes.data(), numbers.data(), tensor.bytes.size());
    return tensor;
  }

  std::optional<RandomFill> Random(WeightKind kind, int32_t layer) const override {
    const WeightShape shape = ShapeOf(config_, kind);
    if (shape.is_vector) return std::nullopt;
    return FillOf({kind, layer}, shape);
  }

 private:
  static constexpr uint16_t kBf16One = 0x3F80;

  // Its scale is 0 for ones.
  static RandomFill FillOf(WeightId id, const WeightShape& shape) {
    RandomFill fill;
    const auto number = static_cast<uint64_t>(id.kind) << 32 | static_cast<uint32_t>(id.layer);
    fill.seed = base::RandomBits(kModelSeed, number);
    if (!shape.is_vector) {
      // A uniform number in +-a has the variance a^2 / 3.
      fill.scale = static_cast<float>(std::sqrt(3.0 / static_cast<double>(shape.columns)));
    } else if (id.kind == WeightKind::kQBias || id.kind == WeightKind::kKBias ||
               id.kind == WeightKind::kVBias) {
      fill.scale = kBiasScale;
    }
    return fill;
  }

  const std::string name_;
  const ModelConfig config_;
  int64_t total_bytes_ = 0;
};

std::string Utf8(uint32_t code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  CHECK_LT(code_point, 0x800u);
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

}  // namespace

const char kChatMlTemplate[] =
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

std::vector<absl::string_view> RandomShapes() {
  std::vector<absl::string_view> names;
  for (const Shape& shape : kShapes) names.push_back(shape.name);
  return names;
}

absl::StatusOr<std::unique_ptr<const WeightSource>> RandomWeightSource(const std::string& path) {
  const absl::string_view wanted = absl::StripPrefix(path, "random:");
  for (const Shape& shape : kShapes) {
    if (shape.name == wanted) return std::make_unique<const Source>(path, ConfigOf(shape));
  }
  return LoadError(
      absl::StatusCode::kInvalidArgument, path, "shape", kNoOffset,
      absl::StrCat("there is no such shape; there are ", absl::StrJoin(RandomShapes(), ", "), "."));
}

TokenizerData ByteTokenizerData(const std::string& source, const std::string& pre, int32_t vocab) {
  constexpr int32_t kByteCount = 256;
  constexpr absl::string_view kControlTokens[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  CHECK_GE(vocab, kByteCount + static_cast<int32_t>(std::size(kControlTokens)));
  TokenizerData data;
  data.source = source;
  data.model = "gpt2";
  data.pre = pre;
  data.add_bos = false;
  data.tokens.resize(static_cast<size_t>(vocab));
  data.token_types.resize(static_cast<size_t>(vocab), static_cast<int32_t>(TokenType::kUnused));
  const std::array<int16_t, 512> byte_of = MakeByteOfCodePoint();
  for (uint32_t code_point = 0; code_point < byte_of.size(); ++code_point) {
    if (byte_of[code_point] < 0) continue;
    const auto id = static_cast<size_t>(byte_of[code_point]);
    data.tokens[id] = Utf8(code_point);
    data.token_types[id] = static_cast<int32_t>(TokenType::kNormal);
  }
  size_t id = kByteCount;
  for (const absl::string_view token : kControlTokens) {
    data.tokens[id] = std::string(token);
    data.token_types[id++] = static_cast<int32_t>(TokenType::kControl);
  }
  data.eos_id = kByteCount;
  FillUnusedTokens(&data);
  return data;
}

}  // namespace ebb::model

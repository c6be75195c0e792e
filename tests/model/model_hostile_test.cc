// Well-formed GGUF files that hold no model that can run: docs/hostile-inputs.md, "The model".

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/reference/reference_backend.h"
#include "model/gguf_weights.h"
#include "model/llama.h"
#include "model/load_error.h"
#include "tests/model/gguf_builder.h"

namespace ebb::model {
namespace {

absl::Status LoadStatus(const GgufBuilder& builder) {
  auto file = builder.Open();
  if (!file.ok()) return file.status();
  const auto weights = GgufWeightSource(*std::move(file));
  if (!weights.ok()) return weights.status();
  const auto backend = kernels::MakeReferenceBackend();
  return LlamaModel::Load(**weights, backend.get()).status();
}

void ExpectRefused(const GgufBuilder& builder, const std::string& reason,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  const absl::Status status = LoadStatus(builder);
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_EQ(LoadErrorReason(status), reason) << status;
  EXPECT_LT(status.message().size(), 800u);
}

// Sets one key of a good model and expects a refusal.
template <typename Set>
void ExpectRefusedWith(const Set& set, const std::string& reason,
                       absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  GgufBuilder builder = TinyLlama();
  set(&builder);
  ExpectRefused(builder, reason, code);
}

TEST(ModelHostileTest, TheUndamagedModelLoads) {
  EXPECT_TRUE(LoadStatus(TinyLlama()).ok()) << LoadStatus(TinyLlama());
}

// ---- Architecture and hyperparameters

TEST(ModelHostileTest, ArchitectureMissingUnknownOrHuge) {
  ExpectRefusedWith([](auto* b) { b->Erase("general.architecture"); }, "missing_key",
                    absl::StatusCode::kNotFound);
  ExpectRefusedWith([](auto* b) { b->SetUint32("general.architecture", 1); }, "type");
  for (const std::string& name : {std::string("gemma3"), std::string(), std::string(10 << 20, 'x'),
                                  std::string("llama\0", 6)}) {
    ExpectRefusedWith([&](auto* b) { b->SetString("general.architecture", name); }, "arch",
                      absl::StatusCode::kUnimplemented);
  }
}

TEST(ModelHostileTest, LayerCount) {
  for (const uint32_t layers : {0u, 0xFFFFFFFFu}) {
    ExpectRefusedWith([&](auto* b) { b->SetUint32("llama.block_count", layers); }, "hparams");
  }
  ExpectRefusedWith([](auto* b) { b->SetUint32("llama.block_count", 3); }, "missing");
  ExpectRefusedWith([](auto* b) { b->SetUint32("llama.block_count", 1); }, "extra");
  ExpectRefusedWith([](auto* b) { b->Erase("llama.block_count"); }, "missing_key",
                    absl::StatusCode::kNotFound);
}

TEST(ModelHostileTest, HeadCounts) {
  const std::string heads = "llama.attention.head_count";
  const std::string kv_heads = "llama.attention.head_count_kv";
  for (const uint32_t count : {0u, 0xFFFFFFFFu, 5u}) {  // 5 does not divide the width.
    ExpectRefusedWith(
        [&](auto* b) {
          b->SetUint32(heads, count);
          b->SetUint32(kv_heads, 1);
        },
        "hparams");
  }
  for (const uint32_t count : {0u, 3u, 4u, 0xFFFFFFFFu}) {  // 3 and 4 do not divide the heads.
    ExpectRefusedWith([&](auto* b) { b->SetUint32(kv_heads, count); }, "hparams");
  }
  ExpectRefusedWith([&](auto* b) { b->SetInt32(heads, -2); }, "type");
  ExpectRefusedWith(
      [&](auto* b) {
        b->template SetArray<uint32_t>(heads, GgufType::kUint32, {2, 2});
      },
      "type");
}

TEST(ModelHostileTest, Widths) {
  for (const char* key : {"llama.embedding_length", "llama.feed_forward_length"}) {
    for (const uint32_t width : {0u, 0xFFFFFFFFu}) {
      ExpectRefusedWith([&](auto* b) { b->SetUint32(key, width); }, "hparams");
    }
    ExpectRefusedWith([&](auto* b) { b->SetUint64(key, uint64_t{1} << 40); }, "hparams");
    ExpectRefusedWith([&](auto* b) { b->SetUint32(key, 96); }, "shape");
  }
  for (const uint32_t length : {0u, 5000u}) {
    ExpectRefusedWith([&](auto* b) { b->SetUint32("llama.attention.key_length", length); },
                      "hparams");
  }
  ExpectRefusedWith([](auto* b) { b->SetUint32("llama.attention.key_length", 8); },
                    "shape");  // Fewer dimensions than rope turns would be found later.
  ExpectRefusedWith([](auto* b) { b->SetUint32("llama.attention.value_length", 8); }, "unsupported",
                    absl::StatusCode::kUnimplemented);
}

TEST(ModelHostileTest, ContextLength) {
  for (const uint64_t length : {uint64_t{0}, uint64_t{1} << 31, uint64_t{1} << 63}) {
    ExpectRefusedWith([&](auto* b) { b->SetUint64("llama.context_length", length); }, "hparams");
  }
}

TEST(ModelHostileTest, RopeDimensions) {
  for (const uint32_t dims : {0u, 15u, 18u, 0xFFFFFFFFu}) {
    ExpectRefusedWith([&](auto* b) { b->SetUint32("llama.rope.dimension_count", dims); },
                      "hparams");
  }
}

TEST(ModelHostileTest, FloatsThatAreNoNumbers) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float bad : {kNan, kInf, -kInf, 0.0f, -1.0f}) {
    for (const char* key : {"llama.rope.freq_base", "llama.attention.layer_norm_rms_epsilon",
                            "llama.rope.scaling.factor", "llama.rope.scale_linear"}) {
      ExpectRefusedWith([&](auto* b) { b->SetFloat(key, bad); }, "hparams");
    }
  }
  ExpectRefusedWith([](auto* b) { b->Erase("llama.attention.layer_norm_rms_epsilon"); }, "hparams");
}

TEST(ModelHostileTest, RopeScaling) {
  ExpectRefusedWith([](auto* b) { b->SetString("llama.rope.scaling.type", "yarn"); }, "unsupported",
                    absl::StatusCode::kUnimplemented);
  for (const float bad : {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN()}) {
    ExpectRefusedWith([&](auto* b) { b->AddTensor(FloatTensor("rope_freqs.weight", {8}, bad)); },
                      "hparams");
  }
  ExpectRefusedWith([](auto* b) { b->AddTensor(FloatTensor("rope_freqs.weight", {7}, 1.0f)); },
                    "shape");
}

TEST(ModelHostileTest, SlidingWindow) {
  ExpectRefusedWith([](auto* b) { b->SetUint32("llama.attention.sliding_window", 4); },
                    "unsupported", absl::StatusCode::kUnimplemented);
}

TEST(ModelHostileTest, Experts) {
  ExpectRefusedWith([](auto* b) { b->SetUint32("llama.expert_count", 8); }, "unsupported",
                    absl::StatusCode::kUnimplemented);
}

// ---- Tensors against hyperparameters

TEST(ModelHostileTest, EveryTensorMustBeThereInItsShape) {
  const GgufBuilder good = TinyLlama();
  for (const TensorDraft& tensor : good.tensors) {
    GgufBuilder without = good;
    without.EraseTensor(tensor.name);
    ExpectRefused(without, "missing");

    GgufBuilder wider = good;
    wider.Tensor(tensor.name) = FloatTensor(tensor.name, tensor.dims, 0.5f);
    wider.Tensor(tensor.name).dims.back() *= 2;
    wider.Tensor(tensor.name).data += wider.Tensor(tensor.name).data;
    // The embedding's rows are the vocabulary, which the metadata states too.
    ExpectRefused(wider, tensor.name == "token_embd.weight" ? "vocab" : "shape");
  }
}

TEST(ModelHostileTest, TensorsTooMany) {
  ExpectRefusedWith([](auto* b) { b->AddTensor(FloatTensor("blk.2.attn_norm.weight", {32}, 1)); },
                    "extra");
  ExpectRefusedWith([](auto* b) { b->AddTensor(FloatTensor("surprise", {32}, 1)); }, "extra");
  for (const char* name :
       {"blk.0.attn_output.bias", "blk.0.ffn_gate_inp.weight", "blk.0.ffn_up_exps.weight"}) {
    ExpectRefusedWith([&](auto* b) { b->AddTensor(FloatTensor(name, {32}, 1)); }, "unsupported",
                      absl::StatusCode::kUnimplemented);
  }
}

TEST(ModelHostileTest, BiasesAreAllThereOrNone) {
  ExpectRefusedWith([](auto* b) { b->AddTensor(FloatTensor("blk.0.attn_q.bias", {32}, 1)); },
                    "missing");
  ExpectRefusedWith([](auto* b) { b->AddTensor(FloatTensor("blk.1.attn_q.bias", {32}, 1)); },
                    "unsupported", absl::StatusCode::kUnimplemented);
}

TEST(ModelHostileTest, EmbeddingTransposed) {
  ExpectRefusedWith([](auto* b) { b->Tensor("token_embd.weight").dims = {8, 32}; }, "vocab");
}

TEST(ModelHostileTest, NormsMustBeFloats) {
  for (const char* name : {"output_norm.weight", "blk.1.ffn_norm.weight"}) {
    ExpectRefusedWith(
        [&](auto* b) {
          b->Tensor(name).type = 8;
          b->Tensor(name).data = std::string(34, '\0');
        },
        "shape");
  }
}

// ---- Numbers that are none

TEST(ModelHostileTest, NormsThatAreNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    ExpectRefusedWith(
        [&](auto* b) { b->Tensor("blk.0.attn_norm.weight").data.replace(40, 4, RawBytes(bad)); },
        "nonfinite");
  }
}

// A matrix of plain numbers that are zero but for the last.
void ExpectBadNumberRefused(uint32_t type, const std::string& bad) {
  GgufBuilder builder = TinyLlama();
  TensorDraft& tensor = builder.Tensor("blk.0.attn_k.weight");
  tensor.type = type;
  tensor.data = std::string(32 * 16 * bad.size(), '\0');
  EXPECT_TRUE(LoadStatus(builder).ok()) << LoadStatus(builder);
  tensor.data.replace(tensor.data.size() - bad.size(), bad.size(), bad);
  ExpectRefused(builder, "nonfinite");
}

TEST(ModelHostileTest, PlainWeightsThatAreNotFinite) {
  ExpectBadNumberRefused(/*type=F32*/ 0, RawBytes(std::numeric_limits<float>::quiet_NaN()));
  ExpectBadNumberRefused(/*type=F32*/ 0, RawBytes(-std::numeric_limits<float>::infinity()));
  ExpectBadNumberRefused(/*type=F16*/ 1, RawBytes(uint16_t{0x7C00}));
  ExpectBadNumberRefused(/*type=F16*/ 1, RawBytes(uint16_t{0x7E00}));
  ExpectBadNumberRefused(/*type=BF16*/ 30, RawBytes(uint16_t{0x7F80}));
  ExpectBadNumberRefused(/*type=BF16*/ 30, RawBytes(uint16_t{0xFFC0}));
}

// A tiny llama with rows of 256 in its last matrices, which are what the K formats need.
GgufBuilder WideLlama() {
  GgufBuilder builder = TinyLlama();
  builder.SetUint32("llama.feed_forward_length", 256);
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    const auto widen = [&](const std::string& part, const std::vector<uint64_t>& dims) {
      const std::string name = layer + part + ".weight";
      builder.Tensor(name) = FloatTensor(name, dims, 0.25f);
    };
    widen("ffn_gate", {32, 256});
    widen("ffn_up", {32, 256});
    widen("ffn_down", {256, 32});
  }
  return builder;
}

// A matrix of `type` whose blocks are zero but for one 16-bit number that is NaN or infinite.
void ExpectBadScaleRefused(uint32_t type, size_t block_elements, size_t block_bytes, size_t place) {
  const std::string name = "blk.1.ffn_down.weight";
  const size_t blocks = 256 / block_elements * 32;
  for (const uint16_t bad : {uint16_t{0x7E00}, uint16_t{0x7C00}, uint16_t{0xFC00}}) {
    GgufBuilder builder = WideLlama();
    TensorDraft& tensor = builder.Tensor(name);
    tensor.type = type;
    tensor.data = std::string(blocks * block_bytes, '\0');
    EXPECT_TRUE(LoadStatus(builder).ok()) << LoadStatus(builder);
    tensor.data.replace((blocks - 1) * block_bytes + place, 2, RawBytes(bad));
    ExpectRefused(builder, "nonfinite");
    EXPECT_TRUE(absl::StrContains(LoadStatus(builder).message(), name));
  }
}

TEST(ModelHostileTest, BlockScalesThatAreNotFinite) {
  ExpectBadScaleRefused(/*type=Q4_0*/ 2, 32, 18, 0);
  ExpectBadScaleRefused(/*type=Q4_1*/ 3, 32, 20, 0);
  ExpectBadScaleRefused(/*type=Q4_1*/ 3, 32, 20, 2);
  ExpectBadScaleRefused(/*type=Q5_0*/ 6, 32, 22, 0);
  ExpectBadScaleRefused(/*type=Q5_1*/ 7, 32, 24, 0);
  ExpectBadScaleRefused(/*type=Q5_1*/ 7, 32, 24, 2);
  ExpectBadScaleRefused(/*type=Q8_0*/ 8, 32, 34, 0);
  ExpectBadScaleRefused(/*type=Q4_K*/ 12, 256, 144, 0);
  ExpectBadScaleRefused(/*type=Q4_K*/ 12, 256, 144, 2);
  ExpectBadScaleRefused(/*type=Q5_K*/ 13, 256, 176, 0);
  ExpectBadScaleRefused(/*type=Q5_K*/ 13, 256, 176, 2);
  ExpectBadScaleRefused(/*type=Q6_K*/ 14, 256, 210, 208);
}

// Every bit of a block may be set but those of a scale that is not finite.
TEST(ModelHostileTest, AnyOtherBitsOfABlockAreWeights) {
  struct Case {
    uint32_t type;
    size_t block_bytes;
    std::vector<size_t> scale_places;
  };
  const Case cases[] = {{12, 144, {0, 2}}, {13, 176, {0, 2}}, {14, 210, {208}}};
  for (const Case& one : cases) {
    GgufBuilder builder = WideLlama();
    TensorDraft& tensor = builder.Tensor("blk.1.ffn_down.weight");
    tensor.type = one.type;
    tensor.data = std::string(32 * one.block_bytes, '\xFF');
    for (size_t begin = 0; begin < tensor.data.size(); begin += one.block_bytes) {
      for (const size_t place : one.scale_places) {
        tensor.data.replace(begin + place, 2, RawBytes(uint16_t{0xFBFF}));
      }
    }
    EXPECT_TRUE(LoadStatus(builder).ok()) << LoadStatus(builder);
  }
}

// ---- The vocabulary's shape

TEST(ModelHostileTest, VocabularySizes) {
  ExpectRefusedWith([](auto* b) { b->SetStringArray("tokenizer.ggml.tokens", {}); }, "vocab");
  ExpectRefusedWith(
      [](auto* b) {
        b->SetStringArray("tokenizer.ggml.tokens", {"a", "b", "c", "d", "e", "f", "g"});
      },
      "vocab");
  for (const uint32_t size : {0u, 7u, 9u, 0xFFFFFFFFu}) {
    ExpectRefusedWith([&](auto* b) { b->SetUint32("llama.vocab_size", size); }, "vocab");
  }
}

TEST(ModelHostileTest, TokenTypesAndScores) {
  const std::string types = "tokenizer.ggml.token_type";
  const std::string scores = "tokenizer.ggml.scores";
  ExpectRefusedWith(
      [&](auto* b) {
        b->template SetArray<int8_t>(types, GgufType::kInt8, {1, 1, 1, 1, 1, 1, 1, 3});
      },
      "type");
  ExpectRefusedWith(
      [&](auto* b) {
        b->template SetArray<uint8_t>(scores, GgufType::kUint8, {1, 1, 1, 1, 1, 1, 1, 3});
      },
      "type");
  ExpectRefusedWith(
      [&](auto* b) {
        b->template SetArray<int32_t>(types, GgufType::kInt32, {1, 1, 1});
      },
      "vocab");
  ExpectRefusedWith(
      [&](auto* b) {
        b->template SetArray<float>(scores, GgufType::kFloat32, std::vector<float>(9));
      },
      "vocab");
}

TEST(ModelHostileTest, SpecialIds) {
  for (const char* name : {"bos", "eos", "padding", "unknown", "eot"}) {
    const std::string key = absl::StrCat("tokenizer.ggml.", name, "_token_id");
    for (const uint32_t id : {8u, 0xFFFFFFFFu}) {
      ExpectRefusedWith([&](auto* b) { b->SetUint32(key, id); }, "special");
    }
    ExpectRefusedWith([&](auto* b) { b->SetInt32(key, -1); }, "special");
    ExpectRefusedWith([&](auto* b) { b->SetString(key, "7"); }, "special");
    GgufBuilder good = TinyLlama();
    good.SetUint32(key, 7);
    EXPECT_TRUE(LoadStatus(good).ok()) << LoadStatus(good);
  }
}

TEST(ModelHostileTest, AVocabularyOnlyFileIsNoModel) {
  GgufBuilder builder = TinyLlama();
  builder.tensors.clear();
  ExpectRefused(builder, "missing");
}

}  // namespace
}  // namespace ebb::model

#include "model/weight_source.h"

#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "base/check.h"
#include "gtest/gtest.h"
#include "model/gguf_weights.h"
#include "model/load_error.h"
#include "tests/model/gguf_builder.h"

namespace ebb::model {
namespace {

WeightTensor Vector(const std::vector<float>& numbers) {
  WeightTensor tensor;
  tensor.rows = 1;
  tensor.columns = static_cast<int64_t>(numbers.size());
  tensor.bytes.resize(numbers.size() * sizeof(float));
  std::memcpy(tensor.bytes.data(), numbers.data(), tensor.bytes.size());
  return tensor;
}

TEST(WeightSourceTest, PairsOfRowsComeTogetherHeadByHead) {
  // Two heads of six: pairs (0, 2), (1, 3), then two dimensions that are not turned.
  WeightTensor tensor = Vector({0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15});
  InterleaveRopePairs(/*head_dim=*/6, /*rope_pairs=*/2, &tensor);
  const std::vector<float> want = {0, 2, 1, 3, 4, 5, 10, 12, 11, 13, 14, 15};
  EXPECT_EQ(ToFloats(tensor), want);
  SplitRopePairs(6, 2, &tensor);
  EXPECT_EQ(ToFloats(tensor), (std::vector<float>{0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15}));
}

TEST(WeightSourceTest, RowsOfBlocksMoveWhole) {
  WeightTensor tensor;
  tensor.dtype = kernels::DType::kQ8_0;
  tensor.rows = 4;
  tensor.columns = 64;
  for (uint8_t row = 0; row < 4; ++row) tensor.bytes.insert(tensor.bytes.end(), 2 * 34, row);
  InterleaveRopePairs(/*head_dim=*/4, /*rope_pairs=*/2, &tensor);
  std::vector<uint8_t> want;
  for (const uint8_t row : {0, 2, 1, 3}) want.insert(want.end(), 2 * 34, row);
  EXPECT_EQ(tensor.bytes, want);
}

TEST(WeightSourceTest, ListsEveryWeightOnce) {
  ModelConfig config;
  config.layers = 3;
  config.tied_head = true;
  EXPECT_EQ(WeightsOf(config).size(), 2u + 3 * 9);
  config.tied_head = false;
  config.qkv_bias = true;
  config.qk_norm = true;
  std::set<std::pair<WeightKind, int32_t>> seen;
  for (const WeightId id : WeightsOf(config)) {
    EXPECT_TRUE(seen.emplace(id.kind, id.layer).second) << NameOf(id);
    EXPECT_TRUE(IsPerLayer(id.kind) || id.layer == 0);
  }
  EXPECT_EQ(seen.size(), 3u + 3 * 14);
  EXPECT_EQ(NameOf({WeightKind::kKBias, 2}), "layer 2 k_bias");
}

// A tiny llama's tensors under another architecture's keys.
GgufBuilder TinyVariant(const std::string& architecture) {
  GgufBuilder builder = TinyLlama();
  builder.SetString("general.architecture", architecture);
  for (auto& [key, value] : builder.values) {
    if (absl::StartsWith(key, "llama.")) key = architecture + key.substr(std::strlen("llama"));
  }
  for (const std::string& layer : {std::string("blk.0."), std::string("blk.1.")}) {
    if (architecture == "qwen2") {
      builder.AddTensor(FloatTensor(layer + "attn_q.bias", {32}, 0.5f));
      builder.AddTensor(FloatTensor(layer + "attn_k.bias", {16}, 0.5f));
      builder.AddTensor(FloatTensor(layer + "attn_v.bias", {16}, 0.5f));
    } else {
      builder.AddTensor(FloatTensor(layer + "attn_q_norm.weight", {16}, 1.0f));
      builder.AddTensor(FloatTensor(layer + "attn_k_norm.weight", {16}, 1.0f));
    }
  }
  return builder;
}

void NumberElements(TensorDraft* tensor) {
  std::string data;
  for (size_t i = 0; i < tensor->data.size() / sizeof(float); ++i) {
    data += RawBytes(static_cast<float>(i));
  }
  tensor->data = data;
}

std::unique_ptr<const WeightSource> MustOpen(const GgufBuilder& builder) {
  auto file = builder.Open();
  CHECK_OK(file.status());
  auto source = GgufWeightSource(*std::move(file));
  CHECK_OK(source.status());
  return *std::move(source);
}

TEST(GgufWeightSourceTest, Qwen2HasBiasesInSplitOrder) {
  GgufBuilder builder = TinyVariant("qwen2");
  NumberElements(&builder.Tensor("blk.1.attn_k.bias"));
  NumberElements(&builder.Tensor("blk.1.attn_v.bias"));
  NumberElements(&builder.Tensor("blk.1.attn_k.weight"));
  const auto source = MustOpen(builder);
  EXPECT_EQ(source->config().architecture, "qwen2");
  EXPECT_TRUE(source->config().qkv_bias);
  EXPECT_FALSE(source->config().qk_norm);
  const auto k_bias = source->Read(WeightKind::kKBias, 1);
  ASSERT_TRUE(k_bias.ok()) << k_bias.status();
  EXPECT_EQ(ToFloats(*k_bias),
            (std::vector<float>{0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15}));
  const auto v_bias = source->Read(WeightKind::kVBias, 1);
  ASSERT_TRUE(v_bias.ok());
  EXPECT_EQ(ToFloats(*v_bias)[1], 1.0f);
  const auto k = source->Read(WeightKind::kK, 1);
  ASSERT_TRUE(k.ok());
  EXPECT_EQ(ToFloats(*k)[32], 8 * 32.0f);  // Row 1 was row 8 of the file.
}

TEST(GgufWeightSourceTest, Qwen3HasHeadNormsInSplitOrder) {
  GgufBuilder builder = TinyVariant("qwen3");
  NumberElements(&builder.Tensor("blk.0.attn_q_norm.weight"));
  const auto source = MustOpen(builder);
  EXPECT_TRUE(source->config().qk_norm);
  EXPECT_FALSE(source->config().qkv_bias);
  const auto norm = source->Read(WeightKind::kQNorm, 0);
  ASSERT_TRUE(norm.ok()) << norm.status();
  EXPECT_EQ(ToFloats(*norm)[1], 8.0f);
}

TEST(GgufWeightSourceTest, LlamaRowsStayWhereTheyAre) {
  GgufBuilder builder = TinyLlama();
  NumberElements(&builder.Tensor("blk.0.attn_q.weight"));
  const auto source = MustOpen(builder);
  const auto q = source->Read(WeightKind::kQ, 0);
  ASSERT_TRUE(q.ok());
  EXPECT_EQ(ToFloats(*q)[32], 32.0f);
}

TEST(GgufWeightSourceTest, VariantsNeedTheirTensors) {
  for (const char* architecture : {"qwen2", "qwen3"}) {
    GgufBuilder builder = TinyVariant(architecture);
    builder.EraseTensor(std::string(architecture) == "qwen2" ? "blk.1.attn_v.bias"
                                                             : "blk.1.attn_k_norm.weight");
    auto file = builder.Open();
    ASSERT_TRUE(file.ok());
    const auto source = GgufWeightSource(*std::move(file));
    EXPECT_EQ(LoadErrorReason(source.status()), "missing") << source.status();
  }
}

TEST(GgufWeightSourceTest, NumbersThatAreNotFiniteAreToldByTheirTensor) {
  GgufBuilder builder = TinyLlama();
  builder.Tensor("blk.0.ffn_up.weight").data.replace(40, 4, RawBytes(uint32_t{0x7FC00000}));
  const auto source = MustOpen(builder);
  const auto tensor = source->Read(WeightKind::kUp, 0);
  EXPECT_EQ(LoadErrorReason(tensor.status()), "nonfinite");
  EXPECT_TRUE(absl::StrContains(tensor.status().message(), "blk.0.ffn_up.weight"));
}

}  // namespace
}  // namespace ebb::model

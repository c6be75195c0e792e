#include "model/export_hf.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "base/check.h"
#include "gtest/gtest.h"

namespace ebb::model {
namespace {

std::string NewDirectory() {
  std::string path = testing::TempDir() + "/export_XXXXXX";
  CHECK(mkdtemp(path.data()) != nullptr) << path;
  return path;
}

OpenedModel MustOpen(const std::string& path) {
  auto opened = OpenModel(path);
  CHECK_OK(opened.status());
  return *std::move(opened);
}

void ExpectSameConfig(const ModelConfig& a, const ModelConfig& b) {
  EXPECT_EQ(a.architecture, b.architecture);
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.ffn_width, b.ffn_width);
  EXPECT_EQ(a.heads, b.heads);
  EXPECT_EQ(a.kv_heads, b.kv_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.context_tokens, b.context_tokens);
  EXPECT_EQ(a.vocab, b.vocab);
  EXPECT_EQ(a.rms_epsilon, b.rms_epsilon);
  EXPECT_EQ(a.tied_head, b.tied_head);
  EXPECT_EQ(a.qkv_bias, b.qkv_bias);
  EXPECT_EQ(a.qk_norm, b.qk_norm);
  EXPECT_EQ(a.rope_frequencies, b.rope_frequencies);
}

void ExpectSameWeights(const WeightSource& a, const WeightSource& b) {
  for (const WeightId id : WeightsOf(a.config())) {
    const auto from_a = a.Read(id.kind, id.layer);
    const auto from_b = b.Read(id.kind, id.layer);
    ASSERT_TRUE(from_a.ok() && from_b.ok()) << NameOf(id);
    EXPECT_EQ(ToFloats(*from_a), ToFloats(*from_b)) << NameOf(id);
  }
}

void ExpectSameTokenizer(const OpenedModel& a, const OpenedModel& b) {
  EXPECT_EQ(a.tokenizer->eos_ids(), b.tokenizer->eos_ids());
  EXPECT_EQ(a.tokenizer->eos_id(), b.tokenizer->eos_id());
  EXPECT_EQ(a.tokenizer->bos_id(), b.tokenizer->bos_id());
  EXPECT_EQ(a.tokenizer->add_bos(), b.tokenizer->add_bos());
  EXPECT_EQ(a.tokenizer->vocabulary_size(), b.tokenizer->vocabulary_size());
  EXPECT_EQ(a.chat_template, b.chat_template);
  for (const std::string text :
       {"Hello, world! It's 12345 o'clock.", "  two  spaces\n\n\ttabs \r\n", "日本語 ñandú 😀",
        "<|im_start|>user<|im_end|><|endoftext|><|eot_id|>"}) {
    for (const bool special : {false, true}) {
      const auto ids = a.tokenizer->Encode(text, special);
      ASSERT_TRUE(ids.ok());
      EXPECT_EQ(*ids, *b.tokenizer->Encode(text, special)) << text;
    }
  }
}

class ExportHfTest : public testing::TestWithParam<const char*> {};

TEST_P(ExportHfTest, ReadsBackAsItWas) {
  const OpenedModel model = MustOpen(GetParam());
  for (const kernels::DType dtype : {kernels::DType::kBF16, kernels::DType::kF32}) {
    // Small shards in one case, one file in the other.
    ExportOptions options;
    options.dtype = dtype;
    if (dtype == kernels::DType::kBF16) options.shard_bytes_max = 100'000;
    const std::string directory = NewDirectory();
    int64_t last = 0, all = 0;
    const absl::Status status =
        ExportHf(model, directory, options, [&](int64_t done, int64_t total) {
          EXPECT_GT(done, last);
          last = done;
          all = total;
        });
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(last, all);
    EXPECT_EQ(access((directory + "/model.safetensors.index.json").c_str(), F_OK) == 0,
              dtype == kernels::DType::kBF16);
    const OpenedModel back = MustOpen(directory);
    EXPECT_TRUE(back.warnings.empty()) << back.warnings[0];
    ExpectSameConfig(model.weights->config(), back.weights->config());
    ExpectSameWeights(*model.weights, *back.weights);
    ExpectSameTokenizer(model, back);
  }
}

// All weights of these are bf16, so that neither format rounds.
INSTANTIATE_TEST_SUITE_P(Models, ExportHfTest,
                         testing::Values("random:tiny-llama", "random:tiny-qwen2",
                                         "random:tiny-qwen3", "tests/golden/tiny_llama",
                                         "tests/golden/tiny_qwen2", "tests/golden/tiny_qwen3",
                                         "tests/golden/tiny_qwen2.gguf",
                                         "tests/golden/tiny_qwen3.gguf"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = std::isalnum(c) ? c : '_';
                           return name;
                         });

TEST(ExportHfTest, ADirectoryThatHoldsSomethingIsLeftAlone) {
  const OpenedModel model = MustOpen("random:tiny-llama");
  const std::string directory = NewDirectory();
  std::ofstream(directory + "/mine") << "mine";
  EXPECT_TRUE(absl::IsAlreadyExists(ExportHf(model, directory, ExportOptions())));
  EXPECT_NE(access((directory + "/config.json").c_str(), F_OK), 0);
}

TEST(ExportHfTest, WhatConfigJsonCannotSayIsRefusedBeforeAnythingIsWritten) {
  class Altered final : public WeightSource {
   public:
    explicit Altered(ModelConfig config) : config_(std::move(config)) {}
    const std::string& name() const override { return name_; }
    const ModelConfig& config() const override { return config_; }
    int64_t total_bytes() const override { return 0; }
    absl::StatusOr<WeightTensor> Read(WeightKind, int32_t) const override {
      return absl::InternalError("nothing should be read");
    }

   private:
    const std::string name_ = "altered";
    const ModelConfig config_;
  };
  const std::string directory = NewDirectory() + "/new";
  const auto status_of = [&](auto alter) {
    OpenedModel model = MustOpen("random:tiny-llama");
    ModelConfig config = model.weights->config();
    alter(&config);
    model.weights = std::make_unique<Altered>(config);
    return ExportHf(model, directory, ExportOptions());
  };
  EXPECT_TRUE(absl::IsUnimplemented(status_of(
      [](ModelConfig* config) { config->rope_scaling.type = RopeScaling::Type::kFactors; })));
  EXPECT_TRUE(absl::IsUnimplemented(
      status_of([](ModelConfig* config) { config->rope_frequencies.pop_back(); })));
  EXPECT_TRUE(absl::IsUnimplemented(
      status_of([](ModelConfig* config) { config->qkv_bias = config->qk_norm = true; })));
  EXPECT_NE(access(directory.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace ebb::model

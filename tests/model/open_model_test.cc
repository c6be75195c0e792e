#include "model/open_model.h"

#include <fstream>
#include <string>

#include "base/check.h"
#include "gtest/gtest.h"
#include "model/load_error.h"
#include "tests/model/hf_builder.h"

namespace ebb::model {
namespace {

OpenedModel MustOpen(const std::string& path) {
  auto opened = OpenModel(path);
  CHECK_OK(opened.status());
  return *std::move(opened);
}

ModelConfig ConfigOf(const HfBuilder& builder) {
  return MustOpen(builder.Write()).weights->config();
}

TEST(OpenModelTest, ADirectoryIsNamedByItsLastPart) {
  const std::string directory = TinyHf().Write();
  const std::string name = directory.substr(directory.rfind('/') + 1);
  EXPECT_EQ(MustOpen(directory).name, name);
  EXPECT_EQ(MustOpen(directory + "//").name, name);
}

TEST(OpenModelTest, TheTemplatesFileGoesBeforeTheConfiguration) {
  HfBuilder builder = TinyHf();
  EXPECT_FALSE(MustOpen(builder.Write()).chat_template.has_value());
  builder.files["tokenizer_config.json"] = R"({"chat_template": "inline"})";
  EXPECT_EQ(MustOpen(builder.Write()).chat_template, "inline");
  builder.files["chat_template.jinja"] = "file";
  EXPECT_EQ(MustOpen(builder.Write()).chat_template, "file");
  builder.files["chat_template.jinja"] = std::nullopt;
  builder.files["tokenizer_config.json"] =
      R"({"chat_template": [{"name": "tools", "template": "t"},
                            {"name": "default", "template": "d"}]})";
  EXPECT_EQ(MustOpen(builder.Write()).chat_template, "d");
  builder.files["tokenizer_config.json"] = R"({"chat_template": []})";
  EXPECT_FALSE(MustOpen(builder.Write()).chat_template.has_value());
}

TEST(OpenModelTest, OneWeightsFileGoesBeforeAnIndex) {
  HfBuilder builder = TinyHf();
  builder.files["model.safetensors.index.json"] = "{}";
  EXPECT_TRUE(OpenModel(builder.Write()).ok());
}

TEST(HfConfigTest, DefaultsAreThoseOfTransformers) {
  HfBuilder builder = TinyHf();
  builder.config.erase("rms_norm_eps");
  builder.config.erase("rope_theta");
  const ModelConfig config = ConfigOf(builder);
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.rms_epsilon, 1e-6f);
  EXPECT_EQ(config.rope_base, 10000);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_FALSE(config.qkv_bias);
  EXPECT_TRUE(config.tied_head);
}

TEST(HfConfigTest, TheModelTypeServesWhereNoClassIsNamed) {
  HfBuilder builder = TinyHf();
  builder.config.erase("architectures");
  builder.config["model_type"] = "llama";
  EXPECT_EQ(ConfigOf(builder).architecture, "llama");
}

TEST(HfConfigTest, RopeInEitherVersionsPlace) {
  const Json scaling = {{"rope_type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 16}};
  HfBuilder old = TinyHf();
  old.config["rope_theta"] = 500.0;
  old.config["rope_scaling"] = scaling;
  HfBuilder current = TinyHf();
  current.config.erase("rope_theta");
  current.config["rope_parameters"] = scaling;
  current.config["rope_parameters"]["rope_theta"] = 500.0;
  const ModelConfig a = ConfigOf(old);
  const ModelConfig b = ConfigOf(current);
  EXPECT_EQ(a.rope_frequencies, b.rope_frequencies);
  EXPECT_EQ(a.rope_scaling.type, RopeScaling::Type::kLlama3);
  EXPECT_EQ(a.rope_scaling.original_context_tokens, 16);
  EXPECT_NE(a.rope_frequencies, ConfigOf(TinyHf()).rope_frequencies);
  // Without the original context it is the model's own.
  current.config["rope_parameters"].erase("original_max_position_embeddings");
  EXPECT_EQ(ConfigOf(current).rope_scaling.original_context_tokens, 64);
}

TEST(HfConfigTest, AWindowAsLongAsTheContextIsNone) {
  HfBuilder builder = TinyHf();
  builder.config["architectures"] = {"MistralForCausalLM"};
  builder.config["sliding_window"] = 64;
  EXPECT_EQ(ConfigOf(builder).architecture, "llama");
}

}  // namespace
}  // namespace ebb::model

#include "model/random_model.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/reference/reference_backend.h"
#include "model/chat_template.h"
#include "model/llama.h"
#include "model/load_error.h"
#include "model/open_model.h"
#include "model/random_weights.h"

namespace ebb::model {
namespace {

TEST(RandomModelTest, EveryShapeOpensWithoutAFile) {
  for (const absl::string_view shape : RandomShapes()) {
    const auto opened = OpenModel(absl::StrCat("random:", shape));
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(opened->name, shape);
    EXPECT_EQ(opened->tokenizer->vocabulary_size(), opened->weights->config().vocab);
    EXPECT_FALSE(opened->tokenizer->eos_ids().empty());
  }
}

TEST(RandomModelTest, TheShapesAreTheRealModels) {
  // Parameters as their makers publish them: 8.03 and 1.24 billion, 494 and 596 million.
  const auto bytes = [](const char* path) {
    const auto source = RandomWeightSource(path);
    return source.ok() ? (*source)->total_bytes() : -1;
  };
  EXPECT_EQ(bytes("random:llama-3.1-8b") / 2, 8'030'261'248);
  EXPECT_EQ(bytes("random:llama-3.2-1b") / 2, 1'235'814'400);
  EXPECT_EQ(bytes("random:qwen2.5-0.5b") / 2, 494'032'768);
  EXPECT_EQ(bytes("random:qwen3-0.6b") / 2, 596'049'920);
}

TEST(RandomModelTest, AnUnknownShapeIsRefusedWithTheKnownOnes) {
  const auto opened = OpenModel("random:llama-9000b");
  EXPECT_EQ(LoadErrorReason(opened.status()), "shape");
  EXPECT_TRUE(absl::StrContains(opened.status().message(), "tiny-llama"));
}

TEST(RandomModelTest, ReadGivesWhatRandomSays) {
  const auto source = RandomWeightSource("random:tiny-qwen2");
  ASSERT_TRUE(source.ok());
  uint64_t last_seed = 0;
  for (const WeightId id : WeightsOf((*source)->config())) {
    const auto tensor = (*source)->Read(id.kind, id.layer);
    ASSERT_TRUE(tensor.ok());
    const WeightShape shape = ShapeOf((*source)->config(), id.kind);
    EXPECT_EQ(tensor->rows, shape.rows);
    EXPECT_EQ(tensor->columns, shape.columns);
    const auto fill = (*source)->Random(id.kind, id.layer);
    EXPECT_EQ(fill.has_value(), !shape.is_vector) << NameOf(id);
    if (!fill.has_value()) continue;
    EXPECT_NE(fill->seed, last_seed) << NameOf(id);
    last_seed = fill->seed;
    std::vector<uint16_t> numbers(tensor->bytes.size() / 2);
    std::memcpy(numbers.data(), tensor->bytes.data(), tensor->bytes.size());
    for (size_t i = 0; i < numbers.size(); ++i) {
      ASSERT_EQ(numbers[i], RandomWeightBf16(fill->seed, fill->first_index + i, fill->scale));
    }
  }
}

TEST(RandomModelTest, MatricesKeepTheSpreadOfTheirInputs) {
  const auto source = RandomWeightSource("random:tiny-llama");
  ASSERT_TRUE(source.ok());
  const auto tensor = (*source)->Read(WeightKind::kDown, 1);
  ASSERT_TRUE(tensor.ok());
  double sum = 0, squares = 0;
  const std::vector<float> numbers = ToFloats(*tensor);
  for (const float x : numbers) {
    sum += x;
    squares += double{x} * x;
  }
  // 32,768 numbers of variance 1/256: their mean errs by 0.0625 / 181, their squares' by 0.5 %.
  EXPECT_NEAR(sum / static_cast<double>(numbers.size()), 0, 5 * 0.0625 / 181);
  EXPECT_NEAR(squares / static_cast<double>(numbers.size()) * 256, 1, 0.025);
  const auto norm = (*source)->Read(WeightKind::kFfnNorm, 0);
  ASSERT_TRUE(norm.ok());
  EXPECT_EQ(ToFloats(*norm), std::vector<float>(128, 1.0f));
}

TEST(RandomModelTest, TheTinyOnesLoadAndTheirTextsRoundTrip) {
  for (const char* path : {"random:tiny-llama", "random:tiny-qwen2", "random:tiny-qwen3"}) {
    const auto opened = OpenModel(path);
    ASSERT_TRUE(opened.ok()) << opened.status();
    const auto backend = kernels::MakeReferenceBackend();
    const auto model = LlamaModel::Load(*opened->weights, backend.get());
    ASSERT_TRUE(model.ok()) << model.status();
    std::string text;
    for (int byte = 1; byte < 128; ++byte) text += static_cast<char>(byte);
    text += "\xC3\xA9\xF0\x9F\x98\x80";
    const auto ids = opened->tokenizer->Encode(text, /*parse_special=*/false);
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(ids->size(), text.size());
    std::string back;
    for (const int32_t id : *ids) back += std::string(opened->tokenizer->TokenBytes(id));
    EXPECT_EQ(back, text);
    EXPECT_TRUE(ChatTemplate::Parse(*opened->chat_template).ok());
  }
}

}  // namespace
}  // namespace ebb::model

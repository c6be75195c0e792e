#include "model/gguf.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "model/load_error.h"
#include "tests/model/gguf_builder.h"

namespace ebb::model {
namespace {

std::unique_ptr<GgufFile> MustOpen(const GgufBuilder& builder) {
  auto file = builder.Open();
  CHECK(file.ok()) << file.status().ToString();
  return *std::move(file);
}

template <typename T>
std::string ReasonOf(const absl::StatusOr<T>& result) {
  return LoadErrorReason(result.status());
}

TEST(GgufTest, ReadsVersions2And3) {
  for (const uint32_t version : {2u, 3u}) {
    GgufBuilder builder = TinyLlama();
    builder.version = version;
    const auto file = MustOpen(builder);
    EXPECT_EQ(file->version(), version);
    EXPECT_EQ(file->tensors().size(), builder.tensors.size());
  }
}

TEST(GgufTest, EveryScalarType) {
  GgufBuilder builder;
  builder.SetRaw("u8", GgufType::kUint8, RawBytes<uint8_t>(200));
  builder.SetRaw("i8", GgufType::kInt8, RawBytes<int8_t>(-3));
  builder.SetRaw("u16", GgufType::kUint16, RawBytes<uint16_t>(60000));
  builder.SetRaw("i16", GgufType::kInt16, RawBytes<int16_t>(77));
  builder.SetUint32("u32", 4'000'000'000u);
  builder.SetInt32("i32", -1);
  builder.SetUint64("u64", uint64_t{1} << 40);
  builder.SetRaw("i64", GgufType::kInt64, RawBytes<int64_t>(5));
  builder.SetFloat("f32", 1.5f);
  builder.SetRaw("f64", GgufType::kFloat64, RawBytes<double>(0.25));
  builder.SetBool("yes", true);
  builder.SetString("text", std::string("a\0b", 3));
  const auto file = MustOpen(builder);

  EXPECT_EQ(*file->GetUint32("u8"), 200u);
  EXPECT_EQ(*file->GetUint32("u16"), 60000u);
  EXPECT_EQ(*file->GetUint32("i16"), 77u);
  EXPECT_EQ(*file->GetUint32("u32"), 4'000'000'000u);
  EXPECT_EQ(*file->GetUint64("u64"), uint64_t{1} << 40);
  EXPECT_EQ(*file->GetUint64("i64"), 5u);
  EXPECT_EQ(*file->GetFloat("f32"), 1.5f);
  EXPECT_EQ(*file->GetFloat("f64"), 0.25f);
  EXPECT_EQ(*file->GetBool("yes"), true);
  EXPECT_EQ(*file->GetString("text"), absl::string_view("a\0b", 3));
  EXPECT_EQ(ReasonOf(file->GetUint32("i8")), "type");
  EXPECT_EQ(ReasonOf(file->GetUint32("i32")), "type");
  EXPECT_EQ(ReasonOf(file->GetUint32("u64")), "type");
}

TEST(GgufTest, WrongTypesNameTheKeyAndBothTypes) {
  GgufBuilder builder = TinyLlama();
  builder.SetBool("flag", true);
  builder.SetRaw("huge", GgufType::kFloat64, RawBytes<double>(1e300));
  const auto file = MustOpen(builder);
  EXPECT_EQ(ReasonOf(file->GetUint32("flag")), "type");
  EXPECT_EQ(ReasonOf(file->GetFloat("llama.block_count")), "type");
  EXPECT_EQ(ReasonOf(file->GetFloat("huge")), "type");
  EXPECT_EQ(ReasonOf(file->GetString("flag")), "type");
  EXPECT_EQ(ReasonOf(file->GetBool("llama.block_count")), "type");
  EXPECT_EQ(ReasonOf(file->GetStringArray("tokenizer.ggml.token_type")), "type");
  EXPECT_EQ(ReasonOf(file->GetInt32Array("tokenizer.ggml.tokens")), "type");
  EXPECT_EQ(ReasonOf(file->GetFloatArray("tokenizer.ggml.token_type")), "type");
  const absl::Status status = file->GetFloatArray("tokenizer.ggml.token_type").status();
  EXPECT_TRUE(absl::StrContains(status.message(), "tokenizer.ggml.token_type")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "array of int32")) << status;
}

TEST(GgufTest, MissingKeysAreNotFound) {
  const auto file = MustOpen(TinyLlama());
  EXPECT_FALSE(file->Has("absent"));
  EXPECT_TRUE(file->Has("llama.block_count"));
  EXPECT_EQ(file->GetString("absent").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(file->GetInt32Array("absent")), "missing_key");
  EXPECT_EQ(file->ReadTensor("absent").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(file->FindTensor("absent"), nullptr);
}

TEST(GgufTest, Arrays) {
  GgufBuilder builder;
  builder.SetStringArray("s", {"one", "", "three"});
  builder.SetArray<int32_t>("i", GgufType::kInt32, {1, -2, 3});
  builder.SetArray<uint32_t>("u", GgufType::kUint32, {1, 0x80000000u});
  builder.SetArray<float>("f", GgufType::kFloat32, {0.5f, -1.0f});
  builder.SetArray<int8_t>("i8", GgufType::kInt8, {1, 2, 3, 4});
  builder.SetArray<int32_t>("none", GgufType::kInt32, {});
  const auto file = MustOpen(builder);

  const GgufStrings& strings = **file->GetStringArray("s");
  ASSERT_EQ(strings.size(), 3u);
  EXPECT_EQ(strings[0], "one");
  EXPECT_EQ(strings[1], "");
  EXPECT_EQ(strings[2], "three");
  EXPECT_EQ(*file->GetInt32Array("i"), (std::vector<int32_t>{1, -2, 3}));
  EXPECT_EQ(*file->GetFloatArray("f"), (std::vector<float>{0.5f, -1.0f}));
  EXPECT_TRUE(file->GetInt32Array("none")->empty());
  EXPECT_EQ(ReasonOf(file->GetInt32Array("u")), "type");   // Does not fit.
  EXPECT_EQ(ReasonOf(file->GetInt32Array("i8")), "type");  // One-byte elements are not four.
  EXPECT_EQ(ReasonOf(file->GetFloatArray("i8")), "type");
}

TEST(GgufTest, LongMetadataCrossesTheReadBuffer) {
  GgufBuilder builder;
  std::vector<std::string> words;
  for (int i = 0; i < 30'000; ++i) words.push_back("word" + std::to_string(i));
  builder.SetStringArray("words", words);
  builder.SetUint32("last", 7);
  const auto file = MustOpen(builder);
  const GgufStrings& read = **file->GetStringArray("words");
  ASSERT_EQ(read.size(), words.size());
  for (size_t i = 0; i < words.size(); ++i) ASSERT_EQ(read[i], words[i]);
  EXPECT_EQ(*file->GetUint32("last"), 7u);
}

TEST(GgufTest, TensorsHaveTheirShapeAndBytes) {
  GgufBuilder builder;
  builder.alignment = 64;
  builder.SetUint32("general.alignment", 64);
  builder.AddTensor(FloatTensor("a", {3, 2}, 1.5f));
  TensorDraft blocks;
  blocks.name = "b";
  blocks.dims = {64, 3};
  blocks.type = 3;
  for (int i = 0; i < 6 * 20; ++i) blocks.data.push_back(static_cast<char>(i));
  builder.AddTensor(blocks);
  const auto file = MustOpen(builder);

  const GgufTensor* a = file->FindTensor("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, kernels::DType::kF32);
  EXPECT_EQ(a->dim_count, 2);
  EXPECT_EQ(a->dims, (std::array<int64_t, 4>{3, 2, 1, 1}));
  EXPECT_EQ(a->bytes, 24u);
  EXPECT_EQ(a->offset % 64, 0u);
  const std::vector<uint8_t> a_bytes = *file->ReadTensor("a");
  const std::vector<uint8_t> b_bytes = *file->ReadTensor("b");
  EXPECT_EQ(std::string(a_bytes.begin(), a_bytes.end()), builder.tensors[0].data);
  EXPECT_EQ(std::string(b_bytes.begin(), b_bytes.end()), blocks.data);
}

TEST(GgufTest, TensorsMayStandInAnyOrderAndApart) {
  GgufBuilder builder;
  builder.AddTensor(FloatTensor("first", {8}, 1.0f));
  builder.AddTensor(FloatTensor("second", {8}, 2.0f));
  builder.tensors[0].offset = 96;  // Behind the second, with a gap between.
  builder.tensors[1].offset = 32;
  builder.trailing = std::string(64, '\0');
  const auto file = MustOpen(builder);
  EXPECT_TRUE(file->ReadTensor("first").ok());
}

TEST(GgufTest, AVocabularyOnlyFileOpens) {
  GgufBuilder builder = TinyLlama();
  builder.tensors.clear();
  const auto file = MustOpen(builder);
  EXPECT_TRUE(file->tensors().empty());
  EXPECT_EQ((*file->GetStringArray("tokenizer.ggml.tokens"))->size(), 8u);
}

TEST(LoadErrorTest, EscapesAndCuts) {
  EXPECT_EQ(Printable("a\x1B\n"), "a\\x1b\\n");
  const std::string cut = Printable(std::string(10'000'000, 'x'));
  EXPECT_LT(cut.size(), 120u);
  EXPECT_TRUE(absl::StrContains(cut, "(10000000 bytes)"));
  const absl::Status status =
      LoadError(absl::StatusCode::kInvalidArgument, "a\nb.gguf", "magic", 12, "It is no model.");
  EXPECT_EQ(status.message(), "a\\nb.gguf: refused (reason=magic, offset=12): It is no model.");
  EXPECT_EQ(LoadErrorReason(status), "magic");
  EXPECT_EQ(LoadErrorReason(absl::InternalError("else")), "");
}

}  // namespace
}  // namespace ebb::model

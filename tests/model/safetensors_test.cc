#include "model/safetensors.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "model/load_error.h"
#include "tests/model/gguf_builder.h"
#include "tests/model/hf_builder.h"
#include "tests/model/seed.h"

namespace ebb::model {
namespace {

std::vector<HfTensorDraft> Drafts() {
  HfTensorDraft half;
  half.name = "b";
  half.dtype = "BF16";
  half.shape = {3};
  half.data = std::string("\x80\x3f\x00\x40\x40\x40", 6);
  HfTensorDraft scalar = FloatsDraft("scalar", {}, 1.5f);
  return {FloatsDraft("a", {2, 3}, 0.5f), half, scalar};
}

TEST(SafetensorsTest, TensorsAreWhereTheHeaderSays) {
  const auto file =
      SafetensorsFile::Read(std::make_unique<MemorySource>(SafetensorsBytes(Drafts())));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->tensors().size(), 3u);
  const SafetensorsTensor* a = (*file)->FindTensor("a");
  const SafetensorsTensor* b = (*file)->FindTensor("b");
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ((*file)->FindTensor("__metadata__"), nullptr);
  EXPECT_EQ(a->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(a->dtype, kernels::DType::kF32);
  EXPECT_EQ(b->dtype, kernels::DType::kBF16);
  EXPECT_TRUE((*file)->FindTensor("scalar")->shape.empty());
  const auto bytes = (*file)->ReadTensor(*b);
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(*bytes, (std::vector<uint8_t>{0x80, 0x3f, 0x00, 0x40, 0x40, 0x40}));
  EXPECT_EQ((*file)->trailing_bytes(), 0u);
}

TEST(SafetensorsTest, EveryFailingReadIsReported) {
  for (int64_t read = 0; read < 3; ++read) {
    auto source = std::make_unique<MemorySource>(SafetensorsBytes(Drafts()));
    source->FailFromRead(read);
    const auto file = SafetensorsFile::Read(std::move(source));
    if (read < 2) {
      EXPECT_EQ(file.status().code(), absl::StatusCode::kDataLoss) << file.status();
      continue;
    }
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ((*file)->ReadTensor((*file)->tensors()[0]).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST(SafetensorsTest, RandomDamage) {
  const std::string whole = SafetensorsBytes(Drafts());
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, whole.data(), sizeof(header_bytes));
  const uint64_t seed = TestSeed(1);
  base::Rng rng(seed);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = whole;
    for (int64_t hits = rng.Between(1, 3); hits > 0; --hits) {
      const auto at = static_cast<size_t>(rng.Between(0, static_cast<int64_t>(header_bytes) + 7));
      // Digits often, so that the header stays JSON.
      bytes[at] = static_cast<char>(rng.Chance(0.7) ? rng.Between('0', '9') : rng.Bits());
    }
    const auto file = SafetensorsFile::Read(std::make_unique<MemorySource>(bytes));
    if (!file.ok()) {
      ASSERT_NE(LoadErrorReason(file.status()), "") << "SEED=" << seed << file.status();
      continue;
    }
    for (const SafetensorsTensor& tensor : (*file)->tensors()) {
      ASSERT_LE(tensor.offset + tensor.bytes, bytes.size()) << "SEED=" << seed;
      ASSERT_TRUE((*file)->ReadTensor(tensor).ok()) << "SEED=" << seed;
    }
  }
}

}  // namespace
}  // namespace ebb::model

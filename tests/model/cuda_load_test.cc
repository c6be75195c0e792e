// Weights on their way into a device's memory (the fake CUDA library's): every format, in pieces;
// what lies where; what is refused; what fails half-way leaves nothing behind.

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "base/rng.h"
#include "device/cuda/cuda_status.h"
#include "device/cuda/fake/fake_cuda.h"
#include "gtest/gtest.h"
#include "kernels/cuda/library/fake_api.h"
#include "kernels/dequantize.h"
#include "model/cuda_upload.h"
#include "model/gguf.h"
#include "model/gguf_weights.h"
#include "model/llama_cuda.h"
#include "model/random_model.h"
#include "tests/model/seed.h"

namespace ebb::model {
namespace {

using device::FakeCuda;
using device::FakeCudaCall;
using kernels::DType;

class CudaLoadTest : public testing::Test {
 protected:
  void SetUp() override {
    auto device = device::CudaDevice::Open(&library_, 0);
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
  }
  FakeCuda& fake() { return FakeCuda::Of(device_->context()); }

  template <typename T>
  std::vector<T> Download(const void* from, size_t count) {
    auto stream = device::CudaStream::Create(device_.get(), {});
    EXPECT_TRUE(stream.ok()) << stream.status();
    std::vector<T> out(count);
    EXPECT_EQ(device_->api().copy_to_host((*stream)->native(), out.data(), from,
                                          static_cast<int64_t>(count * sizeof(T))),
              EBB_CUDA_OK);
    EXPECT_EQ(device_->api().stream_synchronize((*stream)->native()), EBB_CUDA_OK);
    return out;
  }

  // The numbers of a weight as the source reads it, rounded to bf16.
  static std::vector<uint16_t> Bf16Of(const WeightSource& source, WeightKind kind, int32_t layer) {
    const auto tensor = source.Read(kind, layer);
    EXPECT_TRUE(tensor.ok()) << tensor.status();
    std::vector<float> numbers(static_cast<size_t>(tensor->rows * tensor->columns));
    kernels::Dequantize(tensor->dtype, tensor->bytes, absl::MakeSpan(numbers));
    std::vector<uint16_t> bits;
    for (const float number : numbers) bits.push_back(kernels::FloatToBf16(number));
    return bits;
  }

  const device::CudaLibrary library_{EbbCudaFakeApi()};
  std::unique_ptr<device::CudaDevice> device_;
};

// Each format's bytes, of any content but scales that are not finite, in many small pieces.
TEST_F(CudaLoadTest, EveryFormatArrivesAsBf16) {
  base::Rng rng(TestSeed(21));
  constexpr int64_t kCount = 9 * 1024 + 256 * 3;
  for (int id = 0; id < kernels::kDTypeCount; ++id) {
    const auto dtype = static_cast<DType>(id);
    const kernels::DTypeTraits traits = kernels::TraitsOf(dtype);
    std::vector<uint8_t> bytes(
        static_cast<size_t>(kCount / traits.block_elements * traits.block_bytes));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng.Bits());
    // Exponents of the numbers, or of the blocks' scales, stay small.
    const size_t step = static_cast<size_t>(traits.block_bytes);
    for (size_t i = 0; i < bytes.size(); i += step) {
      if (dtype == DType::kF32) {
        bytes[i + 3] &= 0x3F;
      } else {
        bytes[i + (dtype == DType::kQ6_K ? 209 : 1)] &= 0x3F;
        if (kernels::QuantTraitsOf(dtype).has_minimum) bytes[i + 3] &= 0x3F;
      }
    }
    std::vector<float> numbers(kCount);
    kernels::Dequantize(dtype, bytes, absl::MakeSpan(numbers));
    std::vector<uint16_t> want;
    for (const float number : numbers) want.push_back(kernels::FloatToBf16(number));

    auto memory = device_->Alloc(kCount * 2);
    ASSERT_TRUE(memory.ok()) << memory.status();
    auto upload = CudaUpload::Create(device_.get(), /*buffer_bytes=*/64 * 11);
    ASSERT_TRUE(upload.ok()) << upload.status();
    ASSERT_TRUE((*upload)->CopyAsBf16(dtype, bytes, memory->data()).ok());
    // What is read before Copy returns may be overwritten at once.
    std::fill(bytes.begin(), bytes.end(), 0);
    ASSERT_TRUE((*upload)->Finish().ok());
    EXPECT_EQ(Download<uint16_t>(memory->data(), kCount), want) << traits.name;
  }
}

TEST_F(CudaLoadTest, ANumberThatBf16LacksIsNamed) {
  auto memory = device_->Alloc(64);
  auto upload = CudaUpload::Create(device_.get(), 64);
  ASSERT_TRUE(memory.ok() && upload.ok());
  std::vector<float> numbers(32, 1.0f);
  numbers[17] = std::numeric_limits<float>::max();  // Rounds to an infinity.
  const absl::Span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(numbers.data()), 128);
  const absl::Status status = (*upload)->CopyAsBf16(DType::kF32, bytes, memory->data());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "number 17 ")) << status;
}

// q, k and v lie together, gate and up too; random weights, made on the device, are those that Read
// gives.
TEST_F(CudaLoadTest, EveryWeightIsInItsPlace) {
  for (const char* path : {"random:tiny-llama", "random:tiny-qwen2", "random:tiny-qwen3"}) {
    const auto source = RandomWeightSource(path);
    ASSERT_TRUE(source.ok()) << source.status();
    const ModelConfig& config = (*source)->config();
    int64_t done = 0, total = 0;
    const auto weights =
        CudaLlamaWeights::Load(**source, device_.get(), [&](int64_t bytes_done, int64_t all) {
          EXPECT_GT(bytes_done, done);
          done = bytes_done;
          total = all;
        });
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ(done, total);
    EXPECT_EQ(total, CudaLlamaWeights::BytesOf(config));
    EXPECT_EQ((*weights)->bytes(), total);
    EXPECT_EQ((*weights)->head() == (*weights)->embedding(), config.tied_head);

    const auto expect_matrix = [&](const uint16_t* at, std::vector<WeightKind> kinds,
                                   int32_t layer) {
      std::vector<uint16_t> want;
      for (const WeightKind kind : kinds) {
        const std::vector<uint16_t> part = Bf16Of(**source, kind, layer);
        want.insert(want.end(), part.begin(), part.end());
      }
      EXPECT_EQ(Download<uint16_t>(at, want.size()), want) << path << NameOf({kinds[0], layer});
    };
    const auto expect_vector = [&](const float* at, std::vector<WeightKind> kinds, int32_t layer) {
      std::vector<float> want;
      for (const WeightKind kind : kinds) {
        const auto tensor = (*source)->Read(kind, layer);
        ASSERT_TRUE(tensor.ok());
        const std::vector<float> part = ToFloats(*tensor);
        want.insert(want.end(), part.begin(), part.end());
      }
      EXPECT_EQ(Download<float>(at, want.size()), want) << path << NameOf({kinds[0], layer});
    };
    expect_matrix((*weights)->embedding(), {WeightKind::kEmbedding}, 0);
    if (!config.tied_head) expect_matrix((*weights)->head(), {WeightKind::kHead}, 0);
    expect_vector((*weights)->output_norm(), {WeightKind::kOutputNorm}, 0);
    EXPECT_EQ(Download<float>((*weights)->rope_frequencies(), config.rope_frequencies.size()),
              config.rope_frequencies);
    for (int32_t i = 0; i < config.layers; ++i) {
      const CudaLlamaLayer& layer = (*weights)->layer(i);
      expect_matrix(layer.qkv, {WeightKind::kQ, WeightKind::kK, WeightKind::kV}, i);
      expect_matrix(layer.attention_out, {WeightKind::kAttentionOut}, i);
      expect_matrix(layer.gate_up, {WeightKind::kGate, WeightKind::kUp}, i);
      expect_matrix(layer.down, {WeightKind::kDown}, i);
      expect_vector(layer.attention_norm, {WeightKind::kAttentionNorm}, i);
      expect_vector(layer.ffn_norm, {WeightKind::kFfnNorm}, i);
      ASSERT_EQ(layer.qkv_bias != nullptr, config.qkv_bias);
      ASSERT_EQ(layer.q_norm != nullptr, config.qk_norm);
      ASSERT_EQ(layer.k_norm != nullptr, config.qk_norm);
      if (config.qkv_bias) {
        expect_vector(layer.qkv_bias, {WeightKind::kQBias, WeightKind::kKBias, WeightKind::kVBias},
                      i);
      }
      if (config.qk_norm) {
        expect_vector(layer.q_norm, {WeightKind::kQNorm}, i);
        expect_vector(layer.k_norm, {WeightKind::kKNorm}, i);
      }
    }
  }
}

TEST_F(CudaLoadTest, ModelsThatTheKernelsCannotRunAreRefused) {
  auto file = GgufFile::Open("tests/golden/forward/tiny_q4_0.gguf");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto weights = GgufWeightSource(*std::move(file));
  ASSERT_TRUE(weights.ok()) << weights.status();
  const auto model = CudaLlama::Load(**weights, device_.get());
  EXPECT_EQ(model.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_TRUE(absl::StrContains(model.status().message(), "heads of 16 dimensions"))
      << model.status();
  EXPECT_EQ(fake().alloc_bytes(), 0);

  const auto source = RandomWeightSource("random:tiny-llama");
  ASSERT_TRUE(source.ok());
  ModelConfig config = (*source)->config();
  EXPECT_TRUE(CheckCudaSupports(config).ok());
  config.vocab += 1;
  EXPECT_TRUE(absl::StrContains(CheckCudaSupports(config).message(), "vocabulary of "));
  config = (*source)->config();
  config.heads = 129 * config.kv_heads;
  EXPECT_EQ(CheckCudaSupports(config).code(), absl::StatusCode::kUnimplemented);
}

TEST_F(CudaLoadTest, TooLittleMemoryIsToldInNumbers) {
  const auto source = RandomWeightSource("random:tiny-llama");
  ASSERT_TRUE(source.ok());
  const auto free_bytes = device_->FreeBytes();
  ASSERT_TRUE(free_bytes.ok());
  fake().SetPeerBytes(*free_bytes - 1024);
  const auto model = CudaLlama::Load(**source, device_.get());
  EXPECT_EQ(model.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(model.status().message(), " MiB in bf16")) << model.status();
  fake().SetPeerBytes(0);
  EXPECT_TRUE(CudaLlama::Load(**source, device_.get()).ok());
}

// The fake CHECKs, when the device closes, that nothing is left.
TEST_F(CudaLoadTest, AFailureHalfWayLeavesNothing) {
  const auto source = RandomWeightSource("random:tiny-qwen2");
  ASSERT_TRUE(source.ok());
  const FakeCudaCall calls[] = {FakeCudaCall::kAlloc,        FakeCudaCall::kHostAlloc,
                                FakeCudaCall::kStreamCreate, FakeCudaCall::kEventCreate,
                                FakeCudaCall::kEventRecord,  FakeCudaCall::kLaunch};
  for (const FakeCudaCall call : calls) {
    fake().FailNth(call, 1);
    EXPECT_FALSE(CudaLlama::Load(**source, device_.get()).ok()) << static_cast<int>(call);
    EXPECT_EQ(fake().alloc_bytes(), 0);
  }
  EXPECT_TRUE(CudaLlama::Load(**source, device_.get()).ok());
  fake().LoseAtLaunch(5);
  EXPECT_TRUE(device::IsDeviceLost(CudaLlama::Load(**source, device_.get()).status()));
}

}  // namespace
}  // namespace ebb::model

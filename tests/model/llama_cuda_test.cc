// CudaLlama on the fake CUDA library (the real kernels, on the host) against transformers' logits
// and the reference form, and against itself in other chunks, kernels and company.

#include "model/llama_cuda.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/library/fake_api.h"
#include "kernels/reference/reference_backend.h"
#include "model/gguf.h"
#include "model/gguf_weights.h"
#include "model/llama.h"
#include "model/open_model.h"
#include "tests/model/cuda_model_runner.h"
#include "tests/model/golden_files.h"

namespace ebb::model {
namespace {

// bf16 keeps 8 bits: each rounding errs by up to 2^-9 = 0.2 % of a number. On its way to a logit a
// number is rounded once by each of norm, product, rotation, attention, norm, product, SwiGLU in
// each of two or three layers and by the last norm, and the keys and values once more: about 20
// independent roundings, 20^0.5 * 0.2 % = 1 % of the logits' spread in the mean at most. What was
// seen is 0.77 %; the largest of some ten thousand logits, whose rows differ in how much they err,
// 4.7 %. A missing bias or norm, a wrong mask or rotation gives 50 % or more.
constexpr float kMeanTolerance = 0.01f;
constexpr float kLargestTolerance = 0.07f;

struct Difference {
  double mean = 0;     // Root of the mean square, over the spread of `want`.
  double largest = 0;  // Likewise.
};

// NaN makes both NaN.
Difference Compare(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  double square = 0, spread = 0, largest = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(double{got[i]} - want[i]);
    square += error * error;
    spread += double{want[i]} * want[i];
    if (!(error <= largest)) largest = error;
  }
  const double unit = std::sqrt(spread / static_cast<double>(want.size()));
  return {std::sqrt(square / static_cast<double>(want.size())) / unit, largest / unit};
}

void ExpectClose(const std::vector<float>& got, const std::vector<float>& want,
                 const Difference& most = {kMeanTolerance, kLargestTolerance}) {
  const Difference difference = Compare(got, want);
  EXPECT_LE(difference.mean, most.mean);
  EXPECT_LE(difference.largest, most.largest);
  std::cout << "differences: mean " << difference.mean << ", largest " << difference.largest
            << "\n";
}

class LlamaCudaTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto device = device::CudaDevice::Open(&library_, 0);
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    const std::string path = std::string("tests/golden/") + GetParam();
    auto opened = OpenModel(path);
    ASSERT_TRUE(opened.ok()) << opened.status();
    opened_ = *std::move(opened);
    auto model = CudaLlama::Load(*opened_.weights, device_.get());
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    prompts_ = ReadTinyPrompts(path.substr(0, path.find(".gguf")) + "/logits.bin");
    vocab_ = static_cast<size_t>(model_->config().vocab);
  }

  CudaModelRunner::Options Options(uint64_t shuffle_seed, bool batch_invariant = false) const {
    CudaModelRunner::Options options;
    options.shape.sequence_count = static_cast<int32_t>(prompts_.size());
    options.shape.tokens_max = 264;
    options.shape.shuffle_seed = shuffle_seed;
    options.batch_invariant = batch_invariant;
    return options;
  }

  // The first tokens of a prompt, for what need not be long.
  std::vector<int32_t> Ids(size_t prompt, size_t count) const {
    const std::vector<int32_t>& ids = prompts_[prompt].ids;
    return std::vector<int32_t>(ids.begin(), ids.begin() + std::min(count, ids.size()));
  }
  size_t LongestPrompt() const {
    const auto longest = std::max_element(
        prompts_.begin(), prompts_.end(),
        [](const TinyPrompt& a, const TinyPrompt& b) { return a.ids.size() < b.ids.size(); });
    return static_cast<size_t>(longest - prompts_.begin());
  }
  std::vector<float> Row(const std::vector<float>& logits, size_t row) const {
    return std::vector<float>(logits.begin() + row * vocab_, logits.begin() + (row + 1) * vocab_);
  }

  const device::CudaLibrary library_{EbbCudaFakeApi()};
  std::unique_ptr<device::CudaDevice> device_;
  OpenedModel opened_;
  std::unique_ptr<CudaLlama> model_;
  std::vector<TinyPrompt> prompts_;
  size_t vocab_ = 0;
};

TEST_P(LlamaCudaTest, LogitsAreTransformers) {
  CudaModelRunner runner(*model_, Options(/*shuffle_seed=*/3));
  std::vector<StepPart> parts;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    parts.push_back({static_cast<int32_t>(i), prompts_[i].ids});
  }
  const std::vector<float> all = runner.Run(CudaAttention::kTiles, parts, /*all_rows=*/true);
  std::vector<float> got, want;
  size_t first_row = 0;
  for (const TinyPrompt& prompt : prompts_) {
    for (const int32_t row : prompt.rows) {
      const auto begin = all.begin() + (first_row + row) * vocab_;
      got.insert(got.end(), begin, begin + vocab_);
    }
    want.insert(want.end(), prompt.logits.begin(), prompt.logits.end());
    first_row += prompt.ids.size();
  }
  ExpectClose(got, want);
}

// The rest of a prompt token by token, by the decode kernel: what the reference form says.
TEST_P(LlamaCudaTest, DecodeIsTheReference) {
  const std::vector<int32_t> ids = Ids(LongestPrompt(), 90);
  auto backend = kernels::MakeReferenceBackend();
  auto reference = LlamaModel::Load(*opened_.weights, backend.get());
  ASSERT_TRUE(reference.ok()) << reference.status();
  KvShape shape = Options(0).shape;
  shape.dtype = kernels::DType::kF32;
  ModelRunner whole(**reference, shape);
  const std::vector<float> want = whole.Run(kernels::Lane::kPrefill, {{0, ids}}, true);

  CudaModelRunner runner(*model_, Options(/*shuffle_seed=*/5));
  const size_t prefilled = 78;
  std::vector<float> got = runner.Run(
      CudaAttention::kTiles, {{0, {ids.begin(), ids.begin() + prefilled}}}, /*all_rows=*/true);
  for (size_t i = prefilled; i < ids.size(); ++i) {
    const std::vector<float> row = runner.Run(CudaAttention::kPlan, {{0, {ids[i]}}}, false);
    got.insert(got.end(), row.begin(), row.end());
  }
  ExpectClose(got, want);
  ExpectClose({got.begin() + prefilled * vocab_, got.end()},
              {want.begin() + prefilled * vocab_, want.end()});
}

// Whole, in chunks beside another sequence, or token by token; in other blocks and on another
// stream: the same bits, where that is asked for.
TEST_P(LlamaCudaTest, BatchInvariantPassesGiveTheSameBits) {
  const std::vector<int32_t> ids = Ids(LongestPrompt(), 75);
  CudaModelRunner whole(*model_, Options(0, true));
  const std::vector<float> want = whole.Run(CudaAttention::kTiles, {{0, ids}}, true);
  ExpectClose(
      Row(want, 0),
      Row(CudaModelRunner(*model_, Options(0)).Run(CudaAttention::kTiles, {{0, {ids[0]}}}, true),
          0));

  CudaModelRunner::Options options = Options(7, true);
  options.high_priority = true;
  CudaModelRunner pieces(*model_, options);
  const size_t cuts[] = {0, 1, 18, 19, 67};
  for (size_t c = 0; c + 1 < std::size(cuts); ++c) {
    const std::vector<int32_t> chunk(ids.begin() + cuts[c], ids.begin() + cuts[c + 1]);
    const std::vector<float> got =
        pieces.Run(CudaAttention::kTiles, {{1, Ids(1, 3)}, {0, chunk}}, /*all_rows=*/true);
    EXPECT_TRUE(std::equal(got.begin() + 3 * vocab_, got.end(), want.begin() + cuts[c] * vocab_))
        << "from " << cuts[c];
  }
  for (size_t i = 67; i < ids.size(); ++i) {
    // Its place among others changes from step to step.
    std::vector<StepPart> parts = {{1, Ids(1, 1)}, {2, Ids(2, 1)}};
    const size_t place = i % 3;
    parts.insert(parts.begin() + place, {0, {ids[i]}});
    const std::vector<float> got = pieces.Run(CudaAttention::kTiles, parts, /*all_rows=*/false);
    EXPECT_EQ(Row(got, place), Row(want, i)) << "token " << i;
  }
}

// Rows that are unused (a position below 0, a lane of length 0) leave the others' bits alone.
TEST_P(LlamaCudaTest, LogitsOfSomeRowsAreThoseOfAll) {
  const std::vector<int32_t> ids = Ids(0, 9);
  CudaModelRunner all(*model_, Options(0, true));
  CudaModelRunner last(*model_, Options(0, true));
  const std::vector<StepPart> parts = {{0, ids}, {1, {ids[2]}}};
  const std::vector<float> want = all.Run(CudaAttention::kTiles, parts, true);
  const std::vector<float> got = last.Run(CudaAttention::kTiles, parts, false);
  EXPECT_EQ(Row(got, 0), Row(want, ids.size() - 1));
  EXPECT_EQ(Row(got, 1), Row(want, ids.size()));
}

// Files of several quantised formats, as Q4_K_M is. Their weights are not bf16's, so that each is
// rounded once more, and the models magnify roundings more than those above. The bounds are how far
// PyTorch in bf16 is from float32 on the same weights.
TEST(LlamaCudaQuantsTest, MixedFormatsAreTransformers) {
  const device::CudaLibrary library{EbbCudaFakeApi()};
  auto device = device::CudaDevice::Open(&library, 0);
  ASSERT_TRUE(device.ok()) << device.status();
  struct Case {
    const char* name;
    Difference most;
  };
  for (const Case& test : {Case{"q4_k_m", {0.0092, 0.048}}, Case{"q5_k_m", {0.0188, 0.091}}}) {
    const std::string path = std::string("tests/golden/forward/tiny_") + test.name;
    auto file = GgufFile::Open(path + ".gguf");
    ASSERT_TRUE(file.ok()) << file.status();
    const auto weights = GgufWeightSource(*std::move(file));
    ASSERT_TRUE(weights.ok()) << weights.status();
    const auto model = CudaLlama::Load(**weights, device->get());
    ASSERT_TRUE(model.ok()) << model.status();
    const std::vector<TinySequence> sequences = ReadTinySequences(path + ".bin");
    CudaModelRunner::Options options;
    options.shape.sequence_count = static_cast<int32_t>(sequences.size());
    options.shape.tokens_max = 64;
    CudaModelRunner runner(**model, options);
    std::vector<StepPart> parts;
    std::vector<float> want;
    for (size_t s = 0; s < sequences.size(); ++s) {
      parts.push_back({static_cast<int32_t>(s), sequences[s].ids});
      want.insert(want.end(), sequences[s].logits.begin(), sequences[s].logits.end());
    }
    ExpectClose(runner.Run(CudaAttention::kTiles, parts, /*all_rows=*/true), want, test.most);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, LlamaCudaTest,
                         testing::Values("tiny_llama", "tiny_qwen2.gguf", "tiny_qwen3.gguf"),
                         [](const auto& info) {
                           std::string name = info.param;
                           return name.substr(0, name.find('.'));
                         });

}  // namespace
}  // namespace ebb::model

// Small random llama models against transformers (tests/golden/forward/tiny_*).

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include "base/check.h"
#include "gtest/gtest.h"
#include "kernels/backend_factory.h"
#include "kernels/reference/reference_backend.h"
#include "model/gguf.h"
#include "model/gguf_weights.h"
#include "model/llama.h"
#include "tests/model/golden_files.h"
#include "tests/model/model_runner.h"

namespace ebb::model {
namespace {

// transformers sums float32 in float32: over two layers of at most 256 inputs the rounding of a
// logit of size 5 stays below 5 * 2^-24 * sqrt(inputs) * operations = 3e-5; the reference kernels
// keep floats only between operations. A wrong rotation, mask or norm gives errors above 0.1.
constexpr float kReferenceTolerance = 1e-4f;
// An activation of 16 bits errs by 1.5 / 32512 of the largest of its block of 32, about 1e-4 of its
// own size; some ten products between a token and its logits, of size 5.
constexpr float kFastTolerance = 5e-3f;

std::string GoldenPath(const std::string& name) { return "tests/golden/forward/tiny_" + name; }

std::unique_ptr<const WeightSource> OpenWeights(const std::string& path) {
  auto file = GgufFile::Open(path);
  CHECK_OK(file.status());
  auto weights = GgufWeightSource(*std::move(file));
  CHECK_OK(weights.status());
  return *std::move(weights);
}

class LlamaTinyTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto weights = OpenWeights(GoldenPath(GetParam()) + std::string(".gguf"));
    auto model = LlamaModel::Load(*weights, backend_.get());
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    sequences_ = ReadTinySequences(GoldenPath(GetParam()) + std::string(".bin"));
  }

  KvShape Shape(uint64_t shuffle_seed) const {
    KvShape shape;
    shape.dtype = kernels::DType::kF32;
    shape.sequence_count = static_cast<int32_t>(sequences_.size());
    shape.tokens_max = 64;
    shape.shuffle_seed = shuffle_seed;
    return shape;
  }

  std::unique_ptr<kernels::Backend> backend_ = kernels::MakeReferenceBackend();
  std::unique_ptr<LlamaModel> model_;
  std::vector<TinySequence> sequences_;
};

void ExpectNear(const float* got, const float* want, size_t count, float tolerance) {
  for (size_t i = 0; i < count; ++i) {
    ASSERT_NEAR(got[i], want[i], tolerance) << "logit " << i << " of " << count;
  }
}

TEST_P(LlamaTinyTest, MatchesTransformersInOneStep) {
  ModelRunner runner(*model_, Shape(0));
  std::vector<StepPart> parts;
  std::vector<float> want;
  for (size_t s = 0; s < sequences_.size(); ++s) {
    parts.push_back({static_cast<int32_t>(s), sequences_[s].ids});
    want.insert(want.end(), sequences_[s].logits.begin(), sequences_[s].logits.end());
  }
  const std::vector<float> got = runner.Run(kernels::Lane::kPrefill, parts, /*all_rows=*/true);
  ASSERT_EQ(got.size(), want.size());
  ExpectNear(got.data(), want.data(), want.size(), kReferenceTolerance);
}

// As the server runs it on processors: block formats multiply activations of 16 bits.
TEST_P(LlamaTinyTest, FastKernelsMatchTransformers) {
  const auto weights = OpenWeights(GoldenPath(GetParam()) + std::string(".gguf"));
  for (const char* path : {"avx2", "avx512"}) {
    auto backend = kernels::MakeCpuBackend(path, /*threads=*/2);
    if (!backend.ok()) continue;
    auto model = LlamaModel::Load(*weights, backend->get());
    ASSERT_TRUE(model.ok()) << model.status();
    ModelRunner runner(**model, Shape(/*shuffle_seed=*/3));
    for (size_t s = 0; s < sequences_.size(); ++s) {
      SCOPED_TRACE(testing::Message() << path << ", sequence " << s);
      const std::vector<float> got =
          runner.Run(kernels::Lane::kPrefill, {{static_cast<int32_t>(s), sequences_[s].ids}}, true);
      ASSERT_EQ(got.size(), sequences_[s].logits.size());
      ExpectNear(got.data(), sequences_[s].logits.data(), got.size(), kFastTolerance);
    }
  }
}

// The same tokens in chunks, one by one, beside other sequences and in scattered blocks: the same
// bits as in one step.
TEST_P(LlamaTinyTest, EveryChunkingGivesTheSameBits) {
  const std::vector<int32_t>& ids = sequences_[0].ids;
  ModelRunner whole(*model_, Shape(0));
  const std::vector<float> want = whole.Run(kernels::Lane::kPrefill, {{0, ids}}, true);
  const size_t vocab = static_cast<size_t>(model_->config().vocab);

  ModelRunner pieces(*model_, Shape(/*shuffle_seed=*/7));
  const size_t cuts[] = {0, 7, 8, 25, 40};
  for (size_t c = 0; c + 1 < std::size(cuts); ++c) {
    const std::vector<int32_t> chunk(ids.begin() + cuts[c], ids.begin() + cuts[c + 1]);
    const std::vector<int32_t> other(sequences_[2].ids.begin() + 3 * c,
                                     sequences_[2].ids.begin() + 3 * c + 3);
    const std::vector<float> got = pieces.Run(kernels::Lane::kPrefill, {{2, other}, {0, chunk}},
                                              /*all_rows=*/false);
    const float* last = want.data() + (cuts[c + 1] - 1) * vocab;
    EXPECT_TRUE(std::equal(last, last + vocab, got.begin() + vocab)) << "chunk " << c;
  }
  for (size_t i = 40; i < ids.size(); ++i) {
    const std::vector<float> got = pieces.Run(kernels::Lane::kDecode, {{0, {ids[i]}}}, false);
    EXPECT_TRUE(std::equal(got.begin(), got.end(), want.data() + i * vocab)) << "token " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, LlamaTinyTest,
                         testing::Values("gqa_untied", "linear", "llama3", "q8_0", "q4_0", "q4_1",
                                         "q4_k_m", "q5_k_m"),
                         [](const auto& info) { return std::string(info.param); });

TEST(LlamaModelTest, AbandonedStepStopsBetweenLayers) {
  auto backend = kernels::MakeReferenceBackend();
  const auto weights = OpenWeights(GoldenPath("q4_0.gguf"));
  auto model = LlamaModel::Load(*weights, backend.get());
  ASSERT_TRUE(model.ok()) << model.status();

  KvMemory memory((*model)->config(), KvShape());
  const int32_t token = 1, position = 0, sequence = 0;
  const std::atomic<bool> abandon = true;
  ForwardInput input;
  input.tokens = absl::MakeConstSpan(&token, 1);
  input.rows = {1, 1, &position, &sequence, memory.tables()};
  input.kv = memory.kv();
  input.abandon = &abandon;
  const size_t bytes = (*model)->WorkspaceBytes(1, 0);
  std::vector<uint8_t> workspace(bytes + 64);
  const size_t skip = (64 - reinterpret_cast<uintptr_t>(workspace.data()) % 64) % 64;
  input.workspace = absl::MakeSpan(workspace).subspan(skip, bytes);
  EXPECT_EQ((*model)->Forward(input).status().code(), absl::StatusCode::kAborted);
}

TEST(LlamaModelTest, LoadTellsProgressUpToTheWhole) {
  auto backend = kernels::MakeReferenceBackend();
  const auto weights = OpenWeights(GoldenPath("linear.gguf"));
  int64_t last = 0, total = 0;
  auto model = LlamaModel::Load(*weights, backend.get(), [&](int64_t done, int64_t all) {
    EXPECT_GT(done, last);
    last = done;
    total = all;
  });
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_GT(total, 0);
  EXPECT_EQ(last, total);
}

TEST(LlamaModelTest, WorkspaceGrowsWithRowsAndLogits) {
  auto backend = kernels::MakeReferenceBackend();
  const auto weights = OpenWeights(GoldenPath("linear.gguf"));
  auto model = LlamaModel::Load(*weights, backend.get());
  ASSERT_TRUE(model.ok()) << model.status();
  const size_t none = (*model)->WorkspaceBytes(8, 0);
  EXPECT_GT((*model)->WorkspaceBytes(16, 0), none);
  // One logits row costs its input and its logits, no more than the alignment besides.
  const size_t one_row_bytes =
      ((*model)->config().width + (*model)->config().vocab) * sizeof(float);
  const size_t one = (*model)->WorkspaceBytes(8, 1);
  EXPECT_GE(one, none + one_row_bytes);
  EXPECT_LE(one, none + one_row_bytes + 128);
}

}  // namespace
}  // namespace ebb::model

// The whole engine on the host with a small model: what comes back from the swap file is what was
// written, so that a preempted request gets the tokens and the numbers of one that nobody
// disturbed.

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/rng.h"
#include "device/vmm_host.h"
#include "engine/model_step_runner.h"
#include "gtest/gtest.h"
#include "kernels/backend_factory.h"
#include "model/llama.h"
#include "model/open_model.h"
#include "tests/engine/model_answers.h"
#include "tests/model/seed.h"

namespace ebb::engine {
namespace {

constexpr int32_t kBlockTokens = 8;
constexpr int32_t kBlocksPerPage = 2;

struct SwapCase {
  Queues queues;
  bool prefix_cache;
};

class ModelSwapTest : public testing::TestWithParam<SwapCase> {
 protected:
  void SetUp() override {
    auto opened = model::OpenModel("tests/golden/tiny_llama");
    ASSERT_TRUE(opened.ok()) << opened.status();
    auto backend = kernels::MakeCpuBackend("auto", 1);
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
    auto model = model::LlamaModel::Load(*opened->weights, backend_.get());
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }

  static LocalEngineOptions Options() {
    LocalEngineOptions options;
    options.queue.queues = GetParam().queues;
    options.queue.running_sequences_max = 4;
    options.queue.growth_prior_tokens = 4;
    options.queue.resume_immunity_tokens = 2;
    // Computing again takes many steps, so that swapping pays on any disk.
    options.step.chunk_tokens_max = 2;
    options.step.logits_rows_max = 1;
    options.window.decode_steps = 4;
    options.window.decode_min = absl::Milliseconds(1);
    options.window.prefill_min = absl::Milliseconds(1);
    options.memory.limit_bytes = options.memory.ceiling_bytes = int64_t{256} << 20;
    options.memory.headroom_bytes = 0;
    options.memory.block_tokens = kBlockTokens;
    options.memory.swap_directory = testing::TempDir();
    options.prefix_cache.enabled = GetParam().prefix_cache;
    return options;
  }
  // Room for the workspaces and so many tokens, and swap space.
  LocalEngineOptions TightOptions(int64_t tokens) const {
    LocalEngineOptions options = Options();
    const int64_t page_bytes = device::HostVmm().granularity_bytes();
    const ModelStepRunnerFactory runners(model_.get(), nullptr, kernels::DType::kF16);
    int64_t bytes = (tokens / (kBlockTokens * kBlocksPerPage) + 2) * page_bytes;
    for (const Lane lane : Lanes(options.queue.queues).all()) {
      bytes += base::Checked(runners.WorkspaceBytesMax(options, lane)).RoundUp(page_bytes).value();
    }
    options.memory.limit_bytes = bytes;
    options.memory.swap_bytes_max = int64_t{64} << 20;
    return options;
  }

  std::vector<Answer> Run(const LocalEngineOptions& options, const std::vector<Request>& requests,
                          bool at_once) {
    MemoryView after;
    std::vector<Answer> answers =
        ModelAnswers(model_.get(), options, requests, at_once, kBlocksPerPage, &after);
    swap_ = after.swap;
    return answers;
  }
  void ExpectSwaps(const std::vector<Answer>& answers) const {
    int32_t preemptions = 0;
    for (const Answer& answer : answers) preemptions += answer.preemptions;
    std::cout << "preemptions: " << preemptions << ", swapped out: " << swap_.out_sequences_total
              << ", in: " << swap_.in_sequences_total << "\n";
    EXPECT_GT(swap_.out_sequences_total, 0);
    EXPECT_GT(swap_.in_sequences_total, 0);
    EXPECT_GT(swap_.in_bytes_total, 0);
    EXPECT_EQ(swap_.used_bytes, 0);
  }

  SwapView swap_;  // After the last run.
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::LlamaModel> model_;
};

Request RandomRequest(base::Rng* rng, int i) {
  Request request;
  for (int64_t n = rng->Between(20, 40); n > 0; --n) {
    request.prompt.push_back(static_cast<int32_t>(rng->Between(0, 300)));
  }
  request.sampling.temperature = i % 2 == 0 ? 0.0 : 0.9;
  request.sampling.seed = static_cast<uint64_t>(1000 + i);
  request.sampling.logprobs = 1;
  request.sampling.prompt_logprobs = i == 3 ? 0 : -1;
  if (i == 1) request.sampling.repetition_penalty = 1.4;
  request.stopping.max_tokens = 80;
  request.stopping.ignore_eos = true;
  return request;
}

TEST_P(ModelSwapTest, TheSameTokensAndNumbersFromTheFile) {
  base::Rng rng(model::TestSeed(21));
  std::vector<Request> requests;
  for (int i = 0; i < 4; ++i) requests.push_back(RandomRequest(&rng, i));
  const std::vector<Answer> quiet = Run(Options(), requests, false);
  EXPECT_EQ(swap_.out_sequences_total, 0);
  // One fits at its end, and a bit more, where four run.
  const std::vector<Answer> tight = Run(TightOptions(120), requests, true);
  ExpectSame(tight, quiet);
  ExpectSwaps(tight);
}

// Blocks that others use too are copied like any other, and come back as the sequence's own, or
// those that are still there are taken over again.
TEST_P(ModelSwapTest, AnswersThatShareTheirPromptAreSwappedToo) {
  base::Rng rng(model::TestSeed(22));
  Request request = RandomRequest(&rng, 1);
  request.n = 4;
  const std::vector<Answer> singles = Run(Options(), SingleRequests(request), false);
  EXPECT_NE(singles[0].tokens, singles[1].tokens);
  const std::vector<Answer> tight = Run(TightOptions(160), {request}, false);
  ExpectSame(tight, singles);
  ExpectSwaps(tight);
}

INSTANTIATE_TEST_SUITE_P(Cases, ModelSwapTest,
                         testing::Values(SwapCase{Queues::kSeparate, false},
                                         SwapCase{Queues::kSeparate, true},
                                         SwapCase{Queues::kOne, false},
                                         SwapCase{Queues::kOne, true}));

}  // namespace
}  // namespace ebb::engine

// The whole engine on the fake CUDA library: whatever the memory, the chunks and the company, a
// request gets exactly the tokens that it gets alone (batch-invariant mode), while the pool grows,
// shrinks and is fought over, with pages edited at joint boundaries.

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "device/cuda/cuda_vmm.h"
#include "device/cuda/fake/fake_cuda.h"
#include "device/launch_gate.h"
#include "device/vmm_gated.h"
#include "engine/cuda_step_runner.h"
#include "engine/model_engine.h"
#include "gtest/gtest.h"
#include "kernels/cuda/library/fake_api.h"
#include "model/open_model.h"
#include "scheduler/local_policy.h"
#include "tests/engine/answers.h"
#include "tests/model/seed.h"

namespace ebb::engine {
namespace {

class CudaEngineTest : public testing::Test {
 protected:
  void Open(int64_t granularity_bytes) {
    device::FakeCudaOptions fake;
    fake.granularity_bytes = granularity_bytes;
    device::SetFakeCudaOptions(fake);
    auto device = device::CudaDevice::Open(&library_, 0);
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    auto vmm = device::CudaVmm::Create(device_.get());
    ASSERT_TRUE(vmm.ok()) << vmm.status();
    vmm_ = *std::move(vmm);
    auto opened = model::OpenModel("tests/golden/tiny_llama");
    ASSERT_TRUE(opened.ok()) << opened.status();
    auto model = model::CudaLlama::Load(*opened->weights, device_.get());
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }

  static LocalEngineOptions Options() {
    LocalEngineOptions options;
    options.queue.running_sequences_max = 4;
    options.queue.growth_prior_tokens = 4;
    options.queue.resume_immunity_tokens = 2;
    options.step.chunk_tokens_max = 32;
    options.step.logits_rows_max = 16;
    options.window.decode_steps = 4;
    options.window.decode_min = absl::Milliseconds(1);
    options.window.prefill_min = absl::Milliseconds(1);
    options.memory.limit_bytes = int64_t{256} << 20;
    options.memory.ceiling_bytes = int64_t{256} << 20;
    options.memory.headroom_bytes = 0;
    options.memory.block_tokens = 8;
    options.memory.slack_pages = 0;
    options.memory.prepared_pages = 0;
    options.memory.shrink_windows = 1;
    options.memory.shrink_after = absl::ZeroDuration();
    options.memory.idle = absl::Milliseconds(1);
    return options;
  }

  // Penalties, biases and bad words, each in some of them.
  static void AskForRules(int i, Request* request) {
    request->sampling.repetition_penalty = i == 1 ? 1 : 1.4;
    request->sampling.presence_penalty = i == 2 ? 0.3 : 0;
    request->sampling.frequency_penalty = i == 1 ? 0.6 : 0;
    if (i == 3) request->rules.logit_bias = {{11, 2.0f}, {12, -3.0f}};
    request->rules.bad_words = {{17, 18}, {33}, {11, 11}};
  }

  static std::vector<Request> Requests(uint64_t seed) {
    base::Rng rng(seed);
    std::vector<Request> requests;
    for (int i = 0; i < 4; ++i) {
      Request request;
      for (int64_t n = rng.Between(3, 10); n > 0; --n) {
        request.prompt.push_back(static_cast<int32_t>(rng.Between(0, 300)));
      }
      request.sampling.temperature = i % 2 == 0 ? 0.0 : 0.9;
      request.sampling.seed = static_cast<uint64_t>(1000 + i);
      request.sampling.logprobs = 1;
      request.sampling.prompt_logprobs = i == 3 ? 0 : -1;
      request.stopping.max_tokens = static_cast<int32_t>(rng.Between(60, 66));
      request.stopping.ignore_eos = true;
      if (i > 0) AskForRules(i, &request);
      requests.push_back(std::move(request));
    }
    return requests;
  }

  // Of all lanes, in whole pages.
  int64_t WorkspaceBytes(const LocalEngineOptions& options) const {
    CudaStepRunner::Parts parts;
    parts.model = model_.get();
    CudaStepRunnerFactory::Options runner_options;
    runner_options.batch_invariant = batch_invariant_;
    runner_options.banned_ids_max = 4;
    const CudaStepRunnerFactory runners(parts, runner_options);
    int64_t bytes = 0;
    for (const Lane lane : {Lane::kPrefill, Lane::kDecode}) {
      bytes += base::Checked(runners.WorkspaceBytesMax(options, lane)).RoundUp(kPageBytes).value();
    }
    return bytes;
  }

  // Runs the requests on one engine, all at once or one after the other.
  std::vector<Answer> Run(const LocalEngineOptions& options, const std::vector<Request>& requests,
                          bool at_once) {
    device::LaunchGate gate;
    device::GatedVmm vmm(vmm_.get(), &gate);
    base::RealClock clock;
    base::NullLog log;
    const scheduler::LocalPolicy policy(scheduler::LocalPolicy::OptionsFrom(options));
    CudaStepRunner::Parts runner_parts;
    runner_parts.model = model_.get();
    runner_parts.clock = &clock;
    runner_parts.gate = &gate;
    CudaStepRunnerFactory::Options runner_options;
    runner_options.batch_invariant = batch_invariant_;
    runner_options.banned_ids_max = 4;
    const CudaStepRunnerFactory runners(runner_parts, runner_options);
    ModelEngineParts parts;
    parts.runners = &runners;
    parts.vmm = &vmm;
    parts.clock = &clock;
    parts.log = &log;
    parts.policy = &policy;
    parts.blocks_per_page = blocks_per_page_;
    parts.end_ids = {2};
    absl::StatusOr<std::unique_ptr<ModelEngine>> engine = ModelEngine::Create(options, parts);
    EXPECT_TRUE(engine.ok()) << engine.status();
    if (!engine.ok()) return {};
    std::vector<Answer> answers = Answers((*engine)->engine(), requests, at_once);
    swap_ = (*engine)->engine()->Memory().swap;
    return answers;
  }

  static constexpr int64_t kPageBytes = 4096;
  static constexpr int64_t kPageTokens = 16;  // Two blocks of the model's keys and values.

  SwapView swap_;  // After the last run.
  bool batch_invariant_ = true;
  int32_t blocks_per_page_ = 0;
  const device::CudaLibrary library_{EbbCudaFakeApi()};
  // In order of construction; destroyed in reverse.
  std::unique_ptr<device::CudaDevice> device_;
  std::unique_ptr<device::CudaVmm> vmm_;
  std::unique_ptr<model::CudaLlama> model_;
};

TEST_F(CudaEngineTest, TheSameTokensAloneInCompanyInOtherChunksAndPreempted) {
  Open(kPageBytes);
  blocks_per_page_ = 2;
  const std::vector<Request> requests = Requests(model::TestSeed(11));
  const std::vector<Answer> quiet = Run(Options(), requests, false);
  EXPECT_EQ(quiet[3].prompt_logprobs.size(), requests[3].prompt.size() - 1);
  {
    SCOPED_TRACE("all at once, in chunks of 7");
    LocalEngineOptions options = Options();
    options.step.chunk_tokens_max = 7;
    ExpectSame(Run(options, requests, true), quiet);
  }
  for (const Queues queues : {Queues::kSeparate, Queues::kOne}) {
    SCOPED_TRACE(testing::Message() << "too little memory, queues " << static_cast<int>(queues));
    LocalEngineOptions options = Options();
    options.queue.queues = queues;
    // Small steps: decode may use what prefill's workspace does not.
    options.step.chunk_tokens_max = 4;
    options.step.logits_rows_max = 1;
    // Room for the longest request and a page more, where four run that each grow to as many.
    int64_t longest = 0;
    for (const Request& request : requests) {
      longest = std::max(longest,
                         static_cast<int64_t>(request.prompt.size()) + request.stopping.max_tokens);
    }
    options.memory.limit_bytes = WorkspaceBytes(options) + (longest / kPageTokens + 2) * kPageBytes;
    const std::vector<Answer> tight = Run(options, requests, true);
    ExpectSame(tight, quiet);
    int32_t preemptions = 0;
    for (const Answer& answer : tight) preemptions += answer.preemptions;
    std::cout << "preemptions: " << preemptions << "\n";
    EXPECT_GT(preemptions, 0);
    EXPECT_LT(preemptions, 40) << "somebody gives way over and over";
    EXPECT_EQ(swap_.out_sequences_total, 0);
    options.memory.swap_bytes_max = int64_t{64} << 20;
    ExpectSame(Run(options, requests, true), quiet);
    std::cout << "swapped out: " << swap_.out_sequences_total << ", in " << swap_.in_sequences_total
              << "\n";
    EXPECT_GT(swap_.in_sequences_total, 0);
  }
}

// The last block of the prompt, partly filled, is copied on the device before it is written.
TEST_F(CudaEngineTest, SeveralAnswersAreThoseOfRequestsWithTheirSeeds) {
  Open(kPageBytes);
  blocks_per_page_ = 2;
  Request request = Requests(model::TestSeed(13))[3];
  request.n = 4;
  const std::vector<Answer> singles = Run(Options(), SingleRequests(request), false);
  EXPECT_NE(singles[0].tokens, singles[1].tokens);
  for (const Queues queues : {Queues::kSeparate, Queues::kOne}) {
    SCOPED_TRACE(testing::Message() << "queues " << static_cast<int>(queues));
    LocalEngineOptions options = Options();
    options.queue.queues = queues;
    ExpectSame(Run(options, {request}, false), singles);
    // Room for the first, and what workspaces leave: the last ones give way.
    options.step.chunk_tokens_max = 4;
    options.step.logits_rows_max = 1;
    options.memory.limit_bytes = WorkspaceBytes(options) + 5 * kPageBytes;
    const std::vector<Answer> tight = Run(options, {request}, false);
    ExpectSame(tight, singles);
    EXPECT_EQ(tight[0].preemptions, 0);
    int32_t preemptions = 0;
    for (const Answer& answer : tight) preemptions += answer.preemptions;
    std::cout << "preemptions: " << preemptions << "\n";
    EXPECT_GT(preemptions, 0);
  }
}

// Without the mode a token may depend on its company, but every request still gets all of its
// tokens, and greedy ones of a request that is alone are the same each time.
TEST_F(CudaEngineTest, TheFastFormServesToo) {
  Open(int64_t{2} << 20);
  batch_invariant_ = false;
  std::vector<Request> requests = Requests(model::TestSeed(12));
  requests.resize(3);
  for (Request& request : requests) request.stopping.max_tokens = 12;
  const std::vector<Answer> together = Run(Options(), requests, true);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(together[i].tokens.size(), static_cast<size_t>(requests[i].stopping.max_tokens));
  }
  ExpectSame(Run(Options(), {requests[0]}, false), Run(Options(), {requests[0]}, false));
}

}  // namespace
}  // namespace ebb::engine

// The whole engine on the real model: whatever the memory, the chunks and the company, a request
// gets exactly the same tokens. (Row invariance of the kernels, counter-based sampling, and a
// preempted sequence that recomputes what it had.)

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "kernels/backend_factory.h"
#include "model/llama.h"
#include "model/open_model.h"
#include "tests/engine/model_answers.h"

namespace ebb::engine {
namespace {

std::string ModelPath() {
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "" : home) +
         "/.cache/ebb/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

class ModelEngineTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    absl::StatusOr<model::OpenedModel> opened = model::OpenModel(ModelPath());
    ASSERT_TRUE(opened.ok()) << opened.status() << "; run ./run --setup";
    absl::StatusOr<std::unique_ptr<kernels::Backend>> backend = kernels::MakeCpuBackend("auto", 0);
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = backend->release();
    absl::StatusOr<std::unique_ptr<model::LlamaModel>> model =
        model::LlamaModel::Load(*opened->weights, backend_);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = model->release();
  }
  static void TearDownTestSuite() {
    delete model_;
    delete backend_;
  }

  static LocalEngineOptions Options() {
    LocalEngineOptions options;
    options.queue.running_sequences_max = 8;
    options.queue.growth_prior_tokens = 16;
    options.queue.resume_immunity_tokens = 8;
    options.step.chunk_tokens_max = 64;
    options.step.logits_rows_max = 16;
    options.window.decode_steps = 16;
    options.window.decode_min = absl::Milliseconds(1);
    options.window.prefill_min = absl::Milliseconds(1);
    options.memory.limit_bytes = int64_t{512} << 20;
    options.memory.ceiling_bytes = int64_t{1} << 30;
    options.memory.headroom_bytes = 0;
    return options;
  }

  // Six requests of mixed lengths and parameters.
  static std::vector<Request> Requests() {
    base::Rng rng(11);
    std::vector<Request> requests;
    for (int i = 0; i < 6; ++i) {
      Request request;
      for (int64_t n = rng.Between(20, 150); n > 0; --n) {
        request.prompt.push_back(static_cast<int32_t>(rng.Between(100, 40'000)));
      }
      request.sampling.temperature = i % 2 == 0 ? 0.0 : 0.8;
      request.sampling.seed = static_cast<uint64_t>(1000 + i);
      request.sampling.logprobs = 0;
      request.sampling.prompt_logprobs = i == 3 ? 0 : -1;
      if (i % 3 == 1) {
        request.sampling.repetition_penalty = 1.2;
        request.sampling.frequency_penalty = 0.2;
        request.rules.logit_bias = {{260, 1.5f}};
        request.rules.bad_words = {{28}, {260, 260}};
      }
      request.stopping.max_tokens = 160;
      request.stopping.ignore_eos = true;
      requests.push_back(std::move(request));
    }
    return requests;
  }

  static std::vector<Answer> Run(const LocalEngineOptions& options,
                                 const std::vector<Request>& requests, bool at_once,
                                 int32_t blocks_per_page = 0, MemoryView* after = nullptr) {
    return ModelAnswers(model_, options, requests, at_once, blocks_per_page, after);
  }

  static inline kernels::Backend* backend_ = nullptr;
  static inline model::LlamaModel* model_ = nullptr;
};

TEST_F(ModelEngineTest, SeveralAnswersAreThoseOfRequestsWithTheirSeeds) {
  Request request = Requests()[3];
  request.stopping.max_tokens = 60;
  request.n = 4;
  for (const Queues queues : {Queues::kSeparate, Queues::kOne}) {
    SCOPED_TRACE(testing::Message() << "queues " << static_cast<int>(queues));
    LocalEngineOptions options = Options();
    options.queue.queues = queues;
    ExpectSame(Run(options, {request}, false), Run(options, SingleRequests(request), false));
  }
}

TEST_F(ModelEngineTest, TheSameTokensAloneInCompanyInOtherChunksAndPreempted) {
  const std::vector<Request> requests = Requests();
  const std::vector<Answer> quiet = Run(Options(), requests, false);
  EXPECT_EQ(quiet[3].prompt_logprobs.size(), requests[3].prompt.size() - 1);
  EXPECT_EQ(quiet[0].tokens.size(), 160u);
  {
    SCOPED_TRACE("all at once");
    ExpectSame(Run(Options(), requests, true), quiet);
  }
  {
    SCOPED_TRACE("chunks of 7");
    LocalEngineOptions options = Options();
    options.step.chunk_tokens_max = 7;
    ExpectSame(Run(options, requests, true), quiet);
  }
  {
    SCOPED_TRACE("all at once in one queue");
    LocalEngineOptions options = Options();
    options.queue.queues = Queues::kOne;
    ExpectSame(Run(options, requests, true), quiet);
  }
  for (const Queues queues : {Queues::kSeparate, Queues::kOne}) {
    SCOPED_TRACE(testing::Message() << "too little memory, queues " << static_cast<int>(queues));
    LocalEngineOptions options = Options();
    options.queue.queues = queues;
    // Pages of 256 tokens and 6 MiB. The six need eight at their ends and expect fewer at first;
    // there is room for four or five beside the workspaces.
    options.memory.limit_bytes = int64_t{32} << 20;
    options.memory.slack_pages = 0;
    const std::vector<Answer> tight = Run(options, requests, true);
    ExpectSame(tight, quiet);
    int32_t preemptions = 0;
    for (const Answer& answer : tight) preemptions += answer.preemptions;
    std::cout << "preemptions: " << preemptions << "\n";
    EXPECT_GT(preemptions, 0);
  }
}

// What was computed before, by a sequence alone or in company, in a prompt or as an answer, stands
// for what would be computed now.
TEST_F(ModelEngineTest, TheSameTokensFromThePrefixCache) {
  std::vector<Request> requests = Requests();
  for (Request& request : requests) request.stopping.max_tokens = 40;
  LocalEngineOptions options = Options();
  options.prefix_cache.enabled = false;
  std::vector<Answer> quiet = Run(options, requests, false);
  // Each as a chat's next turn: its prompt, its answer and a word more; and once as it was.
  std::vector<Request> turns = requests;
  for (size_t i = 0; i < requests.size(); ++i) {
    Request turn = requests[i];
    turn.prompt.insert(turn.prompt.end(), quiet[i].tokens.begin(), quiet[i].tokens.end());
    turn.prompt.push_back(17);
    turns.push_back(turn);
  }
  turns.insert(turns.end(), requests.begin(), requests.end());
  const std::vector<Answer> computed = Run(options, turns, true);
  options.prefix_cache.enabled = true;
  for (const Queues queues : {Queues::kSeparate, Queues::kOne}) {
    SCOPED_TRACE(testing::Message() << "queues " << static_cast<int>(queues));
    options.queue.queues = queues;
    const std::vector<Answer> found = Run(options, turns, false);
    ExpectSame(found, computed);
    for (size_t i = 0; i < turns.size(); ++i) {
      const bool later = i >= requests.size() && turns[i].sampling.prompt_logprobs < 0;
      EXPECT_EQ(found[i].cached_tokens > 0, later) << i;
      EXPECT_EQ(computed[i].cached_tokens, 0);
    }
    ExpectSame(Run(options, turns, true), computed);
  }
}

// Sequences that end early leave holes: the blocks of the others move, and their tokens stay.
TEST_F(ModelEngineTest, TheSameTokensWithBlocksThatMove) {
  std::vector<Request> requests = Requests();
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].prompt.resize(20);
    requests[i].stopping.max_tokens = i % 3 == 0 ? 200 : 60;
  }
  LocalEngineOptions options = Options();
  options.window.decode_steps = 4;
  options.memory.slack_pages = 0;
  options.memory.prepared_pages = 0;
  options.prefix_cache.enabled = false;  // Or pages are wanted for what it keeps.
  options.memory.shrink_windows = 1;
  options.memory.shrink_after = absl::ZeroDuration();
  // Pages of two blocks: what a request leaves behind is holes, not whole pages.
  options.memory.compact_above_percent = 0;
  MemoryView after;
  const std::vector<Answer> still = Run(options, requests, true, 2, &after);
  EXPECT_EQ(after.moved_bytes_total, 0);
  options.memory.compact_above_percent = 100;
  for (const Queues queues : {Queues::kSeparate, Queues::kOne}) {
    options.queue.queues = queues;
    ExpectSame(Run(options, requests, true, 2, &after), still);
    std::cout << "moved: " << after.moved_bytes_total << " bytes\n";
    EXPECT_GT(after.moved_bytes_total, 0);
  }
}

}  // namespace
}  // namespace ebb::engine

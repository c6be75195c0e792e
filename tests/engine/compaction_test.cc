// Compaction in the engine: pages go back while sequences run, and no answer changes.

#include "engine/compaction.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/driven_engine.h"
#include "tests/engine/recording_sink.h"

namespace ebb::engine {
namespace {

constexpr int32_t kSequences = 12;
constexpr int32_t kLongTokens = 100;

LocalEngineOptions Options() {
  LocalEngineOptions options = DrivenOptions(128);
  options.queue.running_sequences_max = kSequences;
  options.step.chunk_tokens_max = 64;
  options.memory.shrink_windows = 1;
  options.memory.shrink_after = absl::ZeroDuration();
  return options;
}

class World : public DrivenEngine {
 public:
  using DrivenEngine::DrivenEngine;

  // Sequences that grow side by side, so that each page has blocks of several; two of three end
  // early. Returns when these have ended.
  void Scatter() {
    for (int32_t i = 0; i < kSequences; ++i) {
      Request request;
      for (int32_t t = 0; t < 4; ++t) request.prompt.push_back((i * 5 + t) % kDrivenVocabulary);
      request.sampling.temperature = i % 2 == 0 ? 0.0 : 1.0;
      request.sampling.seed = static_cast<uint64_t>(i);
      request.stopping.max_tokens = i % 3 == 0 ? kLongTokens : 40;
      request.stopping.ignore_eos = true;
      requests_.push_back(request);
      sinks_.push_back(std::make_shared<RecordingSink>());
      EXPECT_TRUE(engine_->Submit(std::move(request), sinks_.back()).ok());
    }
    while (!sinks_[1]->finished() || !sinks_[kSequences - 1]->finished()) Round();
  }
  void Finish() {
    for (int i = 0; i < 1000; ++i) {
      const bool left = std::any_of(sinks_.begin(), sinks_.end(),
                                    [](const auto& sink) { return !sink->finished(); });
      if (!left) return;
      Round();
    }
    ADD_FAILURE() << "requests are left";
  }
  // Every answer is that of a quiet world.
  void ExpectAnswers() const {
    for (size_t i = 0; i < requests_.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "request " << i);
      ASSERT_EQ(sinks_[i]->finish().reason, FinishReason::kLength) << sinks_[i]->finish().status;
      const std::vector<int32_t> answer = sinks_[i]->tokens();
      ASSERT_EQ(static_cast<int32_t>(answer.size()), requests_[i].stopping.max_tokens);
      std::vector<int32_t> tokens = requests_[i].prompt;
      for (size_t n = 0; n < answer.size(); ++n) {
        ASSERT_EQ(answer[n],
                  FakeStepRunner::NextToken(tokens, static_cast<int32_t>(n), requests_[i].sampling,
                                            {}, kDrivenVocabulary));
        tokens.push_back(answer[n]);
      }
    }
  }

  int64_t MappedPages() const { return memory_->pages().count(memory::PageState::kMapped); }
  int64_t NeededPages() const {
    return memory_->geometry().PagesFor(memory_->accounts().used_total());
  }

  std::vector<Request> requests_;
  std::vector<std::shared_ptr<RecordingSink>> sinks_;
};

TEST(CompactionTest, ScatteredPagesGoBackAndNoAnswerChanges) {
  LocalEngineOptions options = Options();
  options.memory.compact_above_percent = 0;
  World off(options);
  off.Scatter();
  for (int i = 0; i < 24; ++i) off.Round();
  EXPECT_GT(2 * off.MappedPages(), 3 * off.NeededPages())
      << "nothing is scattered: this shows nothing";
  off.Finish();
  off.ExpectAnswers();
  EXPECT_EQ(off.memory_->moved_bytes_total(), 0);

  options.memory.compact_above_percent = 110;
  World on(options);
  on.Scatter();
  for (int i = 0; i < 24; ++i) on.Round();
  EXPECT_GT(on.memory_->moved_bytes_total(), 0);
  // Beyond what is in use, a window's growth of one block for each of four sequences: one page.
  EXPECT_LE(on.MappedPages(), on.NeededPages() + 1);
  on.Finish();
  on.ExpectAnswers();
  EXPECT_EQ(on.engine_->Load().preemptions_total, 0);
}

TEST(CompactionTest, AWindowMovesNoMoreThanItsBytes) {
  LocalEngineOptions options = Options();
  options.memory.compact_bytes_max = 0;
  {
    World world(options);
    world.Scatter();
    world.Finish();
    EXPECT_EQ(world.memory_->moved_bytes_total(), 0);
  }
  const int64_t block_bytes = 2 * kernels::PagedKv::LayerBlockBytes(kernels::DType::kF32, 1, 2, 4);
  options.memory.compact_bytes_max = 5 * block_bytes - 1;
  World world(options);
  world.Scatter();
  int64_t windows_with_moves = 0;
  for (int i = 0; i < 20; ++i) {
    // A round is at most a step of each lane, and a window's moves are in one step.
    const int64_t before = world.memory_->moved_bytes_total();
    world.Round();
    const int64_t moved = world.memory_->moved_bytes_total() - before;
    EXPECT_LE(moved, 4 * block_bytes);
    windows_with_moves += moved > 0 ? 1 : 0;
  }
  EXPECT_GE(windows_with_moves, 2);
  EXPECT_LE(world.MappedPages(), world.NeededPages() + 1);
  world.Finish();
  world.ExpectAnswers();
}

// A limit that has room for the blocks, but not for the pages in which they lie. With moves, and
// time for them, nobody gives way; whoever does goes on with the tokens that it would have had.
TEST(CompactionTest, ALoweredLimitIsReachedWithAndWithoutMoves) {
  for (const bool on : {false, true}) {
    SCOPED_TRACE(on ? "on" : "off");
    LocalEngineOptions options = Options();
    options.memory.compact_above_percent = on ? 110 : 0;
    // Nothing shrinks by itself.
    options.memory.shrink_after = absl::Hours(1);
    World world(options);
    world.Scatter();
    const int64_t workspaces = world.engine_->core().WorkspaceBytesMax(Lane::kPrefill) +
                               world.engine_->core().WorkspaceBytesMax(Lane::kDecode);
    // To their ends: four sequences of 104 tokens, seven pages each.
    const int64_t limit = workspaces + 28 * kDrivenPageBytes;
    ASSERT_GT(world.memory_->held_bytes(), limit);
    const int64_t preemptions_before = world.engine_->Load().preemptions_total;
    ASSERT_TRUE(world.engine_->BeginMemoryLimit({limit, absl::Seconds(1)}).ok());
    for (int i = 0; i < 20; ++i) world.Round();
    EXPECT_LE(world.memory_->held_bytes(), limit);
    EXPECT_EQ(world.engine_->Load().preemptions_total > preemptions_before, !on);
    world.Finish();
    world.ExpectAnswers();
  }
}

}  // namespace
}  // namespace ebb::engine

#include "bench/memory/prefix_costs.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/time/clock.h"
#include "base/check.h"
#include "base/rng.h"
#include "memory/block_pool.h"
#include "memory/prefix_cache.h"
#include "memory/prefix_chain.h"
#include "memory/readers.h"

namespace ebb::bench {
namespace {

using memory::BlockId;

constexpr int kRounds = 5;
constexpr int32_t kPageBlocks = 16;
constexpr int32_t kPages = 640;
constexpr int64_t kPromptBlocks = 64;
constexpr int64_t kPrompts = kPages * kPageBlocks / kPromptBlocks;

struct Prompt {
  std::vector<int32_t> tokens;
  memory::PrefixChain chain;
  memory::PrefixPlace place;
  std::vector<BlockId> blocks;
};

// Prompts of random tokens that fill a pool, computed, given back, found again and evicted.
class Round {
 public:
  Round(int32_t block_tokens, uint64_t seed)
      : block_tokens_(block_tokens),
        rng_(seed),
        cache_(OptionsFor(block_tokens), &pool_, &readers_) {
    pool_.set_keeper(&cache_);
    for (memory::PageId page = 0; page < kPages; ++page) pool_.AddPage(page);
    cache_.set_now(absl::UnixEpoch());
  }
  ~Round() { cache_.Clear(); }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  PrefixCosts Run() {
    MakePrompts();
    PrefixCosts costs;
    costs.hash_ns = ForEach([](Prompt* prompt) { prompt->chain.Follow(prompt->tokens); });
    costs.miss_ns = kPromptBlocks * ForEach([this](Prompt* prompt) {
                      CHECK(cache_.Find(prompt->chain, prompt->tokens, {}, kPromptBlocks).empty());
                    });
    costs.take_ns = ForEach([this](Prompt* prompt) { TakeAll(prompt); });
    costs.seal_ns = ForEach([this](Prompt* prompt) {
      for (const BlockId block : prompt->blocks) {
        cache_.Add(prompt->chain, prompt->tokens, block, &prompt->place);
      }
    });
    costs.give_back_ns = ForEach([this](Prompt* prompt) { GiveBack(prompt); });
    costs.hit_ns = ForEach([this](Prompt* prompt) {
      memory::PrefixPlace place;
      const auto hits = cache_.Find(prompt->chain, prompt->tokens, place, kPromptBlocks);
      CHECK_EQ(static_cast<int64_t>(hits.size()), kPromptBlocks);
      for (const memory::PrefixHit& hit : hits) {
        pool_.Revive(hit.block);
        prompt->blocks.push_back(hit.block);
      }
      cache_.NoteHits(hits, &place);
    });
    for (Prompt& prompt : prompts_) GiveBack(&prompt);
    costs.evict_ns = ForEach([this](Prompt* prompt) { TakeAll(prompt); });
    for (Prompt& prompt : prompts_) GiveBack(&prompt);
    return costs;
  }

 private:
  static memory::PrefixCache::Options OptionsFor(int32_t block_tokens) {
    memory::PrefixCache::Options options;
    options.block_tokens = block_tokens;
    options.blocks_per_page = kPageBlocks;
    options.block_count = int64_t{kPages} * kPageBlocks;
    return options;
  }

  void MakePrompts() {
    for (int64_t i = 0; i < kPrompts; ++i) {
      Prompt prompt = {{}, memory::PrefixChain("", block_tokens_), {}, {}};
      for (int64_t token = 0; token < kPromptBlocks * block_tokens_; ++token) {
        prompt.tokens.push_back(static_cast<int32_t>(rng_.Between(0, 49151)));
      }
      prompts_.push_back(std::move(prompt));
    }
  }
  void TakeAll(Prompt* prompt) {
    for (int64_t i = 0; i < kPromptBlocks; ++i) prompt->blocks.push_back(pool_.Take());
  }
  // From the end, as tables do.
  void GiveBack(Prompt* prompt) {
    for (; !prompt->blocks.empty(); prompt->blocks.pop_back()) {
      CHECK(pool_.DropReference(prompt->blocks.back()));
    }
  }
  // Nanoseconds for a block.
  template <typename Work>
  double ForEach(Work work) {
    const absl::Time start = absl::Now();
    for (Prompt& prompt : prompts_) work(&prompt);
    return absl::ToDoubleNanoseconds(absl::Now() - start) / (kPrompts * kPromptBlocks);
  }

  const int32_t block_tokens_;
  base::Rng rng_;
  memory::BlockPool pool_{kPageBlocks, kPages};
  memory::Readers readers_;
  memory::PrefixCache cache_;
  std::vector<Prompt> prompts_;
};

}  // namespace

PrefixCosts MeasurePrefixCosts(int32_t block_tokens) {
  constexpr double kMost = std::numeric_limits<double>::max();
  PrefixCosts least = {kMost, kMost, kMost, kMost, kMost, kMost, kMost};
  for (uint64_t seed = 1; seed <= kRounds; ++seed) {
    const PrefixCosts costs = Round(block_tokens, seed).Run();
    for (double PrefixCosts::*cost :
         {&PrefixCosts::hash_ns, &PrefixCosts::miss_ns, &PrefixCosts::hit_ns, &PrefixCosts::seal_ns,
          &PrefixCosts::give_back_ns, &PrefixCosts::evict_ns, &PrefixCosts::take_ns}) {
      least.*cost = std::min(least.*cost, costs.*cost);
    }
  }
  return least;
}

}  // namespace ebb::bench

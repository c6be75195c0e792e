#include "memory/prefix_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

constexpr int32_t kBlockTokens = 2;

// Collides all the time: a third of what differs is equal.
PrefixDigest WeakHash(const PrefixDigest& before, absl::Span<const int32_t> tokens) {
  PrefixDigest digest = {};
  digest[0] = static_cast<unsigned char>(
      (before[0] + std::accumulate(tokens.begin(), tokens.end(), 1)) % 3);
  return digest;
}

PrefixChain ChainOf(const std::vector<int32_t>& tokens, const std::string& salt = "",
                    PrefixHash hash = &Sha256OfBlock) {
  PrefixChain chain(salt, kBlockTokens, hash);
  chain.Follow(tokens);
  return chain;
}

// Three pages of four blocks.
class PrefixCacheTest : public testing::Test {
 protected:
  PrefixCacheTest() {
    pool_.set_keeper(&cache_);
    for (PageId page = 0; page < 3; ++page) pool_.AddPage(page);
    cache_.set_now(now_);
  }
  ~PrefixCacheTest() override {
    cache_.Clear();
    EXPECT_EQ(pool_.kept_blocks(), 0);
  }

  static PrefixCache::Options Options() {
    PrefixCache::Options options;
    options.block_tokens = kBlockTokens;
    options.blocks_per_page = 4;
    options.block_count = 12;
    options.idle_after = absl::Seconds(60);
    return options;
  }

  // Computes all full blocks of the tokens that are not there; who does so gives all back again.
  std::vector<BlockId> Compute(const std::vector<int32_t>& tokens, const std::string& salt = "",
                               PrefixHash hash = &Sha256OfBlock) {
    const PrefixChain chain = ChainOf(tokens, salt, hash);
    PrefixPlace place;
    std::vector<BlockId> blocks = Use(chain, tokens, &place);
    while (static_cast<int64_t>(blocks.size()) < chain.block_count()) {
      blocks.push_back(pool_.Take());
      cache_.Add(chain, tokens, blocks.back(), &place);
    }
    return blocks;
  }

  std::vector<BlockId> Use(const PrefixChain& chain, const std::vector<int32_t>& tokens,
                           PrefixPlace* place) {
    const std::vector<PrefixHit> hits = cache_.Find(chain, tokens, *place, 100);
    std::vector<BlockId> blocks;
    for (const PrefixHit& hit : hits) {
      blocks.push_back(hit.block);
      pool_.kept(hit.block) ? pool_.Revive(hit.block) : pool_.AddReference(hit.block);
    }
    cache_.NoteHits(hits, place);
    return blocks;
  }

  void GiveBack(const std::vector<BlockId>& blocks) {
    for (const BlockId block : blocks) pool_.DropReference(block);
  }

  int64_t FoundBlocks(const std::vector<int32_t>& tokens, const std::string& salt = "",
                      PrefixHash hash = &Sha256OfBlock) {
    return static_cast<int64_t>(
        cache_.Find(ChainOf(tokens, salt, hash), tokens, PrefixPlace(), 100).size());
  }

  void Pass(absl::Duration time) {
    now_ += time;
    cache_.set_now(now_);
  }

  BlockPool pool_{4, 3};
  Readers readers_;
  PrefixCache cache_{Options(), &pool_, &readers_};
  absl::Time now_ = absl::UnixEpoch();
};

TEST_F(PrefixCacheTest, FindsTheLongestPrefixInUseOrKept) {
  const std::vector<BlockId> first = Compute({1, 2, 3, 4, 5, 6, 7});
  ASSERT_EQ(first.size(), 3u);
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4, 9, 9}), 2);
  EXPECT_EQ(FoundBlocks({1, 2}), 1);
  EXPECT_EQ(FoundBlocks({9, 2, 3, 4}), 0);
  EXPECT_EQ(FoundBlocks({3, 4}), 0);  // Only from the start.
  GiveBack(first);
  EXPECT_EQ(pool_.used_blocks(), 0);
  EXPECT_EQ(pool_.kept_blocks(), 3);
  EXPECT_EQ(pool_.free_blocks(), 12);
  const std::vector<BlockId> second = Compute({1, 2, 3, 4, 8, 8});
  EXPECT_EQ(second[0], first[0]);
  EXPECT_EQ(second[1], first[1]);
  EXPECT_NE(second[2], first[2]);
  EXPECT_EQ(cache_.totals().hit_tokens, 4);
  GiveBack(second);
}

TEST_F(PrefixCacheTest, AnotherSaltFindsNothing) {
  GiveBack(Compute({1, 2, 3, 4}, "a"));
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4}, "b"), 0);
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4}, "a"), 2);
}

TEST_F(PrefixCacheTest, CollisionsAreCaughtByComparing) {
  const PrefixHash weak = &WeakHash;
  // One digest: 1 + 2 and 2 + 1; then the salts alone differ.
  ASSERT_EQ(ChainOf({1, 2}, "", weak).digest(0), ChainOf({2, 1}, "", weak).digest(0));
  std::string other = "b";
  while (ChainOf({1, 2}, other, weak).digest(0) != ChainOf({1, 2}, "", weak).digest(0)) {
    other += "b";
  }
  const std::vector<BlockId> first = Compute({1, 2, 3, 4}, "", weak);
  EXPECT_EQ(FoundBlocks({2, 1, 3, 4}, "", weak), 0);
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4}, other, weak), 0);
  // What collides is not taken in, and nothing is lost by it.
  const std::vector<BlockId> second = Compute({2, 1, 3, 4}, "", weak);
  EXPECT_EQ(FoundBlocks({2, 1, 3, 4}, "", weak), 0);
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4}, "", weak), 2);
  GiveBack(second);
  EXPECT_EQ(pool_.kept_blocks(), 0);
  // The same digest and tokens behind another block: found only behind its own.
  cache_.Forget(first[0]);
  GiveBack(first);
  const std::vector<BlockId> third = Compute({2, 1, 3, 4}, "", weak);
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4}, "", weak), 0);
  EXPECT_EQ(FoundBlocks({2, 1, 3, 4}, "", weak), 2);
  GiveBack(third);
}

TEST_F(PrefixCacheTest, ADuplicateStaysUnknownAndGoesOnBehindTheFirst) {
  const std::vector<int32_t> tokens = {1, 2, 3, 4};
  const PrefixChain chain = ChainOf(tokens);
  PrefixPlace one, two;
  const std::vector<BlockId> blocks = {pool_.Take(), pool_.Take(), pool_.Take()};
  cache_.Add(chain, tokens, blocks[0], &one);
  cache_.Add(chain, tokens, blocks[1], &two);  // Both computed it at the same time.
  EXPECT_FALSE(cache_.Has(blocks[1]));
  cache_.Add(chain, tokens, blocks[2], &two);
  EXPECT_EQ(FoundBlocks(tokens), 2);
  GiveBack({blocks[1], blocks[2]});
  EXPECT_EQ(pool_.kept_blocks(), 1);  // The second one's second.
  GiveBack({blocks[0]});
}

TEST_F(PrefixCacheTest, TheColdestChainGoesFromItsEnd) {
  GiveBack(Compute({1, 2, 3, 4, 5, 6, 7, 8}));
  Pass(absl::Seconds(1));
  GiveBack(Compute({9, 9, 8, 8, 7, 7, 6, 6}));
  std::vector<BlockId> taken;
  for (int i = 0; i < 4; ++i) taken.push_back(pool_.Take());  // Those that hold nothing first.
  EXPECT_EQ(pool_.kept_blocks(), 8);
  taken.push_back(pool_.Take());
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4, 5, 6, 7, 8}), 3);
  taken.push_back(pool_.Take());
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4, 5, 6, 7, 8}), 2);
  EXPECT_EQ(FoundBlocks({9, 9, 8, 8, 7, 7, 6, 6}), 4);
  EXPECT_EQ(cache_.totals().evicted_blocks, 2);
  GiveBack(taken);
}

TEST_F(PrefixCacheTest, WhatWasFoundAgainLivesLonger) {
  GiveBack(Compute({1, 2}));
  GiveBack(Compute({1, 2}));  // One hit: it lives twice as long.
  Pass(absl::Seconds(30));
  GiveBack(Compute({3, 4}));
  EXPECT_EQ(cache_.next_expiry(), now_ + absl::Seconds(60));
  cache_.Expire(now_ + absl::Seconds(59));
  EXPECT_EQ(pool_.kept_blocks(), 2);
  cache_.Expire(now_ + absl::Seconds(60));
  EXPECT_EQ(FoundBlocks({3, 4}), 0);
  EXPECT_EQ(FoundBlocks({1, 2}), 1);
  cache_.Expire(now_ + absl::Seconds(90));
  EXPECT_EQ(pool_.kept_blocks(), 0);
  EXPECT_EQ(cache_.totals().expired_blocks, 2);
  EXPECT_EQ(cache_.next_expiry(), absl::InfiniteFuture());
}

TEST_F(PrefixCacheTest, TheFloorDoesNotExpire) {
  PrefixCache::Options options = Options();
  options.floor_blocks = 1;
  BlockPool pool(4, 3);
  PrefixCache cache(options, &pool, &readers_);
  pool.set_keeper(&cache);
  pool.AddPage(0);
  cache.set_now(now_);
  const std::vector<int32_t> tokens = {1, 2, 3, 4};
  const PrefixChain chain = ChainOf(tokens);
  PrefixPlace place;
  for (const BlockId block : {pool.Take(), pool.Take()}) cache.Add(chain, tokens, block, &place);
  for (const BlockId block : {0, 1}) pool.DropReference(block);
  cache.Expire(now_ + absl::Hours(1));
  EXPECT_EQ(pool.kept_blocks(), 1);
  EXPECT_EQ(cache.Find(chain, tokens, PrefixPlace(), 9).size(), 1u);
  cache.Clear();
}

TEST_F(PrefixCacheTest, PagesGoColdestFirstAndWithABlockAllBehindIt) {
  GiveBack(Compute({1, 2, 3, 4}));  // Page 0.
  const std::vector<BlockId> filler = {pool_.Take(), pool_.Take()};
  Pass(absl::Seconds(1));
  GiveBack(Compute({9, 9, 8, 8, 7, 7, 6, 6}));  // Page 1.
  GiveBack(filler);
  EXPECT_EQ(cache_.EmptyPagesColdestFirst(), (std::vector<PageId>{0, 1}));
  EXPECT_EQ(pool_.kept_only_pages(), 2);
  const std::vector<BlockId> used = Compute({1, 2});
  EXPECT_EQ(cache_.EmptyPagesColdestFirst(), (std::vector<PageId>{1}));
  EXPECT_EQ(pool_.kept_only_pages(), 1);
  GiveBack(used);
  // A block of page 2 behind one of page 0.
  const std::vector<BlockId> fill = {pool_.Take(), pool_.Take()};
  GiveBack(Compute({1, 2, 3, 4, 5, 5}));
  GiveBack(fill);
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4, 5, 5}), 3);
  cache_.EvictPage(0);
  EXPECT_EQ(pool_.kept_blocks(), 4);
  EXPECT_EQ(cache_.node_count(), 4);
  pool_.RemovePage(0);
}

TEST_F(PrefixCacheTest, AMovedBlockIsFoundOnceItIsThere) {
  const Readers::Id lane = readers_.Add("decode");
  const std::vector<BlockId> blocks = Compute({1, 2, 3, 4});
  const uint64_t ticket = readers_.Submit(lane);
  pool_.MoveReferences(blocks[1], 7);
  cache_.Move(blocks[1], 7);
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4}), 1);
  readers_.Complete(lane, ticket);
  EXPECT_EQ(FoundBlocks({1, 2, 3, 4}), 2);
  GiveBack({blocks[0], 7});
  EXPECT_TRUE(pool_.kept(7));
}

TEST_F(PrefixCacheTest, ResidenceCountsFromTheStart) {
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8};
  GiveBack(Compute(tokens));
  const std::vector<BlockId> used = Compute({1, 2, 3, 4});
  const PrefixChain longer = ChainOf({1, 2, 3, 4, 5, 6, 7, 8, 9, 9});
  EXPECT_EQ(cache_.ResidenceOf(longer, 100).blocks, 4);
  EXPECT_EQ(cache_.ResidenceOf(longer, 100).used_blocks, 2);
  EXPECT_EQ(cache_.ResidenceOf(longer, 1).blocks, 1);
  GiveBack(used);
}

// Sequences with much in common come, compute, share, end and lose blocks to others, with digests
// that collide in every other run: whatever is found holds what was looked for.
TEST(PrefixCacheRandomTest, WhatIsFoundHoldsWhatWasLookedFor) {
  const uint64_t seed = TestSeed(1);
  int64_t hits = 0, evicted = 0, expired = 0;
  for (int run = 0; run < SeedCount(200); ++run) {
    base::Rng rng(seed + run);
    SCOPED_TRACE(testing::Message() << "SEED=" << seed + run);
    const PrefixHash hash = (seed + run) % 2 == 0 ? &WeakHash : &Sha256OfBlock;
    constexpr int32_t kB = 3, kPages = 7;
    BlockPool pool(kB, kPages);
    Readers readers;
    PrefixCache::Options options;
    options.block_tokens = kBlockTokens;
    options.blocks_per_page = kB;
    options.block_count = kB * kPages;
    options.idle_after = absl::Seconds(5);
    options.floor_blocks = rng.Between(0, 3);
    PrefixCache cache(options, &pool, &readers);
    pool.set_keeper(&cache);
    struct Owner {
      std::string salt;
      std::vector<int32_t> tokens;
      PrefixChain chain;
      PrefixPlace place;
      std::vector<BlockId> blocks;
    };
    std::vector<Owner> owners;
    // What each block holds: its salt and all tokens up to its end.
    std::map<BlockId, std::pair<std::string, std::vector<int32_t>>> holds;
    absl::Time now = absl::UnixEpoch();
    const auto prefix = [](const Owner& owner, size_t blocks) {
      return std::pair(
          owner.salt,
          std::vector<int32_t>(owner.tokens.begin(),
                               owner.tokens.begin() + static_cast<int64_t>(blocks) * kBlockTokens));
    };
    const auto extend = [&](Owner* owner) {
      const std::vector<PrefixHit> found =
          cache.Find(owner->chain, owner->tokens, owner->place, rng.Between(1, 3));
      if (static_cast<int64_t>(owner->blocks.size()) == owner->place.blocks) {
        for (const PrefixHit& hit : found) {
          ASSERT_EQ(holds[hit.block], prefix(*owner, owner->blocks.size() + 1));
          pool.kept(hit.block) ? pool.Revive(hit.block) : pool.AddReference(hit.block);
          owner->blocks.push_back(hit.block);
        }
        cache.NoteHits(found, &owner->place);
        if (!found.empty()) return;
      }
      if (static_cast<int64_t>(owner->blocks.size()) == owner->chain.block_count()) return;
      if (pool.free_blocks() == 0) return;
      owner->blocks.push_back(pool.Take());
      holds[owner->blocks.back()] = prefix(*owner, owner->blocks.size());
      if (owner->place.blocks + 1 == static_cast<int64_t>(owner->blocks.size())) {
        cache.Add(owner->chain, owner->tokens, owner->blocks.back(), &owner->place);
      }
    };
    for (int step = 0; step < 600; ++step) {
      const size_t at = owners.empty() ? 0 : rng.Between(0, owners.size() - 1);
      const PageId page = static_cast<PageId>(rng.Between(0, kPages - 1));
      switch (rng.Between(0, 8)) {
        case 0:
          if (owners.size() < 5) {
            std::vector<int32_t> tokens;
            for (int64_t count = rng.Between(1, 13); count > 0; --count) {
              tokens.push_back(static_cast<int32_t>(rng.Between(1, 2)));
            }
            const std::string salt = rng.Chance(0.3) ? "x" : "";
            PrefixChain chain(salt, kBlockTokens, hash);
            chain.Follow(tokens);
            owners.push_back({salt, tokens, chain, {}, {}});
          }
          break;
        case 1:
        case 2:
        case 3:
          if (!owners.empty()) extend(&owners[at]);
          break;
        case 4:
          if (!owners.empty()) {
            for (const BlockId block : owners[at].blocks) pool.DropReference(block);
            owners.erase(owners.begin() + static_cast<std::ptrdiff_t>(at));
          }
          break;
        case 5:
          if (!pool.usable(page)) {
            pool.AddPage(page);
          } else if (pool.used_in_page(page) == 0 && rng.Chance(0.3)) {
            cache.EvictPage(page);
            pool.RemovePage(page);
          }
          break;
        case 6:
          now += absl::Milliseconds(rng.Between(0, 3000));
          cache.Expire(now);
          break;
        case 7:
          if (!owners.empty() && !owners[at].blocks.empty() && rng.Chance(0.2)) {
            cache.Forget(owners[at].blocks[rng.Between(0, owners[at].blocks.size() - 1)]);
          }
          break;
        case 8:
          if (rng.Chance(0.02)) cache.Clear();
          break;
      }
      if (testing::Test::HasFatalFailure()) return;
      int64_t known = 0, kept = 0;
      for (BlockId block = 0; block < kB * kPages; ++block) {
        known += cache.Has(block) ? 1 : 0;
        kept += pool.kept(block) ? 1 : 0;
        ASSERT_TRUE(cache.Has(block) || !pool.kept(block));
        ASSERT_TRUE(pool.kept(block) || pool.references(block) > 0 || !cache.Has(block));
      }
      ASSERT_EQ(cache.node_count(), known);
      ASSERT_EQ(pool.kept_blocks(), kept);
    }
    hits += cache.totals().hit_tokens;
    evicted += cache.totals().evicted_blocks;
    expired += cache.totals().expired_blocks;
    for (Owner& owner : owners) {
      for (const BlockId block : owner.blocks) pool.DropReference(block);
    }
    cache.Clear();
    ASSERT_EQ(pool.kept_blocks(), 0);
  }
  if (SeedCount(200) > 1) {
    EXPECT_GT(hits, 1000);
    EXPECT_GT(evicted, 1000);
    EXPECT_GT(expired, 100);
  }
}

}  // namespace
}  // namespace ebb::memory

// Pages that hold cached prefixes: they stay while nobody lacks the memory, and go before anybody
// does.
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "tests/memory/keeper_fixture.h"

namespace ebb::memory {
namespace {

class KvPrefixTest : public KeeperFixture {
 protected:
  void Start(int64_t floor_bytes = 0) {
    options_.prefix_cache = true;
    options_.prefix_idle_after = absl::Seconds(60);
    options_.prefix_floor_bytes = floor_bytes;
    options_.workspaces = {{"workspace.decode", kPage}};
    options_.shrink.pages_at_once = 100;
    Make();
    Settle();
  }

  static std::vector<int32_t> Tokens(int32_t first, int64_t blocks) {
    std::vector<int32_t> tokens(static_cast<size_t>(blocks) * 16);
    std::iota(tokens.begin(), tokens.end(), first);
    return tokens;
  }

  // A sequence runs, has so many blocks computed, and ends.
  void Run(int32_t first, int64_t blocks) {
    Want(blocks);
    Settle();
    memory_->accounts().TopUp(AccountId::kDecode);
    BlockTable table = memory_->NewTable(AccountId::kDecode);
    const std::vector<int32_t> tokens = Tokens(first, blocks);
    PrefixChain chain("", 16);
    chain.Follow(tokens);
    PrefixPlace place;
    PrefixCache& cache = *memory_->prefix_cache();
    std::vector<PrefixHit> hits = cache.Find(chain, tokens, place, blocks);
    std::vector<BlockId> found;
    for (const PrefixHit& hit : hits) found.push_back(hit.block);
    ASSERT_EQ(table.Adopt(found), static_cast<int64_t>(found.size()));
    cache.NoteHits(hits, &place);
    ASSERT_TRUE(table.TryExtendTo(blocks * 16));
    while (place.blocks < blocks) {
      cache.Add(chain, tokens, table.blocks()[static_cast<size_t>(place.blocks)], &place);
    }
    table.ShrinkTo(0);
    memory_->CloseWindow(AccountId::kDecode);
    Settle();
  }

  int64_t Found(int32_t first, int64_t blocks) {
    const std::vector<int32_t> tokens = Tokens(first, blocks);
    PrefixChain chain("", 16);
    chain.Follow(tokens);
    return static_cast<int64_t>(
        memory_->prefix_cache()->Find(chain, tokens, PrefixPlace(), blocks).size());
  }

  // The keeper runs whenever it is due.
  void Wait(absl::Duration time) {
    const absl::Time end = clock_.Now() + time;
    for (;;) {
      Settle();
      const absl::Time next = memory_->NextDeadline(clock_.Now());
      if (next >= end) break;
      clock_.Advance(std::max(next - clock_.Now(), absl::Milliseconds(1)));
    }
    clock_.Advance(end - clock_.Now());
    Settle();
  }
};

TEST_F(KvPrefixTest, CachedPagesOutliveTheirSequencesAndGoWhenTheyHaveExpired) {
  Start();
  Run(0, 10);
  EXPECT_EQ(memory_->cached_bytes(), 10 * memory_->geometry().block_bytes());
  Wait(absl::Seconds(59));
  EXPECT_EQ(Mapped(), 3);
  EXPECT_EQ(Found(0, 10), 10);
  Wait(absl::Seconds(4));
  EXPECT_EQ(Mapped(), 0);
  EXPECT_EQ(memory_->held_bytes(), 0);
  EXPECT_EQ(Found(0, 10), 0);
  EXPECT_FALSE(memory_->TakeMiss().has_value());
}

TEST_F(KvPrefixTest, PagesWithFewCachedBlocksStayToo) {
  Start();
  for (const int32_t first : {0, 1000, 2000, 3000}) Run(first, 4);
  PrefixCache& cache = *memory_->prefix_cache();
  // What is left is a block in each of four pages.
  for (const BlockId block : {1, 5, 9, 13}) cache.Forget(block);
  Wait(absl::Seconds(30));
  EXPECT_EQ(Mapped(), 4);
  for (const int32_t first : {0, 1000, 2000, 3000}) EXPECT_EQ(Found(first, 4), 1);
  Wait(absl::Seconds(40));
  EXPECT_EQ(Mapped(), 0);
}

TEST_F(KvPrefixTest, TheFloorStays) {
  Start(kPage);
  Run(0, 10);
  Wait(absl::Minutes(5));
  EXPECT_EQ(Mapped(), 1);
  EXPECT_EQ(Found(0, 10), 4);
}

TEST_F(KvPrefixTest, NewPagesAreMappedBesideCachedOnesWhileThereIsRoom) {
  Start();
  Run(0, 8);
  clock_.Advance(absl::Milliseconds(1));
  Run(1000, 8);
  EXPECT_EQ(Found(0, 8), 8);
  EXPECT_EQ(Found(1000, 8), 8);
  EXPECT_EQ(Mapped(), 4);
  // Seven pages beside the workspace: the coldest blocks go for those that are wanted.
  Run(2000, 16);
  EXPECT_EQ(Found(2000, 16), 16);
  EXPECT_EQ(Found(1000, 8), 8);
  EXPECT_EQ(Found(0, 8), 4);
  EXPECT_EQ(Mapped(), 7);
  EXPECT_FALSE(memory_->TakeMiss().has_value());
}

TEST_F(KvPrefixTest, ALoweredLimitTakesTheColdestPagesAndKeepsTheOthers) {
  Start();
  Run(0, 8);
  clock_.Advance(absl::Seconds(1));
  Run(1000, 8);
  memory_->SetLimit(3 * kPage);
  Settle();
  EXPECT_LE(memory_->held_bytes(), 3 * kPage);
  EXPECT_EQ(Found(1000, 8), 8);
  EXPECT_EQ(Found(0, 8), 4);
  EXPECT_EQ(Mapped(), 3);
  memory_->SetLimit(0);
  Settle();
  EXPECT_EQ(memory_->held_bytes(), 0);
}

TEST_F(KvPrefixTest, AWorkspaceThatLacksAPageTakesOne) {
  options_.limit_bytes = 3 * kPage;
  Start();
  Run(0, 8);
  EXPECT_EQ(Mapped(), 2);
  memory_->SetLimit(2 * kPage);
  memory_->workspace(0).SetDemand(kPage);
  Settle();
  EXPECT_EQ(memory_->workspace(0).missing_bytes(), 0);
  EXPECT_EQ(Mapped(), 1);
}

TEST_F(KvPrefixTest, AClaimOfAnotherServerTakesCachedPagesAtOnce) {
  Start();
  Run(0, 16);
  EXPECT_EQ(Mapped(), 4);
  EXPECT_TRUE(memory_->SetLease(6 * kPage, 2 * kPage));
  Settle();
  EXPECT_LE(memory_->held_bytes(), 2 * kPage);
}

TEST_F(KvPrefixTest, NothingIsAskedForThatTheDeviceLacks) {
  device_.fake().SetPeerBytes(97 * kPage);
  Start();
  Run(0, 8);
  Run(1000, 8);
  EXPECT_EQ(memory_->miss_count(), 0);
  EXPECT_EQ(Mapped(), 3);
  EXPECT_EQ(Found(1000, 8), 8);
  EXPECT_EQ(Found(0, 8), 4);
}

}  // namespace
}  // namespace ebb::memory

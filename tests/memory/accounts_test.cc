#include "memory/accounts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "base/rng.h"
#include "memory/block_table.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

constexpr AccountId kPrefill = AccountId::kPrefill;
constexpr AccountId kDecode = AccountId::kDecode;

class AccountsTest : public testing::Test {
 protected:
  AccountsTest() {
    for (PageId page = 0; page < 3; ++page) pool_.AddPage(page);
  }
  std::vector<BlockId> Take(AccountId id, int64_t count) {
    std::vector<BlockId> blocks;
    EXPECT_TRUE(accounts_.TryTake(id, count, &blocks));
    return blocks;
  }

  BlockPool pool_{4, 5};  // 12 of 20 blocks are mapped.
  Accounts accounts_{&pool_, 20};
};

TEST_F(AccountsTest, NothingIsTakenBeyondTheGrant) {
  std::vector<BlockId> blocks;
  EXPECT_FALSE(accounts_.TryTake(kDecode, 1, &blocks));
  accounts_.SetDemand(kDecode, 5);
  EXPECT_FALSE(accounts_.TryTake(kDecode, 6, &blocks));
  EXPECT_TRUE(blocks.empty());
  EXPECT_TRUE(accounts_.TryTake(kDecode, 5, &blocks));
  EXPECT_FALSE(accounts_.TryTake(kDecode, 1, &blocks));
  EXPECT_EQ(accounts_.used(kDecode), 5);
  accounts_.Return(blocks);
  EXPECT_EQ(accounts_.used(kDecode), 0);
  EXPECT_EQ(accounts_.granted(kDecode), 5);  // Until the boundary.
}

TEST_F(AccountsTest, GrantsAreCoveredByMappedPagesAndRiseWithThem) {
  accounts_.SetDemand(kDecode, 10);
  accounts_.SetDemand(kPrefill, 6);
  EXPECT_EQ(accounts_.granted(kPrefill), 2);
  EXPECT_EQ(accounts_.wanted_blocks(), 16);
  EXPECT_EQ(accounts_.spare_blocks(), 0);
  pool_.AddPage(3);
  EXPECT_EQ(accounts_.TopUp(kPrefill), 6);
  EXPECT_EQ(accounts_.spare_blocks(), 0);
  EXPECT_FALSE(accounts_.CoveredWithout(1));
}

TEST_F(AccountsTest, TheOthersLeaveTheUnmetDemandOfTheFirstAlone) {
  accounts_.SetDemand(kDecode, 14);
  EXPECT_EQ(accounts_.granted(kDecode), 12);
  accounts_.SetDemand(kPrefill, 4);
  pool_.AddPage(3);
  EXPECT_EQ(accounts_.TopUp(kPrefill), 2);  // 4 spare, 2 of them are decode's.
  EXPECT_EQ(accounts_.TopUp(kDecode), 14);
  accounts_.set_first(kPrefill);
  pool_.AddPage(4);
  accounts_.SetDemand(kDecode, 20);
  EXPECT_EQ(accounts_.granted(kDecode), 16);  // 4 spare, 2 of them are prefill's.
}

TEST_F(AccountsTest, ABoundaryTakesUnusedGrantBackButNeverUsedBlocks) {
  accounts_.SetDemand(kDecode, 8);
  const std::vector<BlockId> blocks = Take(kDecode, 3);
  accounts_.SetDemand(kDecode, 1);
  EXPECT_EQ(accounts_.granted(kDecode), 3);
  EXPECT_EQ(accounts_.wanted_blocks(), 3);
  accounts_.Return(blocks);
}

TEST_F(AccountsTest, WhatIsForgoneIsFreeForOthersAtOnce) {
  accounts_.SetDemand(kDecode, 12);
  const std::vector<BlockId> stays = Take(kDecode, 2);
  const std::vector<BlockId> goes = Take(kDecode, 4);
  accounts_.Return(goes);
  accounts_.Forgo(kDecode, 6);
  EXPECT_EQ(accounts_.granted(kDecode), 6);
  accounts_.Forgo(kDecode, 100);
  EXPECT_EQ(accounts_.granted(kDecode), 2);
  accounts_.SetDemand(kPrefill, 10);
  EXPECT_EQ(accounts_.granted(kPrefill), 10);
  accounts_.Return(stays);
}

TEST_F(AccountsTest, AHandOverMovesBlocksGrantAndGrowthByReference) {
  accounts_.SetDemand(kPrefill, 8);
  const std::vector<BlockId> blocks = Take(kPrefill, 5);
  accounts_.HandOver(blocks, 2, kPrefill, kDecode);
  EXPECT_EQ(accounts_.used(kPrefill), 0);
  EXPECT_EQ(accounts_.granted(kPrefill), 1);
  EXPECT_EQ(accounts_.demand(kPrefill), 1);
  EXPECT_EQ(accounts_.used(kDecode), 5);
  EXPECT_EQ(accounts_.granted(kDecode), 7);
  EXPECT_EQ(accounts_.demand(kDecode), 7);
  const std::vector<BlockId> grown = Take(kDecode, 2);
  accounts_.Return(blocks);
  accounts_.Return(grown);
  EXPECT_EQ(accounts_.used(kDecode), 0);
}

TEST_F(AccountsTest, ASharedBlockIsChargedOnce) {
  accounts_.SetDemand(kPrefill, 2);
  const std::vector<BlockId> blocks = Take(kPrefill, 2);
  accounts_.Share(blocks);
  EXPECT_EQ(accounts_.used_total(), 2);
  accounts_.HandOver(blocks, 0, kPrefill, kDecode);
  EXPECT_EQ(accounts_.used(kDecode), 2);
  // The second owner's hand-over finds the charge moved already.
  accounts_.HandOver(blocks, 0, kPrefill, kDecode);
  EXPECT_EQ(accounts_.used(kDecode), 2);
  accounts_.Return(blocks);
  EXPECT_EQ(accounts_.used(kDecode), 2);
  accounts_.Return(blocks);
  EXPECT_EQ(accounts_.used_total(), 0);
}

using AccountsDeathTest = AccountsTest;

TEST_F(AccountsDeathTest, BlocksThatDoNotComeBackEndTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        const KvGeometry geometry = KvGeometry::Create({1, 4, 1024}, 4096, 4).value();
        accounts_.SetDemand(kDecode, 1);
        BlockTable table(geometry, &accounts_, kDecode);
        (void)table.TryExtendTo(1);
      },
      "1 blocks were not given back");
}

TEST(BlockTableTest, IndicesNameTheBlocksInOrder) {
  const KvGeometry geometry = KvGeometry::Create({2, 4, 1536}, 4096, 3).value();
  ASSERT_EQ(geometry.page_bytes() / 1536, 8);
  BlockPool pool(3, 2);
  Accounts accounts(&pool, 6);
  pool.AddPage(0);
  pool.AddPage(1);
  accounts.SetDemand(kPrefill, 5);
  BlockTable table(geometry, &accounts, kPrefill);
  EXPECT_EQ(table.MissingBlocks(13), 4);
  ASSERT_TRUE(table.TryExtendTo(13));
  EXPECT_EQ(table.capacity_tokens(), 16);
  EXPECT_EQ(std::vector<int32_t>(table.indices().begin(), table.indices().end()),
            std::vector<int32_t>({0, 1, 2, 8}));
  EXPECT_TRUE(table.TryExtendTo(5));  // Never shrinks.
  EXPECT_EQ(table.block_count(), 4);
  EXPECT_FALSE(table.TryExtendTo(21));  // Two blocks, one granted: nothing changes.
  EXPECT_EQ(table.block_count(), 4);
  const std::vector<PageBlocks> by_page = table.OwnBlocksByPage();
  ASSERT_EQ(by_page.size(), 2u);
  EXPECT_EQ(by_page[0].blocks, 3);
  EXPECT_EQ(by_page[1].page, 1);

  table.HandOver(kDecode, 1);
  EXPECT_EQ(table.account(), kDecode);
  EXPECT_TRUE(table.TryExtendTo(17));
  BlockTable moved = std::move(table);
  EXPECT_EQ(table.block_count(), 0);
  EXPECT_EQ(moved.block_count(), 5);
  moved.ShrinkTo(5);
  EXPECT_EQ(moved.block_count(), 2);
  EXPECT_EQ(accounts.used(kDecode), 2);
  moved.ShrinkTo(0);
}

TEST(BlockTableTest, TablesShareBlocksAndReplaceThemBeforeWriting) {
  const KvGeometry geometry = KvGeometry::Create({1, 4, 1024}, 4096, 4).value();
  BlockPool pool(4, 2);
  Accounts accounts(&pool, 8);
  pool.AddPage(0);
  pool.AddPage(1);
  accounts.SetDemand(kDecode, 5);
  BlockTable first(geometry, &accounts, kDecode);
  ASSERT_TRUE(first.TryExtendTo(11));
  BlockTable second(geometry, &accounts, kPrefill);
  second.ShareFrom(first, 10);
  EXPECT_EQ(second.account(), kDecode);
  EXPECT_EQ(second.capacity_tokens(), 12);
  EXPECT_EQ(second.blocks(), first.blocks());
  EXPECT_EQ(second.indices(), first.indices());
  EXPECT_EQ(accounts.used(kDecode), 3);
  EXPECT_TRUE(first.OwnBlocksByPage().empty());

  const std::optional<BlockMove> copy = second.TryReplace(2);
  ASSERT_TRUE(copy.has_value());
  EXPECT_EQ(copy->from, first.blocks()[2]);
  EXPECT_EQ(copy->to, second.blocks()[2]);
  EXPECT_EQ(second.indices()[2], geometry.TableIndex(copy->to));
  EXPECT_EQ(accounts.owners(copy->from), 2);  // The caller's, until it has copied.
  accounts.Return({copy->from});
  EXPECT_EQ(accounts.owners(copy->from), 1);
  EXPECT_EQ(accounts.used(kDecode), 4);
  ASSERT_EQ(second.OwnBlocksByPage().size(), 1u);
  EXPECT_EQ(second.OwnBlocksByPage()[0].blocks, 1);

  ASSERT_TRUE(second.TryExtendTo(16));
  EXPECT_FALSE(second.TryReplace(0).has_value());  // Nothing is granted any more.
  EXPECT_EQ(second.blocks()[0], first.blocks()[0]);
  first.ShrinkTo(0);
  EXPECT_EQ(accounts.used(kDecode), 4);  // What the second has.
  second.ShrinkTo(0);
  EXPECT_EQ(accounts.used_total(), 0);
}

// Against a model that keeps each table's length and each account's three numbers.
TEST(AccountsRandomTest, BehavesLikeTheNaiveModel) {
  const uint64_t seed = TestSeed(1);
  for (int run = 0; run < SeedCount(60); ++run) {
    base::Rng rng(seed + run);
    SCOPED_TRACE(testing::Message() << "SEED=" << seed + run);
    constexpr int32_t kB = 3, kPages = 8;
    const KvGeometry geometry = KvGeometry::Create({1, 4, 1024}, 4096, kB).value();
    BlockPool pool(kB, kPages);
    Accounts accounts(&pool, kB * kPages);
    std::vector<BlockTable> tables;
    std::array<int64_t, kAccountCount> demand = {}, granted = {};
    AccountId first = kDecode;
    const auto used = [&](AccountId id) {
      int64_t blocks = 0;
      for (const BlockTable& table : tables)
        blocks += table.account() == id ? table.block_count() : 0;
      return blocks;
    };
    const auto sum = [](const std::array<int64_t, kAccountCount>& of) { return of[0] + of[1]; };
    const auto top_up = [&](AccountId id) {
      const int i = static_cast<int>(id), f = static_cast<int>(first);
      int64_t spare = pool.usable_blocks() - sum(granted);
      if (i != f) spare -= std::max<int64_t>(0, demand[f] - granted[f]);
      if (demand[i] > granted[i] && spare > 0)
        granted[i] += std::min(spare, demand[i] - granted[i]);
    };
    for (int step = 0; step < 500; ++step) {
      const AccountId id = static_cast<AccountId>(rng.Between(0, 1));
      const int i = static_cast<int>(id);
      const size_t at = tables.empty() ? 0 : rng.Between(0, tables.size() - 1);
      switch (rng.Between(0, 8)) {
        case 0:
          for (PageId page = 0; page < kPages; ++page) {
            if (pool.usable(page)) continue;
            pool.AddPage(page);
            break;
          }
          break;
        case 1:
          if (pool.HighestEmptyPage() >= 0 && accounts.CoveredWithout(kB)) {
            pool.RemovePage(pool.HighestEmptyPage());
          }
          break;
        case 2:
          demand[i] = rng.Between(0, 20);
          granted[i] = std::min(granted[i], std::max(used(id), demand[i]));
          top_up(id);
          accounts.SetDemand(id, demand[i]);
          break;
        case 3:
          top_up(id);
          ASSERT_EQ(accounts.TopUp(id), granted[i]);
          break;
        case 4:
          if (tables.size() < 6) tables.emplace_back(geometry, &accounts, id);
          break;
        case 5:
          if (!tables.empty()) {
            const int64_t tokens = rng.Between(0, 40);
            const int64_t missing =
                std::max<int64_t>(0, (tokens + 3) / 4 - tables[at].block_count());
            const AccountId owner = tables[at].account();
            const bool fits = missing <= granted[static_cast<int>(owner)] - used(owner);
            ASSERT_EQ(tables[at].TryExtendTo(tokens), fits);
          }
          break;
        case 6:
          if (!tables.empty()) tables[at].ShrinkTo(rng.Between(0, 40));
          break;
        case 7:
          if (!tables.empty() && tables[at].account() == kPrefill) {
            const int64_t moved = tables[at].block_count();
            const int64_t asked = rng.Between(0, 3);
            tables[at].HandOver(kDecode, asked);
            granted[0] -= moved;
            const int64_t growth = std::min(asked, granted[0] - used(kPrefill));
            granted[0] -= growth;
            demand[0] = std::max<int64_t>(0, demand[0] - moved - growth);
            granted[1] += moved + growth;
            demand[1] += moved + growth;
          }
          break;
        case 8:
          if (rng.Chance(0.5)) {
            first = id;
            accounts.set_first(id);
          } else {
            const int64_t blocks = rng.Between(0, 6);
            demand[i] = std::max(used(id), demand[i] - blocks);
            granted[i] = std::min(granted[i], demand[i]);
            accounts.Forgo(id, blocks);
          }
          break;
      }
      std::map<int32_t, int> named;
      for (const BlockTable& table : tables) {
        for (const int32_t index : table.indices()) {
          ASSERT_EQ(++named[index], 1) << "a block in two tables";
          ASSERT_TRUE(pool.usable(geometry.PageOf(geometry.BlockOf(index))));
        }
      }
      ASSERT_EQ(accounts.used_total(), static_cast<int64_t>(named.size()));
      for (const AccountId account : {kPrefill, kDecode}) {
        ASSERT_EQ(accounts.granted(account), granted[static_cast<int>(account)]);
        ASSERT_EQ(accounts.demand(account), demand[static_cast<int>(account)]);
        ASSERT_EQ(accounts.used(account), used(account));
        ASSERT_LE(used(account), accounts.granted(account));
      }
      ASSERT_LE(accounts.granted_total(), pool.usable_blocks());
    }
    for (BlockTable& table : tables) table.ShrinkTo(0);
    EXPECT_EQ(pool.used_blocks(), 0);
  }
}

}  // namespace
}  // namespace ebb::memory

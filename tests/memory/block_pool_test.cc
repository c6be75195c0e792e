#include "memory/block_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

TEST(BlockPoolTest, TakesFromTheFullestPageAndTheLowestAddress) {
  BlockPool pool(4, 3);
  for (PageId page : {2, 0, 1}) pool.AddPage(page);
  // All empty: the lowest page; then it is the fullest.
  EXPECT_EQ(pool.Take(), 0);
  EXPECT_EQ(pool.Take(), 1);
  EXPECT_EQ(pool.Take(), 2);
  EXPECT_EQ(pool.Take(), 3);
  EXPECT_EQ(pool.Take(), 4);
  pool.DropReference(1);
  EXPECT_EQ(pool.Take(), 1);  // Page 0 with three used is fuller than page 1 with one.
  EXPECT_EQ(pool.HighestEmptyPage(), 2);
  EXPECT_EQ(pool.empty_pages(), 1);
  for (BlockId block : {0, 1, 2, 3, 4}) pool.DropReference(block);
  EXPECT_EQ(pool.empty_pages(), 3);
}

TEST(BlockPoolTest, ASharedBlockIsFreeWhenItsLastOwnerDropsIt) {
  BlockPool pool(2, 1);
  pool.AddPage(0);
  const BlockId block = pool.Take();
  pool.AddReference(block);
  EXPECT_EQ(pool.references(block), 2);
  EXPECT_EQ(pool.shared_blocks(), 1);
  EXPECT_FALSE(pool.DropReference(block));
  EXPECT_EQ(pool.shared_blocks(), 0);
  EXPECT_EQ(pool.used_blocks(), 1);
  EXPECT_TRUE(pool.DropReference(block));
  EXPECT_EQ(pool.used_blocks(), 0);
}

TEST(BlockPoolDeathTest, MisuseEndsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  BlockPool pool(2, 2);
  EXPECT_DEATH((void)pool.Take(), "no free block");
  pool.AddPage(0);
  EXPECT_DEATH(pool.AddPage(0), "CHECK");
  const BlockId block = pool.Take();
  EXPECT_DEATH(pool.RemovePage(0), "in use");
  EXPECT_DEATH(pool.RemovePage(1), "CHECK");
  EXPECT_DEATH(pool.AddReference(block + 1), "is free");
  pool.DropReference(block);
  EXPECT_DEATH(pool.DropReference(block), "is free");
  EXPECT_DEATH(
      {
        BlockPool leaky(2, 1);
        leaky.AddPage(0);
        (void)leaky.Take();
      },
      "not given back");
}

// Against a model that keeps one count for each block and searches them all.
TEST(BlockPoolRandomTest, BehavesLikeTheNaiveModel) {
  const uint64_t seed = TestSeed(1);
  for (int run = 0; run < SeedCount(60); ++run) {
    base::Rng rng(seed + run);
    SCOPED_TRACE(testing::Message() << "SEED=" << seed + run);
    const int32_t b = static_cast<int32_t>(rng.Between(1, 6));
    const int32_t pages = static_cast<int32_t>(rng.Between(1, 7));
    BlockPool pool(b, pages);
    std::vector<int> references(b * pages, 0);
    std::vector<bool> usable(pages, false);
    const auto used_in = [&](PageId page) {
      int32_t used = 0;
      for (int32_t i = 0; i < b; ++i) used += references[page * b + i] > 0 ? 1 : 0;
      return used;
    };
    for (int step = 0; step < 500; ++step) {
      const PageId page = static_cast<PageId>(rng.Between(0, pages - 1));
      const BlockId block = static_cast<BlockId>(rng.Between(0, b * pages - 1));
      switch (rng.Between(0, 4)) {
        case 0:
          if (!usable[page]) {
            pool.AddPage(page);
            usable[page] = true;
          } else if (used_in(page) == 0) {
            pool.RemovePage(page);
            usable[page] = false;
          }
          break;
        case 1:
        case 2: {
          PageId fullest = -1;
          for (PageId p = 0; p < pages; ++p) {
            if (!usable[p] || used_in(p) == b) continue;
            if (fullest < 0 || used_in(p) > used_in(fullest)) fullest = p;
          }
          ASSERT_EQ(pool.free_blocks() > 0, fullest >= 0);
          if (fullest < 0) break;
          BlockId lowest = fullest * b;
          while (references[lowest] > 0) ++lowest;
          ASSERT_EQ(pool.Take(), lowest);
          references[lowest] = 1;
          break;
        }
        case 3:
          if (references[block] > 0) {
            pool.AddReference(block);
            ++references[block];
          }
          break;
        case 4:
          if (references[block] > 0) {
            ASSERT_EQ(pool.DropReference(block), --references[block] == 0);
          }
          break;
      }
      int64_t usable_blocks = 0, used_blocks = 0;
      int32_t empty = 0;
      PageId highest_empty = -1;
      for (PageId p = 0; p < pages; ++p) {
        ASSERT_EQ(pool.usable(p), usable[p]);
        ASSERT_EQ(pool.used_in_page(p), used_in(p));
        if (!usable[p]) continue;
        usable_blocks += b;
        used_blocks += used_in(p);
        if (used_in(p) == 0) ++empty, highest_empty = p;
      }
      for (BlockId i = 0; i < b * pages; ++i) ASSERT_EQ(pool.references(i), references[i]);
      ASSERT_EQ(pool.usable_blocks(), usable_blocks);
      ASSERT_EQ(pool.used_blocks(), used_blocks);
      ASSERT_EQ(pool.empty_pages(), empty);
      ASSERT_EQ(pool.HighestEmptyPage(), highest_empty);
    }
    for (BlockId i = 0; i < b * pages; ++i) {
      while (references[i]-- > 0) pool.DropReference(i);
    }
    EXPECT_EQ(pool.used_blocks(), 0);
  }
}

}  // namespace
}  // namespace ebb::memory

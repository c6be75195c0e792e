#include "memory/page_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/rng.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

constexpr int64_t kPage = 10;
uint8_t* const kBase = reinterpret_cast<uint8_t*>(uintptr_t{1} << 40);

class PagePoolTest : public testing::Test {
 protected:
  PagePoolTest() : budget_(8 * kPage, 0) {
    budget_.SetFree(1000);
    decode_ = readers_.Add("decode");
    pool_.set_on_mapped([this](PageId page) { told_.push_back(page); });
  }
  ~PagePoolTest() override {
    readers_.Complete(decode_, readers_.submitted(decode_));
    for (PageWork work : pool_.TakeAll()) Commit(work, PageOutcome::kUndone);
    EXPECT_EQ(budget_.held_bytes(), 0);
  }

  // What the keeper reports for an outcome.
  void Commit(PageWork work, PageOutcome outcome) {
    if (outcome == PageOutcome::kUndone) work.handle = 0, work.mapped = false;
    if (outcome == PageOutcome::kDone && pool_.state(work.page) == PageState::kPreparing) {
      work.handle = 100 + work.page;
    }
    if (outcome == PageOutcome::kDone && pool_.state(work.page) == PageState::kMapping) {
      work.mapped = true;
    }
    pool_.Commit(work, outcome);
  }
  void GrowTo(int32_t pages) {
    pool_.SetTarget(pages, 0);
    for (const PageWork& work : pool_.TakePrepare(100)) Commit(work, PageOutcome::kDone);
    for (const PageWork& work : pool_.TakeMap(100)) Commit(work, PageOutcome::kDone);
  }

  MemoryBudget budget_;
  Readers readers_;
  Readers::Id decode_ = 0;
  PagePool pool_{{"kv", kBase, kPage, 12}, &budget_, &readers_};
  std::vector<PageId> told_;
};

TEST_F(PagePoolTest, GrowsFromTheLowestAddressUpToTheTarget) {
  GrowTo(3);
  EXPECT_EQ(told_, std::vector<PageId>({0, 1, 2}));
  EXPECT_EQ(pool_.count(PageState::kMapped), 3);
  EXPECT_EQ(budget_.held_bytes(), 3 * kPage);
  EXPECT_EQ(pool_.missing_pages(), 0);
  EXPECT_TRUE(pool_.TakePrepare(100).empty());
  EXPECT_EQ(pool_.address(2), kBase + 2 * kPage);
}

TEST_F(PagePoolTest, TheBudgetIsChargedWhenAPageLeavesReserved) {
  pool_.SetTarget(12, 0);
  const std::vector<PageWork> batch = pool_.TakePrepare(100);
  EXPECT_EQ(batch.size(), 8u);
  EXPECT_EQ(budget_.held_bytes(), 8 * kPage);
  EXPECT_EQ(pool_.missing_pages(), 4);
  for (const PageWork& work : batch) Commit(work, PageOutcome::kUndone);
  EXPECT_EQ(budget_.held_bytes(), 0);
  EXPECT_EQ(pool_.count(PageState::kReserved), 12);
}

TEST_F(PagePoolTest, ADrainingPageWaitsForItsReaders) {
  GrowTo(2);
  const uint64_t before = readers_.Submit(decode_);
  pool_.Drain(1);
  readers_.Submit(decode_);  // Later: does not touch the page.
  EXPECT_TRUE(pool_.TakeRelease().empty());
  readers_.Complete(decode_, before);
  const std::vector<PageWork> batch = pool_.TakeRelease();
  ASSERT_EQ(batch.size(), 1u);
  EXPECT_EQ(batch[0].page, 1);
  EXPECT_EQ(batch[0].handle, 101u);
  EXPECT_TRUE(batch[0].mapped);
  EXPECT_EQ(budget_.held_bytes(), 2 * kPage);  // Held until the device has it back.
  Commit(batch[0], PageOutcome::kUndone);
  EXPECT_EQ(budget_.held_bytes(), kPage);
}

TEST_F(PagePoolTest, ADrainingPageCanBeTakenBack) {
  GrowTo(2);
  readers_.Submit(decode_);
  pool_.Drain(1);
  pool_.Undrain(1);
  EXPECT_EQ(pool_.state(1), PageState::kMapped);
  readers_.Complete(decode_, 1);
  EXPECT_TRUE(pool_.TakeRelease().empty());
}

TEST_F(PagePoolTest, PreparedPagesBeyondTheStashAreDroppedHighestFirst) {
  pool_.SetTarget(1, 3);
  for (const PageWork& work : pool_.TakePrepare(100)) Commit(work, PageOutcome::kDone);
  EXPECT_EQ(pool_.count(PageState::kPrepared), 4);
  pool_.SetTarget(1, 1);
  const std::vector<PageWork> batch = pool_.TakeRelease();
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch[0].page, 3);
  EXPECT_FALSE(batch[0].mapped);
  for (const PageWork& work : batch) Commit(work, PageOutcome::kUndone);
  EXPECT_EQ(pool_.held_pages(), 2);
}

TEST_F(PagePoolTest, AStuckPageStaysHeldAndIsNeverUsedAgain) {
  GrowTo(1);
  pool_.Drain(0);
  for (const PageWork& work : pool_.TakeRelease()) Commit(work, PageOutcome::kStuck);
  EXPECT_EQ(pool_.state(0), PageState::kQuarantined);
  EXPECT_EQ(budget_.held_bytes(), kPage);
  GrowTo(2);
  EXPECT_EQ(told_, std::vector<PageId>({0, 1, 2}));
}

TEST_F(PagePoolTest, APageWhoseBlocksAreBeingCopiedIsNotTakenBack) {
  GrowTo(3);
  const uint64_t copy = readers_.Submit(decode_);
  pool_.DrainWhileRead(2);
  EXPECT_FALSE(pool_.CanUndrain(2));
  EXPECT_TRUE(pool_.TakeRelease().empty());
  readers_.Submit(decode_);  // Later: reads the blocks where they are now.
  readers_.Complete(decode_, copy);
  EXPECT_TRUE(pool_.CanUndrain(2));
  pool_.Undrain(2);
  pool_.Drain(2);  // An ordinary one, this time.
  EXPECT_TRUE(pool_.CanUndrain(2));
}

TEST_F(PagePoolTest, CountsPagesMappedAndUnmapped) {
  GrowTo(3);
  EXPECT_EQ(pool_.mapped_total(), 3);
  EXPECT_EQ(pool_.unmapped_total(), 0);
  for (int round = 1; round <= 2; ++round) {
    pool_.SetTarget(1, 0);
    pool_.Drain(2);
    pool_.Drain(1);
    for (const PageWork& work : pool_.TakeRelease()) Commit(work, PageOutcome::kUndone);
    GrowTo(3);
    EXPECT_EQ(pool_.unmapped_total(), 2 * round);
    EXPECT_EQ(pool_.mapped_total(), 3 + 2 * round);
  }
}

using PagePoolDeathTest = PagePoolTest;

TEST_F(PagePoolDeathTest, WrongTransitionsEndTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  GrowTo(1);
  EXPECT_DEATH(pool_.Drain(1), "CHECK");
  EXPECT_DEATH(pool_.Undrain(0), "CHECK");
  EXPECT_DEATH(pool_.Commit(PageWork{0, kBase, 100, true}, PageOutcome::kDone), "CHECK");
  pool_.Drain(0);
  std::vector<PageWork> batch = pool_.TakeRelease();
  // Reserved, but its memory was not given back.
  EXPECT_DEATH(pool_.Commit(batch[0], PageOutcome::kUndone), "holds memory");
  EXPECT_DEATH((void)pool_.TakeAll(), "keeper's hands");
  Commit(batch[0], PageOutcome::kUndone);
}

// Against a model that keeps one state and one ticket for each page and searches it from end to
// end.
TEST(PagePoolRandomTest, BehavesLikeTheNaiveModel) {
  const uint64_t seed = TestSeed(1);
  for (int run = 0; run < SeedCount(60); ++run) {
    base::Rng rng(seed + run);
    SCOPED_TRACE(testing::Message() << "SEED=" << seed + run);
    constexpr int32_t kPages = 9;
    MemoryBudget budget(rng.Between(0, kPages + 2) * kPage, 0);
    budget.SetFree(10000);
    Readers readers;
    const Readers::Id reader = readers.Add("decode");
    PagePool pool({"kv", kBase, kPage, kPages}, &budget, &readers);
    std::vector<PageState> states(kPages, PageState::kReserved);
    std::vector<uint64_t> tickets(kPages, 0);
    int32_t target = 0, stash = 0;
    std::vector<PageWork> in_hand;
    const auto count = [&](PageState state) {
      return static_cast<int32_t>(std::count(states.begin(), states.end(), state));
    };
    const auto held = [&] { return kPages - count(PageState::kReserved); };
    const auto expect_take = [&](const std::vector<PageWork>& batch, PageState from, PageState to,
                                 int32_t most) {
      PageId next = 0;
      for (const PageWork& work : batch) {
        while (next < kPages && states[next] != from) ++next;
        ASSERT_EQ(work.page, next) << "lowest address first";
        states[next] = to;
        in_hand.push_back(work);
      }
      ASSERT_EQ(static_cast<int32_t>(batch.size()), most);
    };
    for (int step = 0; step < 400; ++step) {
      const PageId page = static_cast<PageId>(rng.Between(0, kPages - 1));
      const int32_t grown = count(PageState::kMapped) + count(PageState::kMapping) +
                            count(PageState::kPrepared) + count(PageState::kPreparing);
      const int32_t budget_pages =
          static_cast<int32_t>(std::max<int64_t>(0, budget.limit_bytes() / kPage - held()));
      switch (rng.Between(0, 9)) {
        case 0:
          target = static_cast<int32_t>(rng.Between(0, kPages));
          stash = static_cast<int32_t>(rng.Between(0, 2));
          pool.SetTarget(target, stash);
          break;
        case 1:
          budget.SetLimit(rng.Between(0, kPages + 2) * kPage);
          break;
        case 2: {
          const int32_t most = static_cast<int32_t>(rng.Between(0, 4));
          const int32_t expected = std::min({most, std::max(0, target + stash - grown),
                                             count(PageState::kReserved), budget_pages});
          expect_take(pool.TakePrepare(most), PageState::kReserved, PageState::kPreparing,
                      expected);
          break;
        }
        case 3: {
          const int32_t most = static_cast<int32_t>(rng.Between(0, 4));
          const int32_t lacking =
              std::max(0, target - count(PageState::kMapped) - count(PageState::kMapping));
          expect_take(pool.TakeMap(most), PageState::kPrepared, PageState::kMapping,
                      std::min({most, lacking, count(PageState::kPrepared)}));
          break;
        }
        case 4: {
          const int32_t kept =
              std::max(0, target + stash - count(PageState::kMapped) - count(PageState::kMapping));
          for (const PageWork& work : pool.TakeRelease()) {
            const bool drained = states[work.page] == PageState::kDraining;
            ASSERT_TRUE(drained || states[work.page] == PageState::kPrepared);
            ASSERT_EQ(work.mapped, drained);
            if (drained) {
              ASSERT_LE(tickets[work.page], readers.completed(reader)) << "still being read";
            }
            states[work.page] = PageState::kUnmapping;
            in_hand.push_back(work);
          }
          ASSERT_LE(count(PageState::kPrepared), kept);
          for (PageId p = 0; p < kPages; ++p) {
            if (states[p] == PageState::kDraining) {
              ASSERT_GT(tickets[p], readers.completed(reader));
            }
          }
          break;
        }
        case 5:
        case 6:
          if (!in_hand.empty()) {
            const size_t at = rng.Between(0, static_cast<int64_t>(in_hand.size()) - 1);
            PageWork work = in_hand[at];
            in_hand.erase(in_hand.begin() + at);
            PageState& state = states[work.page];
            const bool done = rng.Chance(0.7);
            if (done && state == PageState::kPreparing) {
              work.handle = 1 + work.page;
              state = PageState::kPrepared;
              pool.Commit(work, PageOutcome::kDone);
            } else if (done && state == PageState::kMapping) {
              work.mapped = true;
              state = PageState::kMapped;
              pool.Commit(work, PageOutcome::kDone);
            } else if (rng.Chance(0.95)) {
              work.handle = 0;
              work.mapped = false;
              state = PageState::kReserved;
              pool.Commit(work, PageOutcome::kUndone);
            } else {
              state = PageState::kQuarantined;
              pool.Commit(work, PageOutcome::kStuck);
            }
          }
          break;
        case 7:
          if (states[page] == PageState::kMapped) {
            pool.Drain(page);
            states[page] = PageState::kDraining;
            tickets[page] = readers.submitted(reader);
          } else if (states[page] == PageState::kDraining) {
            pool.Undrain(page);
            states[page] = PageState::kMapped;
          }
          break;
        case 8:
          readers.Submit(reader);
          break;
        case 9:
          if (readers.completed(reader) < readers.submitted(reader)) {
            readers.Complete(reader, readers.completed(reader) + 1);
          }
          break;
      }
      for (PageId p = 0; p < kPages; ++p) ASSERT_EQ(pool.state(p), states[p]) << "page " << p;
      ASSERT_EQ(pool.held_pages(), held());
      ASSERT_EQ(budget.held_bytes(), held() * kPage);
    }
    for (PageWork work : in_hand) {
      work.handle = 0;
      work.mapped = false;
      pool.Commit(work, PageOutcome::kUndone);
    }
    readers.Complete(reader, readers.submitted(reader));
    for (PageWork work : pool.TakeAll()) {
      work.handle = 0;
      work.mapped = false;
      pool.Commit(work, PageOutcome::kUndone);
    }
    EXPECT_EQ(budget.held_bytes(), 0);
  }
}

}  // namespace
}  // namespace ebb::memory

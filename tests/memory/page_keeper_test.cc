#include "memory/page_keeper.h"

#include <gtest/gtest.h>

#include <vector>

#include "device/vmm_fake.h"
#include "tests/memory/keeper_fixture.h"
#include "tests/memory/memory_checker.h"

namespace ebb::memory {
namespace {

using device::VmmCall;

constexpr AccountId kDecode = AccountId::kDecode;

class PageKeeperTest : public KeeperFixture {
 protected:
  PageKeeperTest() {
    options_.shrink.windows_kept = 2;
    options_.shrink.after = absl::Seconds(1);
    options_.shrink.pages_at_once = 2;
    Start();
  }
  ~PageKeeperTest() override { Stop(); }

  // (Re)makes the memory from options_.
  void Start() {
    Stop();
    Make();
    ASSERT_EQ(memory_->geometry().page_bytes(), kPage);
    decode_reader_ = memory_->readers().Add("decode");
  }
  void Stop() {
    if (keeper_ == nullptr) return;
    vmm_.StopFailing();
    memory_->readers().Complete(decode_reader_, memory_->readers().submitted(decode_reader_));
    EXPECT_TRUE(keeper_->Shutdown().ok());
    EXPECT_EQ(memory_->held_bytes(), 0);
    keeper_ = nullptr;
    memory_ = nullptr;
    EXPECT_EQ(vmm_.created_bytes(), 0);
  }
  int32_t Count(PageState state) const { return memory_->pages().count(state); }
  BlockTable Table(int64_t tokens) {
    BlockTable table = memory_->NewTable(kDecode);
    memory_->accounts().TopUp(kDecode);
    EXPECT_TRUE(table.TryExtendTo(tokens));
    return table;
  }

  device::FakeVmm& vmm_ = device_.fake();
  Readers::Id decode_reader_ = 0;
};

TEST_F(PageKeeperTest, NothingIsHeldAtStart) {
  EXPECT_FALSE(Settle().progressed);
  EXPECT_EQ(memory_->held_bytes(), 0);
  EXPECT_EQ(vmm_.call_count(VmmCall::kCreate), 0);
}

TEST_F(PageKeeperTest, AWindowsDemandIsMapped) {
  Want(9);
  EXPECT_TRUE(keeper_->RunOnce().progressed);
  EXPECT_EQ(Mapped(), 3);
  EXPECT_EQ(memory_->accounts().granted(kDecode), 0);
  EXPECT_EQ(memory_->accounts().TopUp(kDecode), 9);
  EXPECT_FALSE(keeper_->RunOnce().progressed);
  vmm_.CheckOpen(memory_->base(), 3 * kPage);
}

TEST_F(PageKeeperTest, GrowthComesInBatches) {
  Want(24);
  keeper_->RunOnce();
  EXPECT_EQ(Mapped(), 4);
  keeper_->RunOnce();
  EXPECT_EQ(Mapped(), 6);
}

TEST_F(PageKeeperTest, PagesArePreparedAheadAndMappedWithoutCreating) {
  options_.prepare_ahead_pages = 2;
  Start();
  Want(4);
  Settle();
  EXPECT_EQ(Mapped(), 1);
  EXPECT_EQ(Count(PageState::kPrepared), 2);
  EXPECT_EQ(memory_->held_bytes(), 3 * kPage);
  const int64_t created = vmm_.call_count(VmmCall::kCreate);
  Want(12);
  vmm_.FailNth(VmmCall::kCreate, 1);  // The stash is refilled, but does not hold up what is there.
  keeper_->RunOnce();
  EXPECT_EQ(Mapped(), 3);
  EXPECT_EQ(vmm_.call_count(VmmCall::kCreate), created + 1);
}

// Each call of a batch of three fails once, in turn.
TEST_F(PageKeeperTest, ABatchIsAllOrNothingWhicheverCallFails) {
  for (const VmmCall call :
       {VmmCall::kFreeBytes, VmmCall::kCreate, VmmCall::kMap, VmmCall::kSetAccess}) {
    for (int64_t nth = 1; nth <= (call == VmmCall::kFreeBytes ? 1 : 3); ++nth) {
      SCOPED_TRACE(testing::Message() << "call " << static_cast<int>(call) << " nth " << nth);
      Start();
      Want(12);
      vmm_.FailNth(call, nth);
      keeper_->RunOnce();
      EXPECT_EQ(memory_->held_bytes(), 0);
      EXPECT_EQ(vmm_.created_bytes(), 0);
      EXPECT_EQ(Count(PageState::kReserved), 10);
      const std::optional<Miss> miss = memory_->TakeMiss();
      ASSERT_TRUE(miss.has_value());
      EXPECT_TRUE(miss->by_device);
      EXPECT_NE(miss->status.message().find("injected"), absl::string_view::npos);
      EXPECT_FALSE(memory_->TakeMiss().has_value());
      // Planners see that nothing grows for now; the keeper asks again a little later.
      EXPECT_EQ(memory_->WindowMemoryOf(kDecode, clock_.Now()).CapacityPages(), 0);
      const PageKeeper::Pass pass = keeper_->RunOnce();
      EXPECT_FALSE(pass.progressed);
      EXPECT_EQ(pass.next_run, clock_.Now() + options_.retry_after);
      clock_.Advance(options_.retry_after);
      EXPECT_EQ(memory_->WindowMemoryOf(kDecode, clock_.Now()).CapacityPages(), 8);
      Settle();
      EXPECT_EQ(Mapped(), 3);
    }
  }
}

// A limit that falls while a batch is being mapped waits for one page of it at most.
TEST_F(PageKeeperTest, WhatIsNotMappedYetGoesBackWhenTheLimitFalls) {
  Want(16);
  int opened = 0;
  vmm_.SetBeforeCall([&](VmmCall call) {
    if (call != VmmCall::kSetAccess || ++opened != 2) return;
    base::MutexLock lock(&mutex_);
    memory_->SetLimit(kPage);
    memory_->OnBoundary();
  });
  EXPECT_TRUE(keeper_->RunOnce().progressed);
  vmm_.SetBeforeCall(nullptr);
  EXPECT_EQ(Mapped(), 2);
  EXPECT_EQ(memory_->held_bytes(), 2 * kPage);
  EXPECT_FALSE(memory_->TakeMiss().has_value());  // Nothing was refused.
  Want(0);
  Settle();
  EXPECT_LE(memory_->held_bytes(), kPage);
}

TEST_F(PageKeeperTest, AFailedRollbackQuarantinesThePageAndNoOther) {
  Want(12);
  vmm_.FailNth(VmmCall::kSetAccess, 2);
  vmm_.FailNth(VmmCall::kUnmap, 2);
  keeper_->RunOnce();
  EXPECT_EQ(Count(PageState::kQuarantined), 1);
  EXPECT_EQ(memory_->pages().state(1), PageState::kQuarantined);
  EXPECT_EQ(memory_->held_bytes(), kPage);
  clock_.Advance(options_.retry_after);
  Settle();
  EXPECT_EQ(Mapped(), 3);
  EXPECT_EQ(memory_->pages().state(1), PageState::kQuarantined);
  EXPECT_EQ(memory_->WindowMemoryOf(kDecode, clock_.Now()).CapacityPages(), 7);
}

TEST_F(PageKeeperTest, APageThatIsNotTakenBackIsQuarantined) {
  for (const VmmCall call : {VmmCall::kUnmap, VmmCall::kRelease}) {
    Start();
    Want(4);
    Settle();
    memory_->CloseWindow(kDecode);
    vmm_.FailNth(call, 1);
    Settle();
    clock_.Advance(options_.idle_after);
    Settle();
    EXPECT_EQ(Count(PageState::kQuarantined), 1);
    EXPECT_EQ(memory_->held_bytes(), kPage);
  }
}

TEST_F(PageKeeperTest, WhatStaysStuckAtTheEndIsNamed) {
  Want(4);
  Settle();
  memory_->CloseWindow(kDecode);
  vmm_.FailNth(VmmCall::kUnmap, 1);
  EXPECT_FALSE(keeper_->Shutdown().ok());
  EXPECT_EQ(memory_->held_bytes(), kPage);
  EXPECT_TRUE(keeper_->Shutdown().ok());  // Asked again, the device agrees.
  EXPECT_EQ(memory_->held_bytes(), 0);
}

TEST_F(PageKeeperTest, TheLimitIsNeverPassedAndTheRefusalSaysWhy) {
  options_.limit_bytes = 2 * kPage + kPage / 2;
  Start();
  Want(16);
  Settle();
  EXPECT_EQ(Mapped(), 2);
  const std::optional<Miss> miss = memory_->TakeMiss();
  ASSERT_TRUE(miss.has_value());
  EXPECT_EQ(miss->bound, Bound::kLimit);
  EXPECT_FALSE(miss->by_device);
  EXPECT_EQ(miss->pool, "kv");
}

TEST_F(PageKeeperTest, FreeMemoryIsReadBeforeEachGrowth) {
  options_.headroom_bytes = kPage;
  Start();
  vmm_.SetPeerBytes(97 * kPage);  // After the first reading: 3 pages are left, 1 is headroom.
  Want(16);
  Settle();
  EXPECT_EQ(Mapped(), 2);
  EXPECT_EQ(memory_->TakeMiss()->bound, Bound::kFree);
  EXPECT_EQ(memory_->WindowMemoryOf(kDecode, clock_.Now()).CapacityPages(), 2);
  vmm_.SetPeerBytes(0);
  clock_.Advance(options_.retry_after);
  Settle();
  EXPECT_EQ(Mapped(), 4);
}

// Planners that an old reading holds back ask for nothing; the keeper must find out by itself.
TEST_F(PageKeeperTest, FreeMemoryIsReadAgainWhileItIsWhatBoundsGrowth) {
  vmm_.SetPeerBytes(100 * kPage);
  Want(4);
  Settle();
  EXPECT_EQ(Mapped(), 0);
  Want(0);  // The plan gave up.
  PageKeeper::Pass pass = Settle();
  EXPECT_EQ(memory_->WindowMemoryOf(kDecode, clock_.Now()).CapacityPages(), 0);
  vmm_.SetPeerBytes(0);
  ASSERT_LT(pass.next_run, absl::InfiniteFuture());
  clock_.Advance(pass.next_run - clock_.Now());
  EXPECT_TRUE(keeper_->RunOnce().progressed);  // So that planners look again.
  EXPECT_EQ(memory_->WindowMemoryOf(kDecode, clock_.Now()).CapacityPages(), 8);
  // Once the limit is what bounds growth, nobody reads on and on.
  const int64_t readings = vmm_.call_count(VmmCall::kFreeBytes);
  pass = Settle();
  clock_.Advance(absl::Minutes(1));
  Settle();
  EXPECT_EQ(vmm_.call_count(VmmCall::kFreeBytes), readings);
}

TEST_F(PageKeeperTest, AReadingThatFailsIsTriedAgainLaterNotAtOnce) {
  vmm_.SetPeerBytes(100 * kPage);
  Want(4);
  Settle();
  vmm_.FailByChance(VmmCall::kFreeBytes, 1, 1);
  clock_.Advance(options_.retry_after);
  const PageKeeper::Pass pass = keeper_->RunOnce();
  EXPECT_FALSE(pass.progressed);
  EXPECT_EQ(pass.next_run, clock_.Now() + options_.retry_after);
}

TEST_F(PageKeeperTest, APeerBetweenTheReadingAndTheCallCausesAMissAndSmallerBatches) {
  vmm_.SetBeforeCall([this](VmmCall call) {
    if (call == VmmCall::kCreate) vmm_.SetPeerBytes(99 * kPage);
  });
  Want(16);
  for (int i = 0; i < 4; ++i) {
    Settle();
    clock_.Advance(options_.retry_after);
    vmm_.SetPeerBytes(0);  // The reading says plenty each time.
  }
  // Four, two, one: in the end what there is has been taken.
  EXPECT_EQ(Mapped(), 1);
  vmm_.SetBeforeCall(nullptr);
  Settle();
  EXPECT_EQ(Mapped(), 4);
}

TEST_F(PageKeeperTest, IdleMemoryGoesAfterIdleAfterAndNotBefore) {
  options_.shrink.after = absl::Hours(1);
  Start();
  Want(8);
  Settle();
  BlockTable table = Table(100);
  clock_.Advance(absl::Minutes(1));  // A live block is not idle, however long nothing happens.
  Settle();
  table.ShrinkTo(0);
  memory_->CloseWindow(kDecode);
  EXPECT_EQ(Settle().next_run, clock_.Now() + options_.idle_after);
  clock_.Advance(options_.idle_after - absl::Milliseconds(1));
  Settle();
  EXPECT_EQ(Mapped(), 2);
  clock_.Advance(absl::Milliseconds(1));
  Settle();
  EXPECT_EQ(memory_->held_bytes(), 0);
  // And it comes back.
  Want(8);
  Settle();
  EXPECT_EQ(Mapped(), 2);
  memory_->CloseWindow(kDecode);
}

TEST_F(PageKeeperTest, ARequestBetweenTwoPassesStartsTheIdleTimeAnew) {
  options_.shrink.after = absl::Hours(1);
  Start();
  Want(8);
  Settle();
  memory_->CloseWindow(kDecode);
  Settle();
  clock_.Advance(options_.idle_after - absl::Milliseconds(1));
  Want(4);  // Comes and goes without a keeper's pass in between.
  Table(10).ShrinkTo(0);
  memory_->CloseWindow(kDecode);
  clock_.Advance(absl::Milliseconds(1));
  Settle();
  EXPECT_EQ(Mapped(), 2);
  clock_.Advance(options_.idle_after);
  Settle();
  EXPECT_EQ(Mapped(), 0);
}

TEST_F(PageKeeperTest, WithNoWindowOpenPastDemandHoldsNothingBack) {
  options_.idle_after = absl::Hours(1);
  Start();
  Want(28);
  Settle();
  BlockTable table = Table(40);
  EXPECT_EQ(Mapped(), 7);
  table.ShrinkTo(0);
  memory_->CloseWindow(kDecode);
  EXPECT_EQ(Settle().next_run, clock_.Now() + options_.shrink.after);
  EXPECT_EQ(Mapped(), 7);  // A pause shorter than that costs no mapping.
  clock_.Advance(options_.shrink.after);
  Settle();
  EXPECT_EQ(Mapped(), 0);
}

TEST_F(PageKeeperTest, ShrinksToTheLargestDemandOfTheLastWindows) {
  Want(28);
  Settle();
  EXPECT_EQ(Mapped(), 7);
  BlockTable table = Table(40);
  Want(4);
  Settle();
  clock_.Advance(absl::Seconds(1));
  Settle();
  EXPECT_EQ(Mapped(), 7);  // One of the last two windows wanted them.
  Want(8);
  EXPECT_EQ(Settle().next_run, clock_.Now() + options_.shrink.after);
  clock_.Advance(options_.shrink.after);
  keeper_->RunOnce();
  EXPECT_EQ(Mapped(), 5);  // Two at a time.
  Settle();
  EXPECT_EQ(Mapped(), 2);
  EXPECT_EQ(memory_->flips().flips_total(), 0);
  Want(12);
  Settle();
  EXPECT_EQ(memory_->flips().flips_total(), 1);
  table.ShrinkTo(0);
}

TEST_F(PageKeeperTest, APageIsUnmappedOnlyAfterItsReaders) {
  Want(8);
  Settle();
  BlockTable table = Table(128);
  const uint64_t use = vmm_.BeginUse(memory_->base(), 2 * kPage);
  const uint64_t ticket = memory_->readers().Submit(decode_reader_);
  table.ShrinkTo(0);
  memory_->CloseWindow(kDecode);
  Settle();
  clock_.Advance(options_.idle_after);
  Settle();
  EXPECT_EQ(Count(PageState::kDraining), 2);  // An unmap would have ended the process.
  vmm_.EndUse(use);
  memory_->readers().Complete(decode_reader_, ticket);
  Settle();
  EXPECT_EQ(memory_->held_bytes(), 0);
}

TEST_F(PageKeeperTest, ADrainingPageIsTakenBackWhenItIsWanted) {
  Want(8);
  Settle();
  const uint64_t ticket = memory_->readers().Submit(decode_reader_);
  memory_->CloseWindow(kDecode);
  Settle();
  clock_.Advance(options_.idle_after);
  Settle();
  ASSERT_EQ(Count(PageState::kDraining), 2);
  Want(4);
  keeper_->RunOnce();
  EXPECT_EQ(memory_->pages().state(0), PageState::kMapped);
  EXPECT_EQ(memory_->accounts().TopUp(kDecode), 4);
  memory_->readers().Complete(decode_reader_, ticket);
  Settle();
  EXPECT_EQ(Mapped(), 1);
  EXPECT_EQ(vmm_.call_count(VmmCall::kCreate), 2);
}

TEST_F(PageKeeperTest, ARaisedLimitCountsAtOnceALoweredOneFromTheBoundary) {
  Want(8);
  Settle();
  memory_->SetLimit(9 * kPage);
  EXPECT_EQ(memory_->budget().limit_bytes(), 9 * kPage);
  memory_->SetLimit(kPage);
  EXPECT_TRUE(memory_->limit_state().pending);
  EXPECT_FALSE(memory_->limit_state().applied());
  EXPECT_EQ(memory_->limit_state().deferred_bytes(), kPage);
  EXPECT_EQ(memory_->budget().limit_bytes(), 9 * kPage);
  Settle();
  EXPECT_EQ(Mapped(), 2);
  Want(4);  // The boundary.
  EXPECT_FALSE(memory_->limit_state().pending);
  Settle();
  EXPECT_EQ(Mapped(), 1);  // At once, without the wait of shrinking.
  EXPECT_TRUE(memory_->limit_state().applied());
}

TEST_F(PageKeeperTest, WithoutAnOpenWindowALoweredLimitCountsAtOnce) {
  Want(8);
  Settle();
  memory_->CloseWindow(kDecode);
  memory_->SetLimit(0);
  Settle();
  EXPECT_TRUE(memory_->limit_state().applied());
  EXPECT_EQ(memory_->held_bytes(), 0);
}

TEST_F(PageKeeperTest, ALimitBelowWhatIsInUseIsDeferredWithItsBytes) {
  Want(8);
  Settle();
  BlockTable table = Table(128);
  memory_->SetLimit(kPage);
  Want(8);
  Settle();
  EXPECT_FALSE(memory_->limit_state().applied());
  EXPECT_EQ(memory_->limit_state().deferred_bytes(), kPage);
  // What the plan for the next window asks for.
  const WindowManager manager(WindowQueue::kDecode, {});
  const WindowPlan plan = manager.PlanDecode(
      {{128, 0, 8}}, memory_->WindowMemoryOf(kDecode, clock_.Now()), StepTimeModel(), false);
  EXPECT_EQ(plan.release_pages, 1);
  EXPECT_EQ(plan.release_blocks, 4);
  EXPECT_EQ(plan.reason, WindowReason::kLimit);
  table.ShrinkTo(64);
  Want(4);
  Settle();
  EXPECT_TRUE(memory_->limit_state().applied());
  table.ShrinkTo(0);
}

TEST_F(PageKeeperTest, OverTheLimitThePreparedPagesGoFirst) {
  options_.prepare_ahead_pages = 2;
  Start();
  Want(8);
  Settle();
  ASSERT_EQ(memory_->held_bytes(), 4 * kPage);
  memory_->SetLimit(3 * kPage);
  Want(8);
  Settle();
  EXPECT_EQ(Mapped(), 2);
  EXPECT_LE(memory_->held_bytes(), 3 * kPage);
}

class WorkspaceTest : public PageKeeperTest {
 protected:
  WorkspaceTest() {
    options_.workspaces = {{"workspace.decode", 5 * kGranule}};
    options_.limit_bytes = 4 * kPage;
    Start();
  }
  Workspace& workspace() { return memory_->workspace(0); }
};

TEST_F(WorkspaceTest, GrowsAtAFixedAddressAndCountsAsHeld) {
  uint8_t* const base = workspace().base();
  EXPECT_EQ(workspace().usable_bytes(), 0);
  workspace().SetDemand(kGranule + 1);
  EXPECT_EQ(workspace().missing_bytes(), 2 * kGranule);
  Settle();
  EXPECT_EQ(workspace().usable_bytes(), 2 * kGranule);
  EXPECT_EQ(memory_->held_bytes(), 2 * kGranule);
  EXPECT_EQ(workspace().base(), base);
  vmm_.CheckOpen(base, 2 * kGranule);
  workspace().SetDemand(workspace().bytes_max());
  Settle();
  EXPECT_EQ(workspace().usable_bytes(), 5 * kGranule);
}

TEST_F(WorkspaceTest, WhatAWorkspaceLacksIsNotThereForTheKv) {
  EXPECT_EQ(memory_->WindowMemoryOf(kDecode, clock_.Now()).CapacityPages(), 4);
  workspace().SetDemand(3 * kGranule);
  EXPECT_EQ(memory_->WindowMemoryOf(kDecode, clock_.Now()).CapacityPages(), 2);
  Want(16);
  Settle();
  EXPECT_EQ(workspace().usable_bytes(), 3 * kGranule);  // First in the order of growth.
  EXPECT_EQ(Mapped(), 2);
}

TEST_F(WorkspaceTest, ShrinksAfterItsWindowsAndGoesWhenIdle) {
  Want(4);
  workspace().SetDemand(5 * kGranule);
  Settle();
  BlockTable table = Table(5);
  for (int window = 0; window < 2; ++window) workspace().SetDemand(kGranule);
  Settle();
  EXPECT_EQ(workspace().usable_bytes(), 5 * kGranule);
  clock_.Advance(options_.shrink.after);
  Settle();
  EXPECT_EQ(workspace().usable_bytes(), kGranule);
  table.ShrinkTo(0);
  memory_->CloseWindow(kDecode);
  Settle();
  clock_.Advance(options_.idle_after);
  Settle();
  EXPECT_EQ(memory_->held_bytes(), 0);
}

// While the other queue goes on, nothing is idle, and a closed queue opens no windows.
TEST_F(WorkspaceTest, OfAClosedQueueGoesThoughTheOtherRuns) {
  Want(4);
  workspace().SetDemand(5 * kGranule);
  Settle();
  BlockTable table = Table(5);
  EXPECT_EQ(workspace().usable_bytes(), 5 * kGranule);
  workspace().SetDemand(0);
  Settle();
  EXPECT_EQ(workspace().usable_bytes(), 5 * kGranule);
  clock_.Advance(options_.shrink.after);
  Settle();
  EXPECT_EQ(workspace().usable_bytes(), 0);
  table.ShrinkTo(0);
}

TEST_F(WorkspaceTest, IsNotUnmappedUnderWorkThatWasSubmitted) {
  Want(4);
  workspace().SetDemand(2 * kGranule);
  Settle();
  const uint64_t use = vmm_.BeginUse(workspace().base(), 2 * kGranule);
  const uint64_t ticket = memory_->readers().Submit(decode_reader_);
  memory_->CloseWindow(kDecode);
  workspace().SetDemand(0);
  Settle();
  clock_.Advance(options_.idle_after);
  Settle();
  EXPECT_EQ(workspace().usable_bytes(), 0);                        // Nothing new may use it,
  EXPECT_EQ(memory_->pools()[0]->count(PageState::kDraining), 2);  // but it is there.
  workspace().SetDemand(kGranule);
  keeper_->RunOnce();
  EXPECT_EQ(workspace().usable_bytes(), kGranule);
  vmm_.EndUse(use);
  memory_->readers().Complete(decode_reader_, ticket);
  Settle();
  EXPECT_EQ(memory_->held_bytes(), kGranule);
}

TEST(KvMemoryTest, WhatCannotWorkIsRefused) {
  device::FakeVmm vmm({});
  const KvGeometry geometry = KvGeometry::Create({2, 16, 1024}, kGranule, 4).value();
  KvMemory::Options options;
  options.ceiling_bytes = kPage - 1;
  EXPECT_EQ(KvMemory::Create(geometry, options, &vmm).status().code(),
            absl::StatusCode::kInvalidArgument);
  options.ceiling_bytes = kPage;
  options.limit_bytes = -1;
  EXPECT_FALSE(KvMemory::Create(geometry, options, &vmm).ok());
  options.limit_bytes = kPage;
  for (const VmmCall call : {VmmCall::kReserve, VmmCall::kFreeBytes}) {
    vmm.FailNth(call, 1);
    EXPECT_FALSE(KvMemory::Create(geometry, options, &vmm).ok());
  }
  options.workspaces = {{"workspace", kGranule}};
  vmm.FailNth(VmmCall::kReserve, 2);
  EXPECT_FALSE(KvMemory::Create(geometry, options, &vmm).ok());
}

}  // namespace
}  // namespace ebb::memory

#include "device/vmm_fake.h"

#include <gtest/gtest.h>

#include <vector>

#include "device/address_range.h"

namespace ebb::device {
namespace {

constexpr int64_t kPage = 4096;

// One page mapped and open in a range of four, everything undone at the end.
class FakeVmmTest : public testing::TestWithParam<bool> {
 protected:
  FakeVmmTest() : vmm_(Options()) {
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    range_ = std::move(AddressRange::Reserve(&vmm_, 4 * kPage)).value();
    handle_ = vmm_.Create(kPage).value();
    EXPECT_TRUE(vmm_.Map(base(), kPage, handle_).ok());
    EXPECT_TRUE(vmm_.SetAccess(base(), kPage).ok());
  }
  ~FakeVmmTest() override {
    EXPECT_TRUE(vmm_.Unmap(base(), kPage).ok());
    EXPECT_TRUE(vmm_.Release(handle_).ok());
  }

  static FakeVmm::Options Options() {
    FakeVmm::Options options;
    options.capacity_bytes = 3 * kPage;
    options.backed = GetParam();
    return options;
  }
  uint8_t* base() { return range_.base(); }

  FakeVmm vmm_;
  AddressRange range_;
  VmmHandle handle_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Backed, FakeVmmTest, testing::Bool());

using FakeVmmDeathTest = FakeVmmTest;
INSTANTIATE_TEST_SUITE_P(Backed, FakeVmmDeathTest, testing::Bool());

TEST_P(FakeVmmTest, CapacityIsWhatIsCreatedAndNotGivenBack) {
  EXPECT_EQ(vmm_.FreeBytes().value(), 2 * kPage);
  vmm_.SetPeerBytes(kPage);
  EXPECT_EQ(vmm_.FreeBytes().value(), kPage);
  EXPECT_EQ(vmm_.Create(2 * kPage).status().code(), absl::StatusCode::kResourceExhausted);
  const VmmHandle other = vmm_.Create(kPage).value();
  EXPECT_EQ(vmm_.FreeBytes().value(), 0);
  // Released but mapped is still taken.
  ASSERT_TRUE(vmm_.Map(base() + kPage, kPage, other).ok());
  ASSERT_TRUE(vmm_.Release(other).ok());
  EXPECT_EQ(vmm_.created_bytes(), 2 * kPage);
  ASSERT_TRUE(vmm_.Unmap(base() + kPage, kPage).ok());
  EXPECT_EQ(vmm_.created_bytes(), kPage);
}

TEST_P(FakeVmmDeathTest, RulesOfMappingHold) {
  const VmmHandle other = vmm_.Create(kPage).value();
  EXPECT_DEATH((void)vmm_.Map(base(), kPage, other), "mapped already");
  EXPECT_DEATH((void)vmm_.Map(base() + kPage, kPage, handle_), "is mapped already");
  EXPECT_DEATH((void)vmm_.Map(base() + 4 * kPage, kPage, other), "not reserved");
  EXPECT_DEATH((void)vmm_.Map(base() + kPage, 2 * kPage, other), "CHECK");
  EXPECT_DEATH((void)vmm_.Map(base() + kPage / 2, kPage, other), "granularity");
  EXPECT_DEATH((void)vmm_.SetAccess(base(), 2 * kPage), "not mapped");
  EXPECT_DEATH((void)vmm_.Unmap(base() + kPage, kPage), "not mapped");
  EXPECT_DEATH((void)vmm_.Unmap(base(), 2 * kPage), "part of a mapping");
  EXPECT_DEATH((void)vmm_.Free(base(), 4 * kPage), "freed while mapped");
  ASSERT_TRUE(vmm_.Release(other).ok());
  EXPECT_DEATH((void)vmm_.Release(other), "no handle");
  EXPECT_DEATH((void)vmm_.Map(base() + kPage, kPage, other), "no handle");
}

TEST_P(FakeVmmDeathTest, WorkInFlightKeepsItsRange) {
  vmm_.CheckOpen(base() + 10, 100);
  EXPECT_DEATH(vmm_.CheckOpen(base() + kPage - 1, 2), "not mapped");
  const uint64_t use = vmm_.BeginUse(base() + 10, 100);
  EXPECT_DEATH((void)vmm_.Unmap(base(), kPage), "in flight");
  vmm_.EndUse(use);
  EXPECT_DEATH(vmm_.EndUse(use), "CHECK");
  const VmmHandle other = vmm_.Create(kPage).value();
  ASSERT_TRUE(vmm_.Map(base() + kPage, kPage, other).ok());
  EXPECT_DEATH((void)vmm_.BeginUse(base() + kPage, 1), "before SetAccess");
  ASSERT_TRUE(vmm_.Unmap(base() + kPage, kPage).ok());
  ASSERT_TRUE(vmm_.Release(other).ok());
}

TEST_P(FakeVmmDeathTest, LeaksEndTheProcess) {
  EXPECT_DEATH(
      {
        FakeVmm leaky({});
        (void)leaky.Create(kPage);
      },
      "handles are left");
  EXPECT_DEATH(
      {
        FakeVmm leaky({});
        (void)leaky.Reserve(kPage);
      },
      "ranges are left");
}

TEST_P(FakeVmmTest, AFailedCallChangesNothing) {
  vmm_.FailNth(VmmCall::kCreate, 2);
  const VmmHandle other = vmm_.Create(kPage).value();
  EXPECT_FALSE(vmm_.Create(kPage).ok());
  EXPECT_EQ(vmm_.created_bytes(), 2 * kPage);
  for (const VmmCall call : {VmmCall::kMap, VmmCall::kSetAccess, VmmCall::kUnmap, VmmCall::kRelease,
                             VmmCall::kFreeBytes}) {
    vmm_.FailNth(call, 1);
  }
  EXPECT_FALSE(vmm_.Map(base() + kPage, kPage, other).ok());
  EXPECT_TRUE(vmm_.Map(base() + kPage, kPage, other).ok());
  EXPECT_FALSE(vmm_.SetAccess(base() + kPage, kPage).ok());
  EXPECT_TRUE(vmm_.SetAccess(base() + kPage, kPage).ok());
  EXPECT_FALSE(vmm_.Unmap(base() + kPage, kPage).ok());
  EXPECT_TRUE(vmm_.Unmap(base() + kPage, kPage).ok());
  EXPECT_FALSE(vmm_.Release(other).ok());
  EXPECT_TRUE(vmm_.Release(other).ok());
  EXPECT_FALSE(vmm_.FreeBytes().ok());
  EXPECT_EQ(vmm_.FreeBytes().value(), 2 * kPage);
}

TEST_P(FakeVmmTest, ChanceFailsAboutAsOftenAsAsked) {
  vmm_.FailByChance(VmmCall::kFreeBytes, 0.25, 7);
  int failed = 0;
  for (int i = 0; i < 4000; ++i) failed += vmm_.FreeBytes().ok() ? 0 : 1;
  // Binomial, standard deviation 27: five of them.
  EXPECT_NEAR(failed, 1000, 137);
  vmm_.StopFailing();
  EXPECT_TRUE(vmm_.FreeBytes().ok());
}

TEST_P(FakeVmmTest, TheHookRunsBeforeTheCall) {
  // A peer takes the memory between the look and the leap.
  vmm_.SetBeforeCall([this](VmmCall call) {
    if (call == VmmCall::kCreate) vmm_.SetPeerBytes(2 * kPage);
  });
  EXPECT_EQ(vmm_.FreeBytes().value(), 2 * kPage);
  EXPECT_FALSE(vmm_.Create(kPage).ok());
  vmm_.SetBeforeCall(nullptr);
}

TEST(FakeVmmBackedDeathTest, StrayAccessFaultsAndFreshMemoryIsGarbage) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  FakeVmm::Options options;
  options.backed = true;
  FakeVmm vmm(options);
  AddressRange range = std::move(AddressRange::Reserve(&vmm, kPage)).value();
  const VmmHandle handle = vmm.Create(kPage).value();
  volatile uint8_t* const byte = range.base() + 5;
  ASSERT_TRUE(vmm.Map(range.base(), kPage, handle).ok());
  EXPECT_DEATH((void)*byte, "");
  for (int round = 0; round < 2; ++round) {
    if (round > 0) {
      ASSERT_TRUE(vmm.Map(range.base(), kPage, handle).ok());
    }
    ASSERT_TRUE(vmm.SetAccess(range.base(), kPage).ok());
    EXPECT_EQ(*byte, 0xFF);
    *byte = 3;
    ASSERT_TRUE(vmm.Unmap(range.base(), kPage).ok());
  }
  EXPECT_DEATH((void)*byte, "");
  ASSERT_TRUE(vmm.Release(handle).ok());
}

}  // namespace
}  // namespace ebb::device

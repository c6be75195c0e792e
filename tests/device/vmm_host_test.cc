#include "device/vmm_host.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "device/address_range.h"
#include "tests/device/resident_bytes.h"

namespace ebb::device {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kPage = 4 * kMiB;

VmmHandle CreateAndMap(HostVmm* vmm, uint8_t* address, int64_t bytes) {
  const absl::StatusOr<VmmHandle> handle = vmm->Create(bytes);
  EXPECT_TRUE(handle.ok()) << handle.status();
  EXPECT_TRUE(vmm->Map(address, bytes, *handle).ok());
  return *handle;
}

TEST(HostVmmTest, TheResidentSetGrowsWithAccessAndShrinksWithUnmap) {
  HostVmm vmm;
  auto range = AddressRange::Reserve(&vmm, 8 * kPage);
  ASSERT_TRUE(range.ok()) << range.status();
  uint8_t* const base = range->base();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(base) % vmm.granularity_bytes(), 0u);
  EXPECT_EQ(ResidentBytes(base, range->bytes()), 0);

  const VmmHandle first = CreateAndMap(&vmm, base, kPage);
  const VmmHandle second = CreateAndMap(&vmm, base + kPage, kPage);
  EXPECT_EQ(ResidentBytes(base, range->bytes()), 0);
  ASSERT_TRUE(vmm.SetAccess(base, 2 * kPage).ok());
  // Populated, not merely allowed: nothing has been touched yet.
  EXPECT_EQ(ResidentBytes(base, range->bytes()), 2 * kPage);
  base[0] = 1;
  base[2 * kPage - 1] = 2;

  ASSERT_TRUE(vmm.Unmap(base, kPage).ok());
  ASSERT_TRUE(vmm.Release(first).ok());
  EXPECT_EQ(ResidentBytes(base, range->bytes()), kPage);
  EXPECT_EQ(base[2 * kPage - 1], 2);  // The neighbour is untouched.
  ASSERT_TRUE(vmm.Unmap(base + kPage, kPage).ok());
  ASSERT_TRUE(vmm.Release(second).ok());
  EXPECT_EQ(ResidentBytes(base, range->bytes()), 0);
}

TEST(HostVmmTest, AnAddressServesAgainAfterUnmap) {
  HostVmm vmm;
  auto range = AddressRange::Reserve(&vmm, kPage);
  ASSERT_TRUE(range.ok());
  for (int round = 0; round < 3; ++round) {
    const VmmHandle handle = CreateAndMap(&vmm, range->base(), kPage);
    ASSERT_TRUE(vmm.SetAccess(range->base(), kPage).ok());
    range->base()[round] = 7;
    ASSERT_TRUE(vmm.Unmap(range->base(), kPage).ok());
    ASSERT_TRUE(vmm.Release(handle).ok());
  }
}

// The kernel's flags of the mapping that holds `address`: proc(5), VmFlags.
std::string KernelFlags(const uint8_t* address) {
  std::ifstream smaps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  std::string line;
  bool inside = false;
  while (std::getline(smaps, line)) {
    unsigned long start = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &start, &end) == 2) {
      inside = start <= wanted && wanted < end;
    } else if (inside && line.rfind("VmFlags:", 0) == 0) {
      return line + " ";
    }
  }
  return "";
}

// Keys and values are what clients said.
TEST(HostVmmTest, NothingOfItGoesIntoCoreDumps) {
  HostVmm vmm;
  auto range = AddressRange::Reserve(&vmm, 3 * kPage);
  ASSERT_TRUE(range.ok());
  const VmmHandle handle = CreateAndMap(&vmm, range->base() + kPage, kPage);
  ASSERT_TRUE(vmm.SetAccess(range->base() + kPage, kPage).ok());
  const std::string open = KernelFlags(range->base() + kPage);
  EXPECT_NE(open.find(" rd wr "), std::string::npos) << open;
  for (const int64_t page : {0, 1, 2}) {
    const std::string flags = KernelFlags(range->base() + page * kPage);
    EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
  }
  int own = 0;
  const std::string others = KernelFlags(reinterpret_cast<const uint8_t*>(&own));
  EXPECT_EQ(others.find(" dd "), std::string::npos) << others << ": the flag means something";
  ASSERT_TRUE(vmm.Unmap(range->base() + kPage, kPage).ok());
  ASSERT_TRUE(vmm.Release(handle).ok());
}

TEST(HostVmmDeathTest, AStrayReadFaultsBeforeAccessAndAfterUnmap) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  HostVmm vmm;
  auto range = AddressRange::Reserve(&vmm, kPage);
  ASSERT_TRUE(range.ok());
  const volatile uint8_t* const stray = range->base() + 100;
  EXPECT_DEATH((void)*stray, "");
  const VmmHandle handle = CreateAndMap(&vmm, range->base(), kPage);
  EXPECT_DEATH((void)*stray, "");
  ASSERT_TRUE(vmm.SetAccess(range->base(), kPage).ok());
  EXPECT_EQ(*stray, 0);
  ASSERT_TRUE(vmm.Unmap(range->base(), kPage).ok());
  ASSERT_TRUE(vmm.Release(handle).ok());
  EXPECT_DEATH((void)*stray, "");
}

TEST(HostVmmDeathTest, PartsOfMappingsAndLeaksEndTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  HostVmm vmm;
  auto range = AddressRange::Reserve(&vmm, kPage);
  ASSERT_TRUE(range.ok());
  const VmmHandle handle = CreateAndMap(&vmm, range->base(), kPage);
  EXPECT_DEATH((void)vmm.Unmap(range->base(), kPage / 2), "whole mapping");
  EXPECT_DEATH((void)vmm.Free(range->base(), kPage), "still mapped");
  EXPECT_DEATH(
      {
        HostVmm leaky;
        (void)leaky.Create(kPage);
      },
      "handles are left");
  ASSERT_TRUE(vmm.Unmap(range->base(), kPage).ok());
  ASSERT_TRUE(vmm.Release(handle).ok());
}

// The check must come before the growth: populating past a cgroup's limit is a SIGKILL.
TEST(HostVmmTest, MemoryIsRefusedBeforeTheHostRunsOut) {
  const std::string root = testing::TempDir() + "/vmm_host_files";
  const auto set_available = [&root](int64_t bytes) {
    std::filesystem::create_directories(root + "/proc");
    std::ofstream(root + "/proc/meminfo") << "MemAvailable: " << bytes / 1024 << " kB\n";
  };
  set_available(2 * kPage);
  HostVmm vmm(HostMemoryFiles{root + "/proc", root + "/cgroup"});
  auto range = AddressRange::Reserve(&vmm, 4 * kPage);
  ASSERT_TRUE(range.ok());

  const VmmHandle first = CreateAndMap(&vmm, range->base(), kPage);
  EXPECT_EQ(vmm.FreeBytes().value(), kPage);  // Promised is no longer free.
  const VmmHandle second = CreateAndMap(&vmm, range->base() + kPage, kPage);
  EXPECT_EQ(vmm.Create(kPage).status().code(), absl::StatusCode::kResourceExhausted);

  // A neighbour takes memory between the promise and the backing.
  set_available(kPage);
  EXPECT_EQ(vmm.SetAccess(range->base(), 2 * kPage).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ResidentBytes(range->base(), range->bytes()), 0);
  ASSERT_TRUE(vmm.SetAccess(range->base(), kPage).ok());
  // What is backed is in the host's own figures: here still the whole page, and one promise.
  EXPECT_EQ(vmm.FreeBytes().value(), 0);

  for (const VmmHandle handle : {first, second}) {
    ASSERT_TRUE(vmm.Release(handle).ok());
    ASSERT_TRUE(vmm.Unmap(range->base() + (handle == first ? 0 : kPage), kPage).ok());
  }
  EXPECT_EQ(vmm.FreeBytes().value(), kPage);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace ebb::device

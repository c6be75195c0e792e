#include "device/host_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace ebb::device {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// A tree of files like /proc and /sys/fs/cgroup.
class HostMemoryTest : public testing::Test {
 protected:
  HostMemoryTest() {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    root_ = std::filesystem::path(testing::TempDir()) / ("host_memory_" + name);
    std::filesystem::remove_all(root_);
    files_.proc = (root_ / "proc").string();
    files_.cgroup = (root_ / "cgroup").string();
    Write("proc/meminfo",
          "MemTotal:       24000000 kB\nMemFree: 5 kB\nMemAvailable:    1024000 kB\n");
  }
  ~HostMemoryTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  int64_t Free() {
    const absl::StatusOr<int64_t> bytes = HostFreeBytes(files_);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    return bytes.value_or(-1);
  }

  std::filesystem::path root_;
  HostMemoryFiles files_;
};

constexpr int64_t kAvailable = int64_t{1024000} * 1024;

TEST_F(HostMemoryTest, WithoutCgroupsTheSystemDecides) { EXPECT_EQ(Free(), kAvailable); }

TEST_F(HostMemoryTest, VersionTwoTakesTheTightestGroupOnThePathToTheRoot) {
  Write("proc/self/cgroup", "0::/pod/ctr\n");
  Write("cgroup/pod/ctr/memory.max", "max\n");
  Write("cgroup/pod/ctr/memory.current", "1\n");
  Write("cgroup/pod/memory.max", std::to_string(100 * kMiB) + "\n");
  Write("cgroup/pod/memory.current", std::to_string(70 * kMiB) + "\n");
  EXPECT_EQ(Free(), 30 * kMiB);
  Write("cgroup/pod/ctr/memory.max", std::to_string(20 * kMiB) + "\n");
  Write("cgroup/pod/ctr/memory.current", std::to_string(15 * kMiB) + "\n");
  EXPECT_EQ(Free(), 5 * kMiB);
}

TEST_F(HostMemoryTest, VersionTwoCountsPageCacheThatCanGoAndTheSoftLimit) {
  Write("proc/self/cgroup", "0::/a\n");
  Write("cgroup/a/memory.max", std::to_string(100 * kMiB));
  Write("cgroup/a/memory.current", std::to_string(90 * kMiB));
  Write("cgroup/a/memory.stat",
        "anon 5\nactive_inactive_file 7\ninactive_file " + std::to_string(40 * kMiB) + "\n");
  EXPECT_EQ(Free(), 50 * kMiB);
  Write("cgroup/a/memory.high", std::to_string(60 * kMiB));
  EXPECT_EQ(Free(), 10 * kMiB);
}

TEST_F(HostMemoryTest, OverTheLimitNothingIsFree) {
  Write("proc/self/cgroup", "0::/a\n");
  Write("cgroup/a/memory.max", std::to_string(10 * kMiB));
  Write("cgroup/a/memory.current", std::to_string(12 * kMiB));
  EXPECT_EQ(Free(), 0);
}

TEST_F(HostMemoryTest, VersionOneReadsItsMemoryController) {
  Write("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/job/x\n2:cpuset:/\n0::/\n");
  Write("cgroup/memory/job/x/memory.limit_in_bytes", "9223372036854771712\n");
  Write("cgroup/memory/job/x/memory.usage_in_bytes", "1000\n");
  Write("cgroup/memory/job/memory.limit_in_bytes", std::to_string(64 * kMiB) + "\n");
  Write("cgroup/memory/job/memory.usage_in_bytes", std::to_string(50 * kMiB) + "\n");
  Write("cgroup/memory/job/memory.stat",
        "inactive_file 999\ntotal_inactive_file " + std::to_string(6 * kMiB) + "\n");
  EXPECT_EQ(Free(), 20 * kMiB);
}

TEST_F(HostMemoryTest, AGroupOutsideOfTheMountFallsBackToTheMountsRoot) {
  for (const char* group : {"0::/not/mounted/here\n", "0::/../sibling\n"}) {
    Write("proc/self/cgroup", group);
    Write("cgroup/memory.max", std::to_string(32 * kMiB));
    Write("cgroup/memory.current", std::to_string(2 * kMiB));
    EXPECT_EQ(Free(), 30 * kMiB) << group;
  }
}

TEST_F(HostMemoryTest, WhatCannotBeUnderstoodIsAnErrorThatNamesTheFile) {
  Write("proc/self/cgroup", "0::/a\n");
  Write("cgroup/a/memory.max", "lots\n");
  absl::StatusOr<int64_t> bytes = HostFreeBytes(files_);
  EXPECT_EQ(bytes.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(bytes.status().message().find("cgroup/a/memory.max"), absl::string_view::npos);
  Write("cgroup/a/memory.max", "5\n");  // A limit without a usage.
  bytes = HostFreeBytes(files_);
  EXPECT_NE(bytes.status().message().find("memory.current"), absl::string_view::npos);
  Write("proc/meminfo", "MemFree: 5 kB\n");
  bytes = HostFreeBytes(files_);
  EXPECT_NE(bytes.status().message().find("MemAvailable"), absl::string_view::npos);
}

TEST_F(HostMemoryTest, ThisHostAnswers) {
  const absl::StatusOr<int64_t> bytes = HostFreeBytes({});
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_GT(*bytes, kMiB);
}

}  // namespace
}  // namespace ebb::device

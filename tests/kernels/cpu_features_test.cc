#include "kernels/cpu/cpu_features.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace ebb::kernels::cpu {
namespace {

class CpuFeaturesTest : public ::testing::Test {
 protected:
  CpuFeaturesTest() : root_(::testing::TempDir() + "/cgroup_test") {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_);
  }
  ~CpuFeaturesTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  int Usable() const { return UsableProcessors(root_ + "/fs", root_ + "/self"); }

  const std::string root_;
};

TEST_F(CpuFeaturesTest, WithoutQuotaTheAffinityMaskCounts) {
  const int all = Usable();  // No files at all.
  EXPECT_GE(all, 1);
  Write("self", "0::/a/b\n");
  Write("fs/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(Usable(), all);
  Write("fs/a/b/cpu.max", "100000000 100000\n");  // 1000 processors.
  EXPECT_EQ(Usable(), all);
  Write("fs/a/b/cpu.max", "nonsense");
  EXPECT_EQ(Usable(), all);
}

TEST_F(CpuFeaturesTest, TheTightestLevelOfV2Counts) {
  Write("self", "0::/a/b\n");
  Write("fs/a/b/cpu.max", "max 100000\n");
  Write("fs/a/cpu.max", "50000 100000\n");  // Half of one: one.
  EXPECT_EQ(Usable(), 1);
}

TEST_F(CpuFeaturesTest, QuotaOfV1) {
  Write("self", "5:memory:/m\n3:cpu,cpuacct:/d\n");
  Write("fs/cpu/d/cpu.cfs_quota_us", "-1\n");
  Write("fs/cpu/d/cpu.cfs_period_us", "100000\n");
  const int all = Usable();
  Write("fs/cpu/d/cpu.cfs_quota_us", "100000\n");
  EXPECT_EQ(Usable(), 1);
  EXPECT_GE(all, Usable());
}

}  // namespace
}  // namespace ebb::kernels::cpu

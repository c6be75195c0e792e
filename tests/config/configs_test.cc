// Each file in configs/ loads, and its README tells every setting as the table has it.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/server_config.h"
#include "gtest/gtest.h"

namespace ebb::config {
namespace {

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in.good()) << path;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

TEST(ConfigsTest, EachLoads) {
  int loaded = 0;
  for (const auto& entry : std::filesystem::directory_iterator("configs")) {
    if (entry.path().extension() != ".json") continue;
    const absl::StatusOr<ServerConfig> config = Load(entry.path().string());
    EXPECT_TRUE(config.ok()) << config.status();
    ++loaded;
  }
  EXPECT_EQ(loaded, 7);
}

TEST(ConfigsTest, LatencyKeepsPagesAndDensityKeepsNone) {
  const absl::StatusOr<ServerConfig> latency = Load("configs/latency.json");
  ASSERT_TRUE(latency.ok()) << latency.status();
  EXPECT_GT(latency->memory.keep_bytes, 0);
  EXPECT_LE(latency->memory.keep_bytes, latency->memory.limit_bytes);
  const absl::StatusOr<ServerConfig> density = Load("configs/density.json");
  ASSERT_TRUE(density.ok()) << density.status();
  EXPECT_EQ(density->memory.keep_bytes, 0);
  EXPECT_EQ(density->memory.slack_pages, 0);
  EXPECT_LT(density->memory.idle, latency->memory.idle);
}

// Both floors must fit into what the two divide.
TEST(ConfigsTest, TwoModelsShareWhatBothFloorsFitInto) {
  const absl::StatusOr<ServerConfig> config = Load("configs/two-models.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(config->sharing.enabled);
  EXPECT_LE(2 * config->sharing.floor_bytes, config->sharing.capacity_bytes);
  EXPECT_LE(config->memory.limit_bytes, config->sharing.capacity_bytes);
}

TEST(ConfigsTest, CpuListensOnLoopbackAndGivesMemoryBackAfterFiveSeconds) {
  const absl::StatusOr<ServerConfig> config = Load("configs/cpu.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->server.listen, "127.0.0.1:50051");
  EXPECT_EQ(config->memory.idle, absl::Seconds(5));
  EXPECT_EQ(config->device.kind, DeviceKind::kCpu);
}

// Editing addresses beside running work is not known to be safe on any device.
TEST(ConfigsTest, CudaEditsPagesAtJointBoundaries) {
  const absl::StatusOr<ServerConfig> config = Load("configs/cuda.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->device.kind, DeviceKind::kCuda);
  EXPECT_EQ(config->cuda.page_edits, PageEdits::kJointBoundary);
}

TEST(ConfigsTest, ReadmeTellsEverySettingAsTheTableHasIt) {
  const std::string readme = ReadFile("configs/README.md");
  EXPECT_NE(readme.find(Document()), std::string::npos)
      << "configs/README.md is out of date: replace what follows its heading \"Settings\" by the "
         "output of `bazel run //config:print_document`.";
}

}  // namespace
}  // namespace ebb::config

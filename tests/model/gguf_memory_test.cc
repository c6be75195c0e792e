// What a hostile header costs before it is refused: docs/hostile-inputs.md, "amplification".

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "model/gguf.h"
#include "model/load_error.h"
#include "tests/model/gguf_builder.h"

namespace ebb::model {
namespace {

constexpr int64_t kAllowedKib = 64 << 10;

// A line of /proc/self/status in KiB.
int64_t StatusKib(const std::string& name) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.compare(0, name.size() + 1, name + ":") == 0) {
      return std::stoll(line.substr(name.size() + 1));
    }
  }
  return -1;
}

// Opens a file of `head` and then zeros, `bytes` long, and checks the peak of the resident set.
void ExpectRefusedCheaply(const std::string& head, int64_t bytes,
                          const std::string& reason = "limit") {
  const std::string path = testing::TempDir() + "/sparse.gguf";
  std::ofstream(path, std::ios::binary) << head;
  ASSERT_EQ(truncate(path.c_str(), bytes), 0);
  std::ofstream("/proc/self/clear_refs") << "5";  // The peak starts again from here.
  const int64_t before = StatusKib("VmRSS");
  const absl::Status status = GgufFile::Open(path).status();
  const int64_t peak = StatusKib("VmHWM");
  unlink(path.c_str());
  EXPECT_EQ(LoadErrorReason(status), reason) << status;
  ASSERT_GT(before, 0);
  EXPECT_LE(peak - before, kAllowedKib);
}

TEST(GgufMemoryTest, TenMillionEmptyStrings) {
  GgufBuilder builder;
  builder.SetRaw("a", GgufType::kArray, GgufBuilder::ArrayHead(GgufType::kString, 10'000'000));
  ExpectRefusedCheaply(builder.BuildHeader(), 200 << 20);
}

TEST(GgufMemoryTest, TenMillionEmptyStringsWithinTheByteLimit) {
  // As many as the byte limit lets through: the limit of strings must catch them.
  GgufBuilder builder;
  const uint64_t count = (GgufLimits().metadata_bytes_max - 4096) / 8;
  builder.SetRaw("a", GgufType::kArray, GgufBuilder::ArrayHead(GgufType::kString, count));
  ExpectRefusedCheaply(builder.BuildHeader(), 200 << 20);
}

TEST(GgufMemoryTest, TheWorstArraysWithinTheLimits) {
  // Strings up to the limit of strings, one text nearly up to the limit of bytes, a bad key.
  const GgufLimits limits;
  GgufBuilder builder;
  builder.key_count = 3;
  std::string head = builder.BuildHeader();
  head += RawString("a") + RawBytes(uint32_t{9}) +
          GgufBuilder::ArrayHead(GgufType::kString, limits.string_count_max - 1);
  head += std::string((limits.string_count_max - 1) * 8, '\0');
  head += RawString("b") + RawBytes(uint32_t{9}) + GgufBuilder::ArrayHead(GgufType::kString, 1);
  head += RawBytes(limits.metadata_bytes_max - head.size() - 4096);
  ExpectRefusedCheaply(head, 200 << 20, "key");
}

TEST(GgufMemoryTest, HugeTextAndHugeNumberArray) {
  GgufBuilder text;
  text.SetRaw("a", GgufType::kString, RawBytes(uint64_t{150} << 20));
  ExpectRefusedCheaply(text.BuildHeader(), 200 << 20);
  GgufBuilder numbers;
  numbers.SetRaw("a", GgufType::kArray,
                 GgufBuilder::ArrayHead(GgufType::kUint8, uint64_t{150} << 20));
  ExpectRefusedCheaply(numbers.BuildHeader(), 200 << 20);
}

}  // namespace
}  // namespace ebb::model

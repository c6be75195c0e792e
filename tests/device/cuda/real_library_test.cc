// The real CUDA library, as far as a host without a GPU can tell: it loads, exports one symbol, has
// every entry, and says what it does not find. Where there is a GPU, that it finds it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "device/cuda/cuda_library.h"

namespace ebb::device {
namespace {

using testing::HasSubstr;

constexpr const char* kPath = "kernels/cuda/libebb_cuda.so";

std::string OutputOf(const std::string& command) {
  std::string output;
  FILE* const pipe = popen(command.c_str(), "r");
  char buffer[4096];
  while (const size_t size = fread(buffer, 1, sizeof(buffer), pipe)) output.append(buffer, size);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return output;
}

TEST(RealLibraryTest, ExportsItsEntryAndNothingElse) {
  const std::string symbols = OutputOf(std::string("nm -D --defined-only ") + kPath);
  EXPECT_EQ(symbols.substr(symbols.find(' ')), " T EbbCudaOpenApi\n") << symbols;
}

TEST(RealLibraryTest, LoadsAndHasEveryEntry) {
  const auto library = CudaLibrary::Load(kPath);
  ASSERT_TRUE(library.ok()) << library.status();
  const EbbCudaApi& api = (*library)->api();
  EXPECT_STREQ(api.name, "cuda");
  EXPECT_NE(api.error_text(), nullptr);
  for (size_t at = offsetof(EbbCudaApi, error_text); at < sizeof(EbbCudaApi); at += sizeof(void*)) {
    void* entry = nullptr;
    std::memcpy(&entry, reinterpret_cast<const char*>(&api) + at, sizeof(entry));
    EXPECT_NE(entry, nullptr) << "at byte " << at;
  }
}

TEST(RealLibraryTest, SaysWhatItFinds) {
  const auto library = CudaLibrary::Load(kPath);
  ASSERT_TRUE(library.ok()) << library.status();
  const auto found = (*library)->Find();
  if (found.ok()) {
    const auto info = (*library)->DeviceInfo(0);
    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_GT(info->memory_bytes, 0);
    EXPECT_THAT(info->uuid, testing::MatchesRegex("(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-.*"));
    return;
  }
  EXPECT_EQ(found.status().code(), absl::StatusCode::kNotFound) << found.status();
  EXPECT_THAT(found.status().message(), HasSubstr("driver"));
  // Nothing else works then, and nothing crashes.
  EbbCudaContext* context = nullptr;
  EXPECT_EQ((*library)->api().open(0, &context), EBB_CUDA_NO_DRIVER);
  EXPECT_EQ(context, nullptr);
  EXPECT_EQ((*library)->DeviceInfo(0).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ebb::device

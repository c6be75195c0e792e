#include "device/cuda/cuda_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "device/cuda/cuda_device.h"
#include "device/cuda/fake/fake_cuda.h"
#include "device/device_lost.h"
#include "kernels/cuda/library/fake_api.h"

namespace ebb::device {
namespace {

using testing::HasSubstr;

std::string MessageOf(const std::string& path, absl::StatusCode code) {
  const auto library = CudaLibrary::Load(path);
  EXPECT_EQ(library.status().code(), code) << library.status();
  return std::string(library.status().message());
}

TEST(CudaLibraryTest, AMissingLibraryIsToldWithItsPath) {
  const std::string message = MessageOf("/nowhere/libebb_cuda.so", absl::StatusCode::kNotFound);
  EXPECT_THAT(message, HasSubstr("/nowhere/libebb_cuda.so"));
  EXPECT_THAT(message, HasSubstr("//kernels/cuda:libebb_cuda.so"));
}

// Neither beside the test nor in the loader's directories.
TEST(CudaLibraryTest, WithoutAPathItIsLookedForBesideTheProgram) {
  EXPECT_THAT(MessageOf("", absl::StatusCode::kNotFound), HasSubstr("libebb_cuda.so"));
}

TEST(CudaLibraryTest, AnotherLibraryIsRefused) {
  EXPECT_THAT(MessageOf("libm.so.6", absl::StatusCode::kFailedPrecondition),
              HasSubstr("EbbCudaOpenApi"));
}

TEST(CudaLibraryTest, AFileThatIsNoLibraryIsRefused) {
  EXPECT_THAT(MessageOf("/proc/self/status", absl::StatusCode::kFailedPrecondition),
              HasSubstr("/proc/self/status"));
}

// needy.so was linked against a libcublasLt.so.99 that is nowhere now.
TEST(CudaLibraryTest, AMissingLibraryOfTheToolkitIsNamed) {
  const std::string message =
      MessageOf("tests/device/cuda/needy.so", absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(message, HasSubstr("needs libcublasLt.so.99"));
  EXPECT_THAT(message, HasSubstr("LD_LIBRARY_PATH"));
}

TEST(CudaLibraryTest, AnotherBuildsLibraryIsRefused) {
  EXPECT_THAT(MessageOf("tests/device/cuda/other_build.so", absl::StatusCode::kFailedPrecondition),
              HasSubstr("another build"));
}

TEST(CudaLibraryTest, TheFakeLoadsLikeTheRealOne) {
  const auto library = CudaLibrary::Load("kernels/cuda/libebb_cuda_fake.so");
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_STREQ((*library)->api().name, "fake");
  EXPECT_EQ((*library)->origin(), "kernels/cuda/libebb_cuda_fake.so");
  const auto found = (*library)->Find();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->device_count, 1);
  EXPECT_TRUE(CudaDevice::Open(library->get(), 0).ok());
}

TEST(CudaLibraryTest, WhatIsNotFoundIsTold) {
  const CudaLibrary library(EbbCudaFakeApi());
  const struct {
    EbbCudaCode code;
    absl::StatusCode expected;
  } cases[] = {{EBB_CUDA_NO_DRIVER, absl::StatusCode::kNotFound},
               {EBB_CUDA_NO_DEVICE, absl::StatusCode::kNotFound},
               {EBB_CUDA_OLD_DRIVER, absl::StatusCode::kFailedPrecondition},
               {EBB_CUDA_UNSUPPORTED, absl::StatusCode::kFailedPrecondition}};
  for (const auto& one : cases) {
    FakeCudaOptions options;
    options.find_code = one.code;
    SetFakeCudaOptions(options);
    EXPECT_EQ(library.Find().status().code(), one.expected);
    EXPECT_EQ(library.DeviceInfo(0).status().code(), one.expected);
    EXPECT_EQ(CudaDevice::Open(&library, 0).status().code(), one.expected);
    EXPECT_THAT(library.Find().status().message(), HasSubstr("the fake finds nothing"));
  }
  SetFakeCudaOptions({});
  EXPECT_TRUE(library.Find().ok());
  EXPECT_EQ(library.DeviceInfo(1).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(library.DeviceInfo(-1).status().code(), absl::StatusCode::kNotFound);
}

TEST(CudaLibraryTest, ADeviceThatDoesNotOpenIsTold) {
  const CudaLibrary library(EbbCudaFakeApi());
  FakeCudaOptions options;
  options.open_code = EBB_CUDA_UNSUPPORTED;
  SetFakeCudaOptions(options);
  EXPECT_EQ(CudaDevice::Open(&library, 0).status().code(), absl::StatusCode::kFailedPrecondition);
  SetFakeCudaOptions({});
}

// Every function pointer of the table, which are all words from error_text on.
TEST(CudaLibraryTest, NoEntryOfTheTableIsNull) {
  const EbbCudaApi* const api = EbbCudaFakeApi();
  EXPECT_NE(api->name, nullptr);
  const auto* const bytes = reinterpret_cast<const char*>(api);
  size_t count = 0;
  for (size_t at = offsetof(EbbCudaApi, error_text); at < sizeof(EbbCudaApi); at += sizeof(void*)) {
    void* entry = nullptr;
    std::memcpy(&entry, bytes + at, sizeof(entry));
    EXPECT_NE(entry, nullptr) << "entry " << count;
    ++count;
  }
  EXPECT_GT(count, 40u);
}

}  // namespace
}  // namespace ebb::device

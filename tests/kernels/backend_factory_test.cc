#include "kernels/backend_factory.h"

#include "gtest/gtest.h"
#include "kernels/cpu/cpu_features.h"

namespace ebb::kernels {
namespace {

TEST(BackendFactory, MakesWhatTheHostCanRun) {
  const auto chosen = MakeCpuBackend("auto", 0);
  ASSERT_TRUE(chosen.ok()) << chosen.status();
  const std::string best = cpu::MissingForAvx512().empty() ? "avx512"
                           : cpu::MissingForAvx2().empty() ? "avx2"
                                                           : "reference";
  EXPECT_EQ((*chosen)->name(), best);
  const auto reference = MakeCpuBackend("reference", 1);
  ASSERT_TRUE(reference.ok());
  EXPECT_EQ((*reference)->name(), "reference");
}

TEST(BackendFactory, NamesTheMissingFeature) {
  const auto avx512 = MakeCpuBackend("avx512", 1);
  const std::string missing = cpu::MissingForAvx512();
  EXPECT_EQ(avx512.ok(), missing.empty());
  if (!avx512.ok()) {
    EXPECT_EQ(avx512.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(avx512.status().message().find(missing), std::string::npos);
  }
}

TEST(BackendFactory, RefusesWhatItCannotMake) {
  EXPECT_EQ(MakeCpuBackend("amx", 1).status().code(), absl::StatusCode::kUnimplemented);
  const auto unknown = MakeCpuBackend("avx1024", 1);
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(unknown.status().message().find("avx1024"), std::string::npos);
  EXPECT_EQ(MakeCpuBackend("auto", -1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeCpuBackend("auto", 1 << 20).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ebb::kernels

#include "kernels/backend_factory.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/reference/reference_backend.h"

namespace ebb::kernels {
namespace {

constexpr int kMaxThreads = 1024;

absl::Status Lacks(absl::string_view path, const std::string& feature) {
  return absl::FailedPreconditionError(
      absl::StrCat("kernels.path ", path, " needs the processor feature ", feature,
                   ", which this processor or virtual machine does not have; use auto"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(absl::string_view path, int threads) {
  if (threads < 0 || threads > kMaxThreads) {
    return absl::InvalidArgumentError(
        absl::StrCat("kernels.threads is ", threads, ", it must be 0 to ", kMaxThreads));
  }
  const std::string no_avx2 = cpu::MissingForAvx2();
  const std::string no_avx512 = cpu::MissingForAvx512();
  if (path == "auto") path = no_avx512.empty() ? "avx512" : no_avx2.empty() ? "avx2" : "reference";
  if (path == "reference") return MakeReferenceBackend();
  if (threads == 0) threads = cpu::UsableProcessors("/sys/fs/cgroup", "/proc/self/cgroup");
  if (path == "avx2") {
    if (!no_avx2.empty()) return Lacks(path, no_avx2);
    return cpu::MakeCpuBackend(cpu::Avx2Kernels(), threads);
  }
  if (path == "avx512") {
    if (!no_avx512.empty()) return Lacks(path, no_avx512);
    return cpu::MakeCpuBackend(cpu::Avx512Kernels(), threads);
  }
  if (path == "amx") {
    return absl::UnimplementedError(
        "kernels.path amx is not written yet; use auto, which takes avx512 on a processor with "
        "AMX");
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "kernels.path is \"", path, "\", it must be auto, reference, avx2, avx512 or amx"));
}

}  // namespace ebb::kernels

#include "device/cuda/cuda_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <climits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "device/cuda/cuda_status.h"

namespace ebb::device {
namespace {

constexpr const char* kFileName = "libebb_cuda.so";
constexpr const char* kEntry = "EbbCudaOpenApi";

// The directory of this executable with a slash at its end; empty when it cannot be told.
std::string ExecutableDirectory() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof(path));
  if (length <= 0) return "";
  const std::string whole(path, length);
  return whole.substr(0, whole.rfind('/') + 1);
}

// Why dlopen failed, with the way to mend it.
absl::Status LoadError(const std::string& path, const std::string& reason) {
  // The loader's text: "NAME: cannot open shared object file: No such file or directory". The name
  // is the library's own when it is missing itself, else that of one that it needs.
  const size_t end = reason.find(": cannot open shared object file");
  const std::string missing = end == std::string::npos ? "" : reason.substr(0, end);
  if (!missing.empty() && missing != path) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the CUDA library ", path, " needs ", missing, ", which the loader does not find (", reason,
        "); install the CUDA ", absl::StrContains(missing, "cublas") ? "cuBLAS library" : "runtime",
        " of the toolkit's major version, or name its directory in LD_LIBRARY_PATH"));
  }
  if (!missing.empty()) {
    return absl::NotFoundError(
        absl::StrCat("there is no CUDA library at ", path, " (", reason,
                     "); build //kernels/cuda:libebb_cuda.so on a host with the CUDA toolkit and "
                     "put it beside the executable, or set its path"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the CUDA library ", path, " cannot be loaded: ", reason));
}

absl::StatusOr<void*> OpenFile(const std::string& path) {
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle != nullptr) return handle;
  const char* const reason = dlerror();
  return LoadError(path, reason == nullptr ? "no reason given" : reason);
}

}  // namespace

CudaLibrary::CudaLibrary(const EbbCudaApi* api) : CudaLibrary(api, api->name) {}

CudaLibrary::CudaLibrary(const EbbCudaApi* api, std::string origin)
    : api_(api), origin_(std::move(origin)) {
  CHECK_EQ(api_->abi, EBB_CUDA_ABI);
  CHECK_EQ(api_->table_bytes, sizeof(EbbCudaApi));
}

absl::StatusOr<std::unique_ptr<CudaLibrary>> CudaLibrary::Load(const std::string& path) {
  std::string origin = path;
  if (path.empty()) {
    const std::string beside = ExecutableDirectory() + kFileName;
    origin = access(beside.c_str(), F_OK) == 0 ? beside : kFileName;
  }
  // Never closed: its threads and the driver's would not outlive it.
  ASSIGN_OR_RETURN(void* const handle, OpenFile(origin));
  using Entry = const EbbCudaApi* (*)(uint32_t);
  const auto entry = reinterpret_cast<Entry>(dlsym(handle, kEntry));
  if (entry == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(origin, " is not the CUDA library: it has no ", kEntry));
  }
  const EbbCudaApi* const api = entry(EBB_CUDA_ABI);
  if (api == nullptr || api->abi != EBB_CUDA_ABI || api->table_bytes != sizeof(EbbCudaApi)) {
    return absl::FailedPreconditionError(
        absl::StrCat(origin, " is of another build than this program (it does not offer interface ",
                     EBB_CUDA_ABI, "); build both from one source"));
  }
  return std::unique_ptr<CudaLibrary>(new CudaLibrary(api, std::move(origin)));
}

absl::StatusOr<EbbCudaDriverInfo> CudaLibrary::Find() const {
  EbbCudaDriverInfo info = {};
  RETURN_IF_ERROR(CudaStatus(*api_, api_->find(&info), "looking for a CUDA device"));
  return info;
}

absl::StatusOr<EbbCudaDeviceInfo> CudaLibrary::DeviceInfo(int32_t device) const {
  EbbCudaDeviceInfo info = {};
  RETURN_IF_ERROR(CudaStatus(*api_, api_->device_info(device, &info),
                             absl::StrCat("looking at CUDA device ", device)));
  return info;
}

}  // namespace ebb::device

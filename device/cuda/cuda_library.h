// CudaLibrary: the CUDA library (libebb_cuda.so), loaded at run time, so that one binary starts on
// hosts with and without a driver.
//
//   Load      the library is there, of this build, and what it needs is there
//   Find      there is a driver, new enough, and a device
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "device/cuda/cuda_api.h"

namespace ebb::device {

// Thread-safe: immutable. A loaded library stays loaded until the process ends.
class CudaLibrary {
 public:
  // Loads the library at `path`. With an empty path: libebb_cuda.so beside this executable, else
  // where the loader looks. NOT_FOUND when there is none, FAILED_PRECONDITION when a library that
  // it needs is missing or it is of another build; the text says which, and how to mend it.
  static absl::StatusOr<std::unique_ptr<CudaLibrary>> Load(const std::string& path);

  // Takes a table that is there already: the fake's. It outlives this.
  explicit CudaLibrary(const EbbCudaApi* api);
  CudaLibrary(const CudaLibrary&) = delete;
  CudaLibrary& operator=(const CudaLibrary&) = delete;

  const EbbCudaApi& api() const { return *api_; }
  // The file it came from, or the name of the table.
  const std::string& origin() const { return origin_; }

  // The driver and the number of devices, at least 1. NOT_FOUND without a driver or a device,
  // FAILED_PRECONDITION with a driver that is too old.
  absl::StatusOr<EbbCudaDriverInfo> Find() const;
  // REQUIRES: Find() was OK. NOT_FOUND when there is no such device.
  absl::StatusOr<EbbCudaDeviceInfo> DeviceInfo(int32_t device) const;

 private:
  CudaLibrary(const EbbCudaApi* api, std::string origin);

  const EbbCudaApi* const api_;
  const std::string origin_;
};

}  // namespace ebb::device

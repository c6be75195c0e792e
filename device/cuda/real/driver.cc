#include "device/cuda/real/driver.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <string>

#include "device/cuda/cuda_error.h"

namespace ebb::device {
namespace {

#define EBB_STRING_INNER(x) #x
#define EBB_STRING(x) EBB_STRING_INNER(x)

struct Found {
  Driver driver;
  EbbCudaCode code = EBB_CUDA_OK;
  std::string text;
};

std::string VersionText(int32_t version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Found Failed(EbbCudaCode code, std::string text) {
  Found found;
  found.code = code;
  found.text = std::move(text);
  return found;
}

// The text of an answer of cuInit, with what mends it.
Found InitFailed(const Driver& driver, CUresult result) {
  const char* name = nullptr;
  driver.cuGetErrorName_(result, &name);
  const std::string text =
      "the driver cannot be used: " + std::string(name == nullptr ? "unknown error" : name);
  switch (result) {
    case CUDA_ERROR_NO_DEVICE:
      return Failed(EBB_CUDA_NO_DEVICE,
                    text +
                        ": the driver sees no device (is CUDA_VISIBLE_DEVICES set, was the "
                        "container given one?)");
    case CUDA_ERROR_STUB_LIBRARY:
      return Failed(EBB_CUDA_NO_DRIVER,
                    text +
                        ": libcuda.so.1 is the toolkit's stub, not a driver: take its directory "
                        "out of the loader's path");
    case CUDA_ERROR_SYSTEM_NOT_READY:
      return Failed(EBB_CUDA_UNSUPPORTED, text +
                                              ": the system is not ready (on hosts with "
                                              "NVSwitch: is the fabric manager running?)");
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
      return Failed(EBB_CUDA_OLD_DRIVER,
                    text +
                        ": libcuda.so.1 does not fit the kernel's driver (a compatibility "
                        "package on a device without support for it, or a driver that was "
                        "updated without a restart)");
    default:
      return Failed(EBB_CUDA_UNSUPPORTED, text);
  }
}

Found Find() {
  // Never closed: the driver's threads would not outlive it.
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* const reason = dlerror();
    return Failed(EBB_CUDA_NO_DRIVER,
                  std::string("there is no NVIDIA driver on this host: ") +
                      (reason == nullptr ? "libcuda.so.1 cannot be loaded" : reason) +
                      " (install the driver, or give the container its devices)");
  }
  Found found;
  const char* missing = nullptr;
  // The version first: a call that an old driver lacks is told as its age.
#define EBB_DRIVER_FIND(call)                                                                   \
  found.driver.call##_ = reinterpret_cast<decltype(&::call)>(dlsym(library, EBB_STRING(call))); \
  if (found.driver.call##_ == nullptr && missing == nullptr) missing = EBB_STRING(call);
  EBB_DRIVER_CALLS(EBB_DRIVER_FIND)
#undef EBB_DRIVER_FIND
  if (found.driver.cuDriverGetVersion_ != nullptr) {
    const CUresult result = found.driver.cuDriverGetVersion_(&found.driver.version);
    if (result != CUDA_SUCCESS && missing == nullptr) return InitFailed(found.driver, result);
  }
  // Drivers serve every toolkit of their own major version and of older ones.
  if (found.driver.version / 1000 < CUDART_VERSION / 1000) {
    return Failed(EBB_CUDA_OLD_DRIVER, "the driver on this host is for CUDA " +
                                           VersionText(found.driver.version) +
                                           ", this library was built with CUDA " +
                                           VersionText(CUDART_VERSION) + ": update the driver");
  }
  if (missing != nullptr) {
    return Failed(EBB_CUDA_OLD_DRIVER, std::string("the driver on this host (CUDA ") +
                                           VersionText(found.driver.version) + ") lacks " +
                                           missing + ": update it");
  }
  const CUresult result = found.driver.cuInit_(0);
  return result == CUDA_SUCCESS ? found : InitFailed(found.driver, result);
}

}  // namespace

int32_t FindDriver(const Driver** driver) {
  static const Found& found = *new Found(Find());
  *driver = &found.driver;
  return found.code == EBB_CUDA_OK ? EBB_CUDA_OK : SetError(found.code, found.text);
}

}  // namespace ebb::device

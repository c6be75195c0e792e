// The entry of the fake as a library of its own (libebb_cuda_fake.so), for programs that load it
// like the real one. What it plays is asked for by the environment, as nothing else reaches it:
//
//   EBB_FAKE_CUDA_FIND=no_driver | old_driver | no_device
//   EBB_FAKE_CUDA_CAPACITY_BYTES=N, EBB_FAKE_CUDA_GRANULARITY_BYTES=N
//   EBB_FAKE_CUDA_LOSE_AT_LAUNCH=N   the device is lost at the Nth kernel or copy of a context
#include <cstdlib>
#include <cstring>

#include "device/cuda/fake/fake_cuda.h"
#include "kernels/cuda/library/table.h"

namespace {

int64_t NumberOf(const char* name, int64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoll(text, nullptr, 10);
}

ebb::device::FakeCudaOptions OptionsOfEnvironment() {
  ebb::device::FakeCudaOptions options;
  options.capacity_bytes = NumberOf("EBB_FAKE_CUDA_CAPACITY_BYTES", options.capacity_bytes);
  options.granularity_bytes =
      NumberOf("EBB_FAKE_CUDA_GRANULARITY_BYTES", options.granularity_bytes);
  options.lose_at_launch = NumberOf("EBB_FAKE_CUDA_LOSE_AT_LAUNCH", 0);
  const char* const find = std::getenv("EBB_FAKE_CUDA_FIND");
  if (find != nullptr && std::strcmp(find, "no_driver") == 0) {
    options.find_code = EBB_CUDA_NO_DRIVER;
  } else if (find != nullptr && std::strcmp(find, "old_driver") == 0) {
    options.find_code = EBB_CUDA_OLD_DRIVER;
  } else if (find != nullptr && std::strcmp(find, "no_device") == 0) {
    options.find_code = EBB_CUDA_NO_DEVICE;
  }
  return options;
}

}  // namespace

extern "C" const EbbCudaApi* EbbCudaOpenApi(uint32_t abi) {
  if (abi != EBB_CUDA_ABI) return nullptr;
  ebb::device::SetFakeCudaOptions(OptionsOfEnvironment());
  return ebb::kernels::cuda::Table();
}

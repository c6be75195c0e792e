// find_device LIBRARY: what the library finds and answers on this host, a line each.
#include <cstdio>

#include "device/cuda/cuda_device.h"
#include "device/cuda/cuda_library.h"

int main(int, char** argv) {
  const auto library = ebb::device::CudaLibrary::Load(argv[1]);
  if (!library.ok()) {
    std::printf("load: %s\n", library.status().ToString().c_str());
    return 1;
  }
  const auto found = (*library)->Find();
  std::printf("find: %s\n", found.status().ToString().c_str());
  if (found.ok()) {
    std::printf("driver %d, %d devices\n", found->driver_version, found->device_count);
  }
  const auto info = (*library)->DeviceInfo(1);
  std::printf("info: %s\n", info.status().ToString().c_str());
  if (info.ok()) {
    std::printf("%s %s %d.%d %d SMs %lld %lld\n", info->name, info->uuid, info->compute_major,
                info->compute_minor, info->sm_count, static_cast<long long>(info->l2_bytes),
                static_cast<long long>(info->memory_bytes));
  }
  std::printf("no such device: %s\n", (*library)->DeviceInfo(2).status().ToString().c_str());
  const auto device = ebb::device::CudaDevice::Open(library->get(), 0);
  std::printf("open: %s\n", device.status().ToString().c_str());
  return 0;
}

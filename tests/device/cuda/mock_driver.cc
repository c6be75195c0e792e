// A libcuda.so.1 that plays drivers and devices which the library must turn down with a clear text.
// EBB_MOCK_DRIVER says which. Built without the toolkit's headers: the names and layouts are the
// driver's own.
#include <cstdlib>
#include <cstring>

namespace {

bool Plays(const char* what) {
  const char* const mode = std::getenv("EBB_MOCK_DRIVER");
  return mode != nullptr && std::strcmp(mode, what) == 0;
}

}  // namespace

extern "C" {

int cuInit(unsigned) {
  if (Plays("no_device")) return 100;
  if (Plays("not_ready")) return 802;
  return 0;
}

int cuDriverGetVersion(int* version) {
  if (Plays("stub")) return 34;
  *version = Plays("old") ? 12040 : 13000;
  return 0;
}

int cuGetErrorName(int error, const char** name) {
  *name = error == 100   ? "CUDA_ERROR_NO_DEVICE"
          : error == 802 ? "CUDA_ERROR_SYSTEM_NOT_READY"
          : error == 34  ? "CUDA_ERROR_STUB_LIBRARY"
          : error == 999 ? "CUDA_ERROR_UNKNOWN"
                         : nullptr;
  return 0;
}

int cuGetErrorString(int, const char** text) {
  *text = "a text";
  return 0;
}

int cuDeviceGetCount(int* count) {
  if (Plays("fell_off")) return 999;
  *count = Plays("empty") ? 0 : 2;
  return 0;
}

int cuDeviceGet(int* device, int index) {
  *device = index;
  return 0;
}

int cuDeviceGetName(char* name, int size, int) {
  std::strncpy(name, Plays("mig") ? "Mock MIG 1g.10gb" : "Mock", size);
  return 0;
}

int cuDeviceGetUuid_v2(unsigned char* uuid, int) {
  for (int i = 0; i < 16; ++i) uuid[i] = static_cast<unsigned char>(16 * i + i);
  return 0;
}

int cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 75:  // Compute capability, major,
      *value = Plays("turing") ? 7 : 9;
      return 0;
    case 76:  // and minor.
      *value = Plays("turing") ? 5 : 0;
      return 0;
    case 16:  // Multiprocessors.
      *value = 132;
      return 0;
    case 36:  // Clock of the memory, kHz,
      *value = 2619000;
      return 0;
    case 37:  // and lines of its bus.
      *value = 5120;
      return 0;
    case 38:  // L2 cache.
      *value = 50 << 20;
      return 0;
    case 102:  // Virtual memory management.
      *value = Plays("no_vmm") ? 0 : 1;
      return 0;
    default:
      return 1;
  }
}

int cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = size_t{80} << 30;
  return 0;
}

// What no test of this file comes to, but the library looks for.
#define EBB_MOCK(name) \
  int name() { return 1; }
EBB_MOCK(cuDevicePrimaryCtxRetain)
EBB_MOCK(cuDevicePrimaryCtxRelease_v2)
EBB_MOCK(cuCtxSetCurrent)
EBB_MOCK(cuMemGetInfo_v2)
EBB_MOCK(cuMemGetAllocationGranularity)
EBB_MOCK(cuMemAddressReserve)
EBB_MOCK(cuMemAddressFree)
EBB_MOCK(cuMemCreate)
EBB_MOCK(cuMemMap)
EBB_MOCK(cuMemSetAccess)
EBB_MOCK(cuMemUnmap)
EBB_MOCK(cuMemRelease)
EBB_MOCK(cuFuncGetModule)
EBB_MOCK(cuModuleGetFunctionCount)
EBB_MOCK(cuModuleEnumerateFunctions)
EBB_MOCK(cuFuncLoad)

}  // extern "C"

// Finding, describing and opening devices; plain memory.
#include "device/cuda/real/context.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "device/cuda/cuda_error.h"
#include "device/cuda/real/kernel_module.h"

namespace ebb::device {

// Before any module's own registration: a null pointer needs no initialisation at run time.
const KernelModule* KernelModule::first_ = nullptr;

namespace {

constexpr int kComputeMajorMin = 8;

int32_t Find(EbbCudaDriverInfo* info) {
  LeaveContext();
  const Driver* driver = nullptr;
  int32_t code = FindDriver(&driver);
  info->driver_version = driver->version;
  info->toolkit_version = CUDART_VERSION;
  info->device_count = 0;
  if (code != EBB_CUDA_OK) return code;
  int count = 0;
  code = FromDriver(*driver, driver->cuDeviceGetCount_(&count), "cuDeviceGetCount");
  if (code != EBB_CUDA_OK) return code;
  if (count == 0) {
    return SetError(EBB_CUDA_NO_DEVICE, "the driver sees no device (is CUDA_VISIBLE_DEVICES set?)");
  }
  info->device_count = count;
  return EBB_CUDA_OK;
}

// "GPU-" or "MIG-", then the sixteen bytes in groups. The driver gives an instance's own bytes, but
// not its kind: that stands in its name.
void WriteUuid(const CUuuid& uuid, const char* name, char* out, size_t size) {
  const auto* const b = reinterpret_cast<const unsigned char*>(uuid.bytes);
  std::snprintf(out, size,
                "%s-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                std::strstr(name, " MIG ") != nullptr ? "MIG" : "GPU", b[0], b[1], b[2], b[3], b[4],
                b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

int32_t GetDevice(int32_t index, const Driver** driver, CUdevice* device) {
  EbbCudaDriverInfo found;
  const int32_t code = Find(&found);
  if (code != EBB_CUDA_OK) return code;
  if (index < 0 || index >= found.device_count) {
    return SetError(EBB_CUDA_NO_DEVICE, "there is no device " + std::to_string(index) +
                                            "; the driver sees " +
                                            std::to_string(found.device_count));
  }
  FindDriver(driver);
  return FromDriver(**driver, (*driver)->cuDeviceGet_(device, index), "cuDeviceGet");
}

// Bytes a second, or 0: two transfers a clock on each line of the bus.
int64_t MemoryRate(const Driver& driver, CUdevice device) {
  int clock_khz = 0, bus_bits = 0;
  if (driver.cuDeviceGetAttribute_(&clock_khz, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, device) !=
          CUDA_SUCCESS ||
      driver.cuDeviceGetAttribute_(&bus_bits, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH,
                                   device) != CUDA_SUCCESS) {
    return 0;
  }
  return int64_t{2000} * clock_khz * (bus_bits / 8);
}

int32_t DeviceInfo(int32_t index, EbbCudaDeviceInfo* info) {
  *info = {};
  const Driver* driver = nullptr;
  CUdevice device = 0;
  int32_t code = GetDevice(index, &driver, &device);
  if (code != EBB_CUDA_OK) return code;
  code = FromDriver(*driver, driver->cuDeviceGetName_(info->name, sizeof(info->name), device),
                    "cuDeviceGetName");
  if (code != EBB_CUDA_OK) return code;
  CUuuid uuid = {};
  code = FromDriver(*driver, driver->cuDeviceGetUuid_(&uuid, device), "cuDeviceGetUuid");
  if (code != EBB_CUDA_OK) return code;
  WriteUuid(uuid, info->name, info->uuid, sizeof(info->uuid));
  size_t memory_bytes = 0;
  code = FromDriver(*driver, driver->cuDeviceTotalMem_(&memory_bytes, device), "cuDeviceTotalMem");
  if (code != EBB_CUDA_OK) return code;
  info->memory_bytes = static_cast<int64_t>(memory_bytes);
  int l2_bytes = 0;
  const struct {
    CUdevice_attribute attribute;
    int32_t* value;
  } wanted[] = {{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &info->compute_major},
                {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &info->compute_minor},
                {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &info->sm_count},
                {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, &l2_bytes}};
  for (const auto& one : wanted) {
    code = FromDriver(*driver, driver->cuDeviceGetAttribute_(one.value, one.attribute, device),
                      "cuDeviceGetAttribute");
    if (code != EBB_CUDA_OK) return code;
  }
  info->l2_bytes = l2_bytes;
  info->memory_bytes_per_s = MemoryRate(*driver, device);
  return EBB_CUDA_OK;
}

// UNSUPPORTED when the device lacks what the library needs.
int32_t CheckDevice(EbbCudaContext* context) {
  EbbCudaDeviceInfo info;
  int32_t code = DeviceInfo(context->index, &info);
  if (code != EBB_CUDA_OK) return code;
  context->is_hopper = info.compute_major == 9 && info.compute_minor == 0;
  const std::string which = "device " + std::to_string(context->index) + " (" + info.name + ", " +
                            std::to_string(info.compute_major) + "." +
                            std::to_string(info.compute_minor) + ")";
  if (info.compute_major < kComputeMajorMin) {
    return SetError(EBB_CUDA_UNSUPPORTED, which +
                                              " is too old: compute capability 8.0 (Ampere) "
                                              "or later is needed");
  }
  int supported = 0;
  code = FromDriver(
      *context->driver,
      context->driver->cuDeviceGetAttribute_(
          &supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, context->device),
      "cuDeviceGetAttribute");
  if (code != EBB_CUDA_OK) return code;
  if (supported == 0) {
    return SetError(EBB_CUDA_UNSUPPORTED,
                    which + " has no virtual memory management, as some virtual GPUs have none");
  }
  return EBB_CUDA_OK;
}

// The smallest unit that the driver maps. Its recommended one promises the best bandwidth and is
// the same 2 MiB on all devices known to us; should they ever differ, it is the pages, not the
// unit, that should grow: a page is a multiple of the unit, and small workspaces need not be.
int32_t AskGranularity(EbbCudaContext* context) {
  CUmemAllocationProp properties = {};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, {context->device}};
  size_t bytes = 0;
  const int32_t code = FromDriver(*context->driver,
                                  context->driver->cuMemGetAllocationGranularity_(
                                      &bytes, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM),
                                  "cuMemGetAllocationGranularity");
  context->granularity_bytes = static_cast<int64_t>(bytes);
  return code;
}

int32_t Prepare(EbbCudaContext* context) {
  int32_t code = CheckDevice(context);
  if (code != EBB_CUDA_OK) return code;
  const Driver& driver = *context->driver;
  code = FromDriver(driver, driver.cuDevicePrimaryCtxRetain_(&context->primary, context->device),
                    "cuDevicePrimaryCtxRetain");
  if (code != EBB_CUDA_OK) return code;
  code = EnterContext(context);
  if (code == EBB_CUDA_OK) code = FromCuda(cudaSetDevice(context->index), "cudaSetDevice");
  if (code == EBB_CUDA_OK) code = AskGranularity(context);
  if (code == EBB_CUDA_OK) code = LoadKernels(driver);
  LeaveContext();
  if (code != EBB_CUDA_OK) driver.cuDevicePrimaryCtxRelease_(context->device);
  return code;
}

int32_t Open(int32_t index, EbbCudaContext** context) {
  auto opened = std::make_unique<EbbCudaContext>();
  opened->index = index;
  int32_t code = GetDevice(index, &opened->driver, &opened->device);
  if (code == EBB_CUDA_OK) code = Prepare(opened.get());
  *context = code == EBB_CUDA_OK ? opened.release() : nullptr;
  return code;
}

void Close(EbbCudaContext* context) {
  LeaveContext();
  context->driver->cuDevicePrimaryCtxRelease_(context->device);
  delete context;
}

void UseHopper(EbbCudaContext* context, int32_t on) {
  context->use_hopper.store(on != 0, std::memory_order_relaxed);
}

int32_t MemoryInfo(EbbCudaContext* context, int64_t* free_bytes, int64_t* total_bytes) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  size_t free_now = 0, total = 0;
  const CUresult result = context->driver->cuMemGetInfo_(&free_now, &total);
  *free_bytes = static_cast<int64_t>(free_now);
  *total_bytes = static_cast<int64_t>(total);
  return FromDriver(*context->driver, result, "cuMemGetInfo");
}

int32_t Alloc(EbbCudaContext* context, int64_t bytes, void** memory) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaMalloc(memory, static_cast<size_t>(bytes)), "cudaMalloc");
}

int32_t Free(EbbCudaContext* context, void* memory) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaFree(memory), "cudaFree");
}

int32_t HostAlloc(EbbCudaContext* context, int64_t bytes, void** memory) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaHostAlloc(memory, static_cast<size_t>(bytes),
                                cudaHostAllocPortable | cudaHostAllocMapped),
                  "cudaHostAlloc");
}

int32_t HostFree(EbbCudaContext* context, void* memory) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  return FromCuda(cudaFreeHost(memory), "cudaFreeHost");
}

// Loads the module that has this kernel.
int32_t LoadModule(const Driver& driver, const void* anchor) {
  cudaFunction_t function = nullptr;
  int32_t code = FromCuda(cudaGetFuncBySymbol(&function, anchor), "cudaGetFuncBySymbol");
  if (code != EBB_CUDA_OK) return code;
  CUmodule module = nullptr;
  code = FromDriver(driver, driver.cuFuncGetModule_(&module, function), "cuFuncGetModule");
  if (code != EBB_CUDA_OK) return code;
  unsigned count = 0;
  code = FromDriver(driver, driver.cuModuleGetFunctionCount_(&count, module),
                    "cuModuleGetFunctionCount");
  if (code != EBB_CUDA_OK) return code;
  std::vector<CUfunction> functions(count);
  code = FromDriver(driver, driver.cuModuleEnumerateFunctions_(functions.data(), count, module),
                    "cuModuleEnumerateFunctions");
  for (size_t i = 0; i < functions.size() && code == EBB_CUDA_OK; ++i) {
    code = FromDriver(driver, driver.cuFuncLoad_(functions[i]), "cuFuncLoad");
  }
  return code;
}

}  // namespace

int32_t LoadKernels(const Driver& driver) {
  if (KernelModule::first() == nullptr) {
    return SetError(EBB_CUDA_INTERNAL, "the library has no kernels");
  }
  for (const KernelModule* m = KernelModule::first(); m != nullptr; m = m->next()) {
    const int32_t code = LoadModule(driver, m->anchor());
    if (code != EBB_CUDA_OK) return code;
  }
  return EBB_CUDA_OK;
}

void SetContextEntries(EbbCudaApi* api) {
  api->error_text = ErrorText;
  api->find = Find;
  api->device_info = DeviceInfo;
  api->open = Open;
  api->close = Close;
  api->use_hopper = UseHopper;
  api->memory_info = MemoryInfo;
  api->alloc = Alloc;
  api->free = Free;
  api->host_alloc = HostAlloc;
  api->host_free = HostFree;
}

void SetDeviceEntries(EbbCudaApi* api) {
  api->name = "cuda";
  SetContextEntries(api);
  SetVmmEntries(api);
  SetStreamEntries(api);
}

}  // namespace ebb::device

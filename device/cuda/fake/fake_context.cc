// The fake's entries for the host, for memory and for virtual memory.
#include <cstdio>
#include <memory>
#include <string>

#include "device/cuda/cuda_error.h"
#include "device/cuda/device_table.h"
#include "device/cuda/fake/fake_stream.h"

namespace ebb::device {
namespace {

constexpr int32_t kVersion = 13000;

int32_t Find(EbbCudaDriverInfo* info) {
  const FakeCudaOptions options = GetFakeCudaOptions();
  *info = {kVersion, kVersion, options.find_code == EBB_CUDA_OK ? options.device_count : 0};
  if (options.find_code == EBB_CUDA_OK) return EBB_CUDA_OK;
  return SetError(options.find_code, "the fake finds nothing, as was asked for");
}

int32_t DeviceInfo(int32_t device, EbbCudaDeviceInfo* info) {
  EbbCudaDriverInfo found;
  const int32_t code = Find(&found);
  if (code != EBB_CUDA_OK) return code;
  if (device < 0 || device >= found.device_count) {
    return SetError(EBB_CUDA_NO_DEVICE, "there is no device " + std::to_string(device));
  }
  const FakeCudaOptions options = GetFakeCudaOptions();
  *info = {};
  std::snprintf(info->name, sizeof(info->name), "Ebb fake device");
  std::snprintf(info->uuid, sizeof(info->uuid), "GPU-00000000-0000-0000-0000-%012d", device);
  info->compute_major = options.compute_major;
  info->compute_minor = options.compute_minor;
  info->sm_count = options.sm_count;
  info->l2_bytes = int64_t{1} << 20;
  info->memory_bytes = options.capacity_bytes;
  info->memory_bytes_per_s = int64_t{1} << 30;
  return EBB_CUDA_OK;
}

int32_t Open(int32_t device, EbbCudaContext** context) {
  *context = nullptr;
  EbbCudaDeviceInfo info;
  const int32_t code = DeviceInfo(device, &info);
  if (code != EBB_CUDA_OK) return code;
  const FakeCudaOptions options = GetFakeCudaOptions();
  if (options.open_code != EBB_CUDA_OK) {
    return SetError(options.open_code, "the fake does not open, as was asked for");
  }
  *context = new EbbCudaContext(options, device);
  return EBB_CUDA_OK;
}

void Close(EbbCudaContext* context) { delete context; }

void UseHopper(EbbCudaContext* context, int32_t on) { context->use_hopper = on != 0; }

int32_t MemoryInfo(EbbCudaContext* context, int64_t* free_bytes, int64_t* total_bytes) {
  return context->fake.MemoryInfo(free_bytes, total_bytes);
}

int32_t Alloc(EbbCudaContext* context, int64_t bytes, void** memory) {
  const int32_t code = RefuseInCapture("alloc");
  return code == EBB_CUDA_OK ? context->fake.Alloc(bytes, memory) : code;
}

// As on the device, freeing waits for all work.
int32_t WaitForAll(EbbCudaContext* context) {
  base::MutexLock lock(&context->streams_mutex);
  for (EbbCudaStream* const stream : context->fake.streams()) stream->WaitIdle();
  return context->fake.Enter();
}

int32_t Free(EbbCudaContext* context, void* memory) {
  int32_t code = RefuseInCapture("free");
  if (code == EBB_CUDA_OK) code = WaitForAll(context);
  return code == EBB_CUDA_OK ? context->fake.Free(memory) : code;
}

int32_t HostAlloc(EbbCudaContext* context, int64_t bytes, void** memory) {
  const int32_t code = RefuseInCapture("host_alloc");
  return code == EBB_CUDA_OK ? context->fake.HostAlloc(bytes, memory) : code;
}

int32_t HostFree(EbbCudaContext* context, void* memory) {
  int32_t code = RefuseInCapture("host_free");
  if (code == EBB_CUDA_OK) code = WaitForAll(context);
  return code == EBB_CUDA_OK ? context->fake.HostFree(memory) : code;
}

int32_t VmmGranularity(EbbCudaContext* context, int64_t* bytes) {
  *bytes = context->fake.options().granularity_bytes;
  return EBB_CUDA_OK;
}

int32_t VmmReserve(EbbCudaContext* context, int64_t bytes, uint8_t** address) {
  return context->fake.Reserve(bytes, address);
}

int32_t VmmFree(EbbCudaContext* context, uint8_t* address, int64_t bytes) {
  return context->fake.FreeRange(address, bytes);
}

int32_t VmmCreate(EbbCudaContext* context, int64_t bytes, uint64_t* handle) {
  return context->fake.Create(bytes, handle);
}

int32_t VmmMap(EbbCudaContext* context, uint8_t* address, int64_t bytes, uint64_t handle) {
  return context->fake.Map(address, bytes, handle);
}

int32_t VmmSetAccess(EbbCudaContext* context, uint8_t* address, int64_t bytes) {
  return context->fake.SetAccess(address, bytes);
}

int32_t VmmUnmap(EbbCudaContext* context, uint8_t* address, int64_t bytes) {
  return context->fake.Unmap(address, bytes);
}

int32_t VmmRelease(EbbCudaContext* context, uint64_t handle) {
  return context->fake.ReleaseHandle(handle);
}

}  // namespace

void SetFakeContextEntries(EbbCudaApi* api) {
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
  api->vmm_granularity = VmmGranularity;
  api->vmm_reserve = VmmReserve;
  api->vmm_free = VmmFree;
  api->vmm_create = VmmCreate;
  api->vmm_map = VmmMap;
  api->vmm_set_access = VmmSetAccess;
  api->vmm_unmap = VmmUnmap;
  api->vmm_release = VmmRelease;
}

void SetDeviceEntries(EbbCudaApi* api) {
  api->name = "fake";
  SetFakeContextEntries(api);
  SetFakeStreamEntries(api);
}

}  // namespace ebb::device

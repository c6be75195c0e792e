// Addresses and memory as two things: the driver's virtual memory calls.
#include "device/cuda/real/context.h"

namespace ebb::device {
namespace {

CUdeviceptr Pointer(const uint8_t* address) { return reinterpret_cast<CUdeviceptr>(address); }

int32_t Granularity(EbbCudaContext* context, int64_t* bytes) {
  *bytes = context->granularity_bytes;
  return EBB_CUDA_OK;
}

int32_t Reserve(EbbCudaContext* context, int64_t bytes, uint8_t** address) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  CUdeviceptr pointer = 0;
  const CUresult result = context->driver->cuMemAddressReserve_(
      &pointer, static_cast<size_t>(bytes), static_cast<size_t>(context->granularity_bytes),
      /*addr=*/0, /*flags=*/0);
  // The driver's addresses are numbers. NOLINTNEXTLINE(performance-no-int-to-ptr)
  *address = reinterpret_cast<uint8_t*>(pointer);
  return FromDriver(*context->driver, result, "cuMemAddressReserve");
}

int32_t FreeAddresses(EbbCudaContext* context, uint8_t* address, int64_t bytes) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  return FromDriver(
      *context->driver,
      context->driver->cuMemAddressFree_(Pointer(address), static_cast<size_t>(bytes)),
      "cuMemAddressFree");
}

int32_t Create(EbbCudaContext* context, int64_t bytes, uint64_t* handle) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  CUmemAllocationProp properties = {};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, {context->device}};
  CUmemGenericAllocationHandle made = 0;
  const CUresult result =
      context->driver->cuMemCreate_(&made, static_cast<size_t>(bytes), &properties, /*flags=*/0);
  *handle = made;
  return FromDriver(*context->driver, result, "cuMemCreate");
}

int32_t Map(EbbCudaContext* context, uint8_t* address, int64_t bytes, uint64_t handle) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  return FromDriver(*context->driver,
                    context->driver->cuMemMap_(Pointer(address), static_cast<size_t>(bytes),
                                               /*offset=*/0, handle, /*flags=*/0),
                    "cuMemMap");
}

int32_t SetAccess(EbbCudaContext* context, uint8_t* address, int64_t bytes) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  CUmemAccessDesc access = {};
  access.location = {CU_MEM_LOCATION_TYPE_DEVICE, {context->device}};
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return FromDriver(*context->driver,
                    context->driver->cuMemSetAccess_(Pointer(address), static_cast<size_t>(bytes),
                                                     &access, /*count=*/1),
                    "cuMemSetAccess");
}

int32_t Unmap(EbbCudaContext* context, uint8_t* address, int64_t bytes) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  return FromDriver(*context->driver,
                    context->driver->cuMemUnmap_(Pointer(address), static_cast<size_t>(bytes)),
                    "cuMemUnmap");
}

int32_t Release(EbbCudaContext* context, uint64_t handle) {
  const int32_t code = EnterContext(context);
  if (code != EBB_CUDA_OK) return code;
  return FromDriver(*context->driver, context->driver->cuMemRelease_(handle), "cuMemRelease");
}

}  // namespace

void SetVmmEntries(EbbCudaApi* api) {
  api->vmm_granularity = Granularity;
  api->vmm_reserve = Reserve;
  api->vmm_free = FreeAddresses;
  api->vmm_create = Create;
  api->vmm_map = Map;
  api->vmm_set_access = SetAccess;
  api->vmm_unmap = Unmap;
  api->vmm_release = Release;
}

}  // namespace ebb::device

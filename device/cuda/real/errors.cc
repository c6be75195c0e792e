// Codes and texts for what the driver and the runtime answer; the loss of a device.
#include <cuda_runtime_api.h>

#include "device/cuda/cuda_error.h"
#include "device/cuda/real/context.h"

namespace ebb::device {
namespace {

// The context of the call that this thread is in.
thread_local EbbCudaContext* entered = nullptr;

// After these the context answers every call with an error, until the process ends. An unknown
// error (999) is what a device that fell off the bus gives.
bool IsFinal(int error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsClientTerminated:
    case cudaErrorMpsRpcFailure:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

// The driver and the runtime number their errors alike (but for some of the runtime's own).
EbbCudaCode CodeOf(int error) {
  switch (error) {
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDevicePointer:
    case cudaErrorInvalidHostPointer:
    case cudaErrorInvalidDevice:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorLaunchOutOfResources:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureUnmatched:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureWrongThread:
    case cudaErrorCapturedEvent:
      return EBB_CUDA_INVALID_ARGUMENT;
    case cudaErrorMemoryAllocation:
      return EBB_CUDA_OUT_OF_MEMORY;
    case cudaErrorInsufficientDriver:
    case cudaErrorCallRequiresNewerDriver:
      return EBB_CUDA_OLD_DRIVER;
    case cudaErrorNoDevice:
    case cudaErrorDevicesUnavailable:
      return EBB_CUDA_NO_DEVICE;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorNotSupported:
    case cudaErrorSystemNotReady:
      return EBB_CUDA_UNSUPPORTED;
    case cudaErrorNotReady:
      return EBB_CUDA_NOT_READY;
    default:
      return EBB_CUDA_INTERNAL;
  }
}

int32_t Failed(int error, std::string text) {
  if (!IsFinal(error)) return SetError(CodeOf(error), std::move(text));
  if (entered != nullptr) {
    std::lock_guard<std::mutex> lock(entered->mutex);
    if (entered->loss.empty()) entered->loss = text;
    entered->lost.store(true, std::memory_order_release);
  }
  return SetError(EBB_CUDA_DEVICE_LOST, std::move(text));
}

std::string Text(const char* call, const char* name, const char* meaning) {
  return std::string(call) + ": " + (name == nullptr ? "unknown error" : name) + " (" +
         (meaning == nullptr ? "no text" : meaning) + ")";
}

}  // namespace

int32_t EnterContext(EbbCudaContext* context) {
  entered = context;
  if (context->lost.load(std::memory_order_acquire)) {
    std::lock_guard<std::mutex> lock(context->mutex);
    return SetError(EBB_CUDA_DEVICE_LOST, "the device is lost since " + context->loss);
  }
  return FromDriver(*context->driver, context->driver->cuCtxSetCurrent_(context->primary),
                    "cuCtxSetCurrent");
}

void LeaveContext() { entered = nullptr; }

int32_t FromDriver(const Driver& driver, CUresult result, const char* call) {
  if (result == CUDA_SUCCESS) return EBB_CUDA_OK;
  const char* name = nullptr;
  const char* meaning = nullptr;
  driver.cuGetErrorName_(result, &name);
  driver.cuGetErrorString_(result, &meaning);
  return Failed(result, Text(call, name, meaning));
}

int32_t FromCuda(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return EBB_CUDA_OK;
  if (error == cudaErrorNotReady) return EBB_CUDA_NOT_READY;
  // The runtime repeats a thread's last error to whoever asks: nobody else shall be told of it.
  static_cast<void>(cudaGetLastError());
  return Failed(error, Text(call, cudaGetErrorName(error), cudaGetErrorString(error)));
}

}  // namespace ebb::device

// One device, opened, and how every call of the table begins and ends.
//
//   EnterContext   DEVICE_LOST at once when the device is lost; else its context is the thread's
//   FromDriver, FromCuda   an answer as a code and a text; what is final is kept for the context
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "device/cuda/real/driver.h"
#include "device/cuda/stream_internal.h"

// Thread-safe.
struct EbbCudaContext {
  const ebb::device::Driver* driver = nullptr;
  CUdevice device = 0;
  int32_t index = 0;
  std::atomic<bool> use_hopper = false;
  CUcontext primary = nullptr;
  bool is_hopper = false;  // Compute capability 9.0.
  int64_t granularity_bytes = 0;

  std::atomic<bool> lost = false;
  std::mutex mutex;
  std::string loss;  // Under the mutex: the first failure that said so.
};

namespace ebb::device {

// Makes the context the calling thread's.
int32_t EnterContext(EbbCudaContext* context);
// For calls that belong to no context: what they answer is kept for none.
void LeaveContext();

int32_t FromDriver(const Driver& driver, CUresult result, const char* call);

// Loads every kernel of the library into the entered context.
int32_t LoadKernels(const Driver& driver);

// The parts of the table, each by its file.
void SetContextEntries(EbbCudaApi* api);
void SetVmmEntries(EbbCudaApi* api);
void SetStreamEntries(EbbCudaApi* api);

}  // namespace ebb::device

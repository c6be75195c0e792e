// CudaDevice: one device, opened, and memory on it; each handle is freed with its owner.
//
//   CudaLibrary -- CudaDevice --+-- CudaBuffer       device memory
//                               +-- CudaHostBuffer   pinned host memory
//                               +-- CudaStream, CudaEvent, CudaGraph, CudaVmm
//
// Every wrapper sends the library's answers through Check: so the device knows when it is lost,
// whoever was the first to hear.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "device/cuda/cuda_api.h"
#include "device/cuda/cuda_library.h"

namespace ebb::device {

class CudaDevice;

// Memory of one kind, freed with its owner. Move-only; an empty one has no data. The device
// outlives it. What it holds is undefined at first.
template <bool kOnHost>
class CudaMemory {
 public:
  CudaMemory() = default;
  ~CudaMemory();
  CudaMemory(CudaMemory&& other) noexcept { *this = std::move(other); }
  CudaMemory& operator=(CudaMemory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  template <typename T>
  T* As() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  friend class CudaDevice;
  CudaMemory(const CudaDevice* device, uint8_t* data, int64_t bytes)
      : device_(device), data_(data), bytes_(bytes) {}

  const CudaDevice* device_ = nullptr;
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
};

// In device memory, aligned to 256.
using CudaBuffer = CudaMemory<false>;
// In pinned host memory: copies from and to it do not block. Aligned to 256.
using CudaHostBuffer = CudaMemory<true>;

// Thread-safe. Frees the context with itself: everything made on it is gone by then.
class CudaDevice {
 public:
  // Opens device `index` and loads every kernel; takes seconds. NOT_FOUND when there is no such
  // device, FAILED_PRECONDITION when it lacks what Ebb needs. The library outlives it.
  static absl::StatusOr<std::unique_ptr<CudaDevice>> Open(const CudaLibrary* library,
                                                          int32_t index);
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  // What is queued from now on uses what compute capability 9.0 alone has; without effect
  // elsewhere.
  void UseHopper() const { api_->use_hopper(context_, 1); }

  const EbbCudaApi& api() const { return *api_; }
  EbbCudaContext* context() const { return context_; }
  const EbbCudaDeviceInfo& info() const { return info_; }

  // The calling thread's last answer of the library as a status (cuda_status.h), and notes a loss.
  absl::Status Check(int32_t code, absl::string_view what) const;

  // Whether the device was lost, and the first answer that said so; OK before.
  bool lost() const { return lost_.load(std::memory_order_acquire); }
  absl::Status loss() const;

  // RESOURCE_EXHAUSTED when there is too little. REQUIRES: bytes > 0.
  absl::StatusOr<CudaBuffer> Alloc(int64_t bytes) const;
  absl::StatusOr<CudaHostBuffer> AllocHost(int64_t bytes) const;
  // Bytes that the device could still give, as of now.
  absl::StatusOr<int64_t> FreeBytes() const;

 private:
  CudaDevice(const EbbCudaApi* api, EbbCudaContext* context, const EbbCudaDeviceInfo& info)
      : api_(api), context_(context), info_(info) {}

  const EbbCudaApi* const api_;
  EbbCudaContext* const context_;
  const EbbCudaDeviceInfo info_;
  mutable std::atomic<bool> lost_ = false;
  mutable base::Mutex mutex_;
  mutable absl::Status loss_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb::device

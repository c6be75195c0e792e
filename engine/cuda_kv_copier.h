// CudaKvCopier: keeps keys and values of a CUDA device in pinned host memory, copied on a stream
// that nothing else uses.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "device/cuda/cuda_device.h"
#include "device/launch_gate.h"
#include "engine/kv_copier.h"
#include "kernels/paged_kv.h"

namespace ebb::engine {

class CudaKvCopier final : public KvCopier {
 public:
  // What the device says when there is no stream. Copies pass the gate, or it is null. The device
  // and the gate outlive it.
  static absl::StatusOr<std::unique_ptr<CudaKvCopier>> Create(const device::CudaDevice* device,
                                                              device::LaunchGate* gate,
                                                              const kernels::PagedKv& kv);
  ~CudaKvCopier() override;
  CudaKvCopier(const CudaKvCopier&) = delete;
  CudaKvCopier& operator=(const CudaKvCopier&) = delete;

  absl::Status AddChunk(int32_t chunk, int64_t bytes) override;
  void DropChunk(int32_t chunk) override { chunks_.erase(chunk); }
  absl::Status CopyOut(absl::Span<const SlotCopy> copies) override;
  absl::Status CopyIn(absl::Span<const SlotCopy> copies) override;
  const CopierTraits& traits() const override { return traits_; }

 private:
  CudaKvCopier(const device::CudaDevice* device, device::LaunchGate* gate, EbbCudaStream* stream,
               const kernels::PagedKv& kv);
  absl::Status Copy(absl::Span<const SlotCopy> copies, bool out);
  absl::Status Queue(absl::Span<const SlotCopy> copies, bool out);

  const device::CudaDevice* const device_;
  device::LaunchGate* const gate_;
  EbbCudaStream* const stream_;
  const kernels::PagedKv kv_;
  const int64_t slot_bytes_;
  const CopierTraits traits_;
  std::map<int32_t, device::CudaHostBuffer> chunks_;
};

}  // namespace ebb::engine

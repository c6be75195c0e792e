#include "engine/cuda_kv_copier.h"

#include <utility>

#include "base/status_macros.h"

namespace ebb::engine {
namespace {

constexpr double kPriorBytesPerSecond = 1e10;

}  // namespace

absl::StatusOr<std::unique_ptr<CudaKvCopier>> CudaKvCopier::Create(const device::CudaDevice* device,
                                                                   device::LaunchGate* gate,
                                                                   const kernels::PagedKv& kv) {
  EbbCudaStream* stream = nullptr;
  RETURN_IF_ERROR(device->Check(device->api().stream_create(device->context(), 0, &stream),
                                "making a stream for swapping"));
  return std::unique_ptr<CudaKvCopier>(new CudaKvCopier(device, gate, stream, kv));
}

CudaKvCopier::CudaKvCopier(const device::CudaDevice* device, device::LaunchGate* gate,
                           EbbCudaStream* stream, const kernels::PagedKv& kv)
    : device_(device),
      gate_(gate),
      stream_(stream),
      kv_(kv),
      slot_bytes_(kv.layers * kv.layer_block_bytes),
      traits_(UsualTraits(slot_bytes_, kPriorBytesPerSecond)) {}

CudaKvCopier::~CudaKvCopier() { device_->api().stream_destroy(stream_); }

absl::Status CudaKvCopier::AddChunk(int32_t chunk, int64_t bytes) {
  ASSIGN_OR_RETURN(device::CudaHostBuffer buffer, device_->AllocHost(bytes));
  chunks_.emplace(chunk, std::move(buffer));
  return absl::OkStatus();
}

absl::Status CudaKvCopier::CopyOut(absl::Span<const SlotCopy> copies) { return Copy(copies, true); }

absl::Status CudaKvCopier::CopyIn(absl::Span<const SlotCopy> copies) { return Copy(copies, false); }

absl::Status CudaKvCopier::Copy(absl::Span<const SlotCopy> copies, bool out) {
  if (gate_ != nullptr) gate_->BeginLaunch();
  const absl::Status queued = Queue(copies, out);
  // Also after a failure: what was queued still uses the blocks.
  absl::Status done = device_->Check(device_->api().stream_synchronize(stream_), "swapping");
  if (gate_ != nullptr) gate_->EndLaunch();
  RETURN_IF_ERROR(queued);
  return done;
}

absl::Status CudaKvCopier::Queue(absl::Span<const SlotCopy> copies, bool out) {
  const EbbCudaApi& api = device_->api();
  for (const SlotCopy& copy : copies) {
    const int32_t chunk = copy.slot / traits_.chunk_slots;
    uint8_t* host = chunks_.at(chunk).data() + copy.slot % traits_.chunk_slots * slot_bytes_;
    for (int32_t layer = 0; layer < kv_.layers; ++layer, host += kv_.layer_block_bytes) {
      uint8_t* const part = kv_.Keys(layer, copy.block);
      const int32_t code = out ? api.copy_to_host(stream_, host, part, kv_.layer_block_bytes)
                               : api.copy_to_device(stream_, part, host, kv_.layer_block_bytes);
      RETURN_IF_ERROR(device_->Check(code, "swapping a block"));
    }
  }
  return absl::OkStatus();
}

}  // namespace ebb::engine

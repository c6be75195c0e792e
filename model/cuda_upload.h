// CudaUpload: brings weights from the host into a device's memory, converted on the way.
//
//   source bytes --convert--> pinned buffer A --copy--> device
//                 --convert--> pinned buffer B --copy--> device      while A is copied
//
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "device/cuda/cuda_device.h"
#include "device/cuda/cuda_stream.h"
#include "kernels/dtype.h"
#include "model/weight_source.h"

namespace ebb::model {

// One thread at a time. Waits, when it goes, for what is still being copied. The device outlives
// it.
class CudaUpload {
 public:
  // `buffer_bytes` is the size of each of the two buffers, a multiple of 64 and no less than a
  // block of any format that is copied takes in bf16.
  static absl::StatusOr<std::unique_ptr<CudaUpload>> Create(device::CudaDevice* device,
                                                            int64_t buffer_bytes = int64_t{16}
                                                                                   << 20);
  CudaUpload(const CudaUpload&) = delete;
  CudaUpload& operator=(const CudaUpload&) = delete;

  // Each queues; what it is given is read before it returns.
  //
  // Numbers of any format, rounded to bf16. INVALID_ARGUMENT when one of them is not finite then.
  absl::Status CopyAsBf16(kernels::DType dtype, absl::Span<const uint8_t> bytes, uint8_t* to);
  absl::Status CopyFloats(absl::Span<const float> numbers, uint8_t* to);
  // `count` numbers of bf16, made by the device.
  absl::Status FillRandom(const RandomFill& fill, int64_t count, uint8_t* to);

  // Returns when everything has arrived.
  absl::Status Finish();

 private:
  struct Buffer {
    device::CudaHostBuffer memory;
    device::Ticket copied = 0;
  };

  CudaUpload(device::CudaDevice* device, int64_t buffer_bytes);
  // Launches work that answers as the library does.
  absl::Status Launch(absl::string_view what, const std::function<int32_t(EbbCudaStream*)>& work);
  // Fills the next buffer's first `bytes` by `fill` and queues their copy.
  absl::Status Piece(int64_t bytes, const std::function<absl::Status(uint8_t*)>& fill, uint8_t* to);

  device::CudaDevice* const device_;
  const int64_t buffer_bytes_;
  std::array<Buffer, 2> buffers_;
  size_t next_ = 0;
  std::vector<float> floats_;  // What is being converted.
  // Must be the last member: its work reads the buffers.
  std::unique_ptr<device::CudaStream> stream_;
};

}  // namespace ebb::model

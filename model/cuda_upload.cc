#include "model/cuda_upload.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/dequantize.h"

namespace ebb::model {
namespace {

// Numbers converted at once, whole blocks of every format: their floats stay in the processor's
// first cache.
constexpr int64_t kStretch = 4096;

bool IsFiniteBf16(uint16_t bits) { return (bits & 0x7F80) != 0x7F80; }

}  // namespace

CudaUpload::CudaUpload(device::CudaDevice* device, int64_t buffer_bytes)
    : device_(device), buffer_bytes_(buffer_bytes), floats_(kStretch) {}

absl::StatusOr<std::unique_ptr<CudaUpload>> CudaUpload::Create(device::CudaDevice* device,
                                                               int64_t buffer_bytes) {
  CHECK(buffer_bytes > 0 && buffer_bytes % 64 == 0);
  std::unique_ptr<CudaUpload> self(new CudaUpload(device, buffer_bytes));
  for (Buffer& buffer : self->buffers_) {
    ASSIGN_OR_RETURN(buffer.memory, device->AllocHost(buffer_bytes));
  }
  ASSIGN_OR_RETURN(self->stream_, device::CudaStream::Create(device, {}));
  return self;
}

absl::Status CudaUpload::Launch(absl::string_view what,
                                const std::function<int32_t(EbbCudaStream*)>& work) {
  absl::Status status;
  stream_->Launch([&] { status = device_->Check(work(stream_->native()), what); });
  return status;
}

absl::Status CudaUpload::Piece(int64_t bytes, const std::function<absl::Status(uint8_t*)>& fill,
                               uint8_t* to) {
  Buffer& buffer = buffers_[next_];
  next_ = (next_ + 1) % buffers_.size();
  stream_->Wait(buffer.copied);
  RETURN_IF_ERROR(fill(buffer.memory.data()));
  const absl::Status status = Launch("copying weights", [&](EbbCudaStream* stream) {
    return device_->api().copy_to_device(stream, to, buffer.memory.data(), bytes);
  });
  buffer.copied = stream_->submitted();
  return status;
}

absl::Status CudaUpload::CopyAsBf16(kernels::DType dtype, absl::Span<const uint8_t> bytes,
                                    uint8_t* to) {
  const kernels::DTypeTraits traits = kernels::TraitsOf(dtype);
  const auto bytes_of = [&](int64_t elements) {
    return static_cast<size_t>(elements / traits.block_elements * traits.block_bytes);
  };
  const int64_t count = static_cast<int64_t>(bytes.size()) / traits.block_bytes *
                        static_cast<int64_t>(traits.block_elements);
  const int64_t blocks_at_once =
      buffer_bytes_ / static_cast<int64_t>(sizeof(uint16_t)) / traits.block_elements;
  CHECK_GT(blocks_at_once, 0);
  const int64_t piece = blocks_at_once * traits.block_elements;
  for (int64_t begin = 0; begin < count; begin += piece) {
    const int64_t piece_count = std::min(piece, count - begin);
    const auto convert = [&](uint8_t* buffer) -> absl::Status {
      auto* const out = reinterpret_cast<uint16_t*>(buffer);
      for (int64_t i = 0; i < piece_count; i += kStretch) {
        const int64_t n = std::min(kStretch, piece_count - i);
        const auto part = bytes.subspan(bytes_of(begin + i), bytes_of(n));
        kernels::Dequantize(dtype, part, absl::MakeSpan(floats_).first(static_cast<size_t>(n)));
        bool finite = true;
        for (int64_t j = 0; j < n; ++j) {
          out[i + j] = kernels::FloatToBf16(floats_[static_cast<size_t>(j)]);
          finite &= IsFiniteBf16(out[i + j]);
        }
        if (finite) continue;
        int64_t at = 0;
        while (IsFiniteBf16(out[i + at])) ++at;
        return absl::InvalidArgumentError(
            absl::StrCat("number ", begin + i + at, " is not finite in bf16"));
      }
      return absl::OkStatus();
    };
    RETURN_IF_ERROR(Piece(piece_count * static_cast<int64_t>(sizeof(uint16_t)), convert,
                          to + begin * static_cast<int64_t>(sizeof(uint16_t))));
  }
  return absl::OkStatus();
}

absl::Status CudaUpload::CopyFloats(absl::Span<const float> numbers, uint8_t* to) {
  const auto* const from = reinterpret_cast<const uint8_t*>(numbers.data());
  const int64_t bytes = static_cast<int64_t>(numbers.size() * sizeof(float));
  for (int64_t begin = 0; begin < bytes; begin += buffer_bytes_) {
    const int64_t piece_bytes = std::min(buffer_bytes_, bytes - begin);
    const auto copy = [&](uint8_t* buffer) {
      std::memcpy(buffer, from + begin, static_cast<size_t>(piece_bytes));
      return absl::OkStatus();
    };
    RETURN_IF_ERROR(Piece(piece_bytes, copy, to + begin));
  }
  return absl::OkStatus();
}

absl::Status CudaUpload::FillRandom(const RandomFill& fill, int64_t count, uint8_t* to) {
  EbbCudaFillRandom op = {};
  op.out = reinterpret_cast<uint16_t*>(to);
  op.count = count;
  op.first_index = fill.first_index;
  op.seed = fill.seed;
  op.scale = fill.scale;
  return Launch("making random weights",
                [&](EbbCudaStream* stream) { return device_->api().fill_random(stream, &op); });
}

absl::Status CudaUpload::Finish() {
  stream_->Wait(stream_->submitted());
  return stream_->status();
}

}  // namespace ebb::model

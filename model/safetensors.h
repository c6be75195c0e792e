// SafetensorsFile: the table of tensors of a safetensors file, checked.
//
//   length of the header      8 bytes, little-endian
//   header                    JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ...}
//   data                      each tensor at (end of the header + begin)
//
// The file is data from a stranger, as gguf.h says of its kind: sizes are compared with the bytes
// that are there before anything is allocated for them. Once Open has succeeded, all tensors lie
// inside the file, apart from each other, and have the bytes that their shapes ask for.
//
// Format: the README of huggingface/safetensors. Errors read as load_error.h says.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/dtype.h"
#include "model/byte_source.h"
#include "model/json_document.h"

namespace ebb::model {

// Bounds on what a header may hold. The largest models in use have some thousand tensors a file.
struct SafetensorsLimits {
  uint64_t header_bytes_max = uint64_t{16} << 20;
  uint32_t tensor_count_max = 65536;
};

struct SafetensorsTensor {
  std::string name;
  kernels::DType dtype = kernels::DType::kF32;  // F32, F16 or BF16.
  std::vector<int64_t> shape;                   // The outermost dimension first; may be empty.
  uint64_t offset = 0;                          // From the start of the file.
  uint64_t bytes = 0;
};

// Immutable, so thread-safe.
class SafetensorsFile {
 public:
  static absl::StatusOr<std::unique_ptr<const SafetensorsFile>> Open(
      const std::string& path, const SafetensorsLimits& limits = {});
  // The same over any source of bytes.
  static absl::StatusOr<std::unique_ptr<const SafetensorsFile>> Read(
      std::unique_ptr<ByteSource> source, const SafetensorsLimits& limits = {});

  const std::string& name() const { return source_->name(); }
  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }
  // Null when there is none of that name.
  const SafetensorsTensor* FindTensor(absl::string_view tensor_name) const;
  // Bytes behind the last tensor, which nothing explains.
  uint64_t trailing_bytes() const { return trailing_bytes_; }

  // The tensor's bytes. DATA_LOSS when reading fails. REQUIRES: it is one of tensors().
  absl::StatusOr<std::vector<uint8_t>> ReadTensor(const SafetensorsTensor& tensor) const;

 private:
  SafetensorsFile() = default;
  absl::Status Error(absl::string_view reason, absl::string_view message) const;
  absl::Status ReadHeader(const SafetensorsLimits& limits);
  absl::Status AddTensor(const std::string& tensor_name, JsonValue entry);
  absl::Status ParseDType(JsonValue entry, SafetensorsTensor* tensor) const;
  absl::Status ParseShape(JsonValue entry, SafetensorsTensor* tensor) const;
  absl::Status ParseOffsets(JsonValue entry, SafetensorsTensor* tensor) const;
  absl::Status CheckOverlap();

  std::unique_ptr<ByteSource> source_;
  uint64_t data_begin_ = 0;
  std::vector<SafetensorsTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> tensor_index_;
  uint64_t trailing_bytes_ = 0;
};

}  // namespace ebb::model

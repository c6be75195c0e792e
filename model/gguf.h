// GgufFile: the metadata and the table of tensors of a GGUF file, checked.
//
//   "GGUF" version  tensor_count  metadata_count        24 bytes, little-endian
//   metadata_count x { key, type, value }
//   tensor_count   x { name, dims, type, offset }
//   padding to general.alignment
//   tensor data: each tensor at (start of data + offset), aligned
//
// The file is data from a stranger. Every size is compared with the bytes that are left before
// anything is allocated for it, sizes are computed in base::Checked, and the numbers of keys,
// strings, tensors and metadata bytes are bounded, so that a refused file costs less than 64 MiB.
// Once Open has succeeded, all tensors lie inside the file, apart from each other.
//
// Format: GGUF versions 2 and 3 (ggml's docs/gguf.md). Errors read as load_error.h says:
// INVALID_ARGUMENT for a malformed file, UNIMPLEMENTED for a valid one that Ebb cannot run,
// DATA_LOSS when reading fails.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/dtype.h"
#include "model/byte_source.h"

namespace ebb::model {

// Bounds on what a header may hold. Models in use stay far below: 128k tokens and 280k merges of a
// Llama 3 vocabulary make 0.4 M strings and 8 MiB.
struct GgufLimits {
  uint64_t metadata_bytes_max = uint64_t{32} << 20;
  uint64_t key_count_max = 16384;
  uint64_t string_count_max = 2'000'000;  // Over all arrays.
  uint64_t tensor_count_max = 65536;
};

// The type ids of metadata values in the file.
enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// Many strings in two allocations. Immutable once read.
class GgufStrings {
 public:
  size_t size() const { return ends_.size(); }
  // REQUIRES: index < size().
  absl::string_view operator[](size_t index) const {
    const size_t begin = index == 0 ? 0 : ends_[index - 1];
    return absl::string_view(bytes_).substr(begin, ends_[index] - begin);
  }

 private:
  friend class GgufParser;
  std::string bytes_;
  std::vector<uint32_t> ends_;  // metadata_bytes_max keeps these in 32 bits.
};

struct GgufTensor {
  std::string name;
  kernels::DType dtype = kernels::DType::kF32;
  int32_t dim_count = 0;                       // 1 to 4.
  std::array<int64_t, 4> dims = {1, 1, 1, 1};  // dims[0] is the row length (the columns).
  uint64_t offset = 0;                         // From the start of the file.
  uint64_t bytes = 0;
};

// Immutable, so thread-safe. Views that it returns live as long as it does.
class GgufFile {
 public:
  static absl::StatusOr<std::unique_ptr<GgufFile>> Open(const std::string& path,
                                                        const GgufLimits& limits = {});
  // The same over any source of bytes.
  static absl::StatusOr<std::unique_ptr<GgufFile>> Read(std::unique_ptr<ByteSource> source,
                                                        const GgufLimits& limits = {});

  const std::string& name() const { return source_->name(); }
  uint32_t version() const { return version_; }
  // What is odd about the file but no reason to refuse it; one sentence each.
  const std::vector<std::string>& warnings() const { return warnings_; }

  bool Has(absl::string_view key) const { return values_.contains(key); }
  // All keys of the metadata, sorted.
  std::vector<absl::string_view> Keys() const;

  // Each getter answers NOT_FOUND (reason=missing_key) when the key is absent and INVALID_ARGUMENT
  // (reason=type) when the value has another type or does not fit; both name the key.
  absl::StatusOr<absl::string_view> GetString(absl::string_view key) const;
  absl::StatusOr<bool> GetBool(absl::string_view key) const;
  // Any integer type in the file, as long as the value fits.
  absl::StatusOr<uint32_t> GetUint32(absl::string_view key) const;
  absl::StatusOr<uint64_t> GetUint64(absl::string_view key) const;
  // float32, or a float64 that a float can hold (rounded). May be NaN or infinite.
  absl::StatusOr<float> GetFloat(absl::string_view key) const;
  absl::StatusOr<const GgufStrings*> GetStringArray(absl::string_view key) const;
  // The file's elements must be 4-byte integers (int32, or uint32 that fit).
  absl::StatusOr<std::vector<int32_t>> GetInt32Array(absl::string_view key) const;
  // The file's elements must be float32.
  absl::StatusOr<std::vector<float>> GetFloatArray(absl::string_view key) const;

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // Null when there is none of that name.
  const GgufTensor* FindTensor(absl::string_view tensor_name) const;
  // The tensor's bytes. NOT_FOUND when there is none; DATA_LOSS when reading fails.
  absl::StatusOr<std::vector<uint8_t>> ReadTensor(absl::string_view tensor_name) const;

  // An error about this file in the form of load_error.h.
  absl::Status Error(absl::StatusCode code, absl::string_view reason,
                     absl::string_view message) const;

 private:
  friend class GgufParser;

  struct Value {
    GgufType type = GgufType::kUint8;
    GgufType element_type = GgufType::kUint8;  // Of an array.
    uint64_t bits = 0;                         // A scalar's bytes, zero-extended.
    std::string text;                          // A string.
    std::vector<uint8_t> elements;             // An array of numbers, as in the file.
    GgufStrings strings;                       // An array of strings.
  };

  GgufFile() = default;
  absl::StatusOr<const Value*> Find(absl::string_view key) const;
  absl::StatusOr<const Value*> FindTyped(absl::string_view key, GgufType type) const;
  absl::StatusOr<const Value*> FindArray(absl::string_view key) const;
  absl::Status TypeError(absl::string_view key, absl::string_view wanted, const Value& value) const;

  std::unique_ptr<ByteSource> source_;
  uint32_t version_ = 0;
  absl::flat_hash_map<std::string, Value> values_;
  std::vector<GgufTensor> tensors_;
  absl::flat_hash_map<std::string, size_t> tensor_index_;
  std::vector<std::string> warnings_;
};

}  // namespace ebb::model

// GgufParser: fills a GgufFile from its bytes. Internal to gguf.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/gguf.h"

namespace ebb::model {

// "uint32", "array"; "?" for an id that is none.
absl::string_view GgufTypeName(GgufType type);
// Bytes of a scalar of `type`; 0 for strings, arrays and ids that are none.
uint64_t GgufScalarBytes(GgufType type);

// Reads a file's header front to back through a small buffer.
class GgufCursor {
 public:
  GgufCursor(const ByteSource* source, uint64_t header_bytes_max)
      : source_(source), header_bytes_max_(header_bytes_max) {}

  uint64_t offset() const { return offset_; }
  uint64_t left() const { return source_->size() - offset_; }

  // Fills `out`. `what` names it in the error (reason=truncated, or limit).
  absl::Status Read(absl::Span<uint8_t> out, absl::string_view what);
  absl::Status ReadUint32(uint32_t* out, absl::string_view what);
  absl::Status ReadUint64(uint64_t* out, absl::string_view what);
  // A length and that many bytes, appended to `out`. reason=length when they are not in the file.
  absl::Status AppendString(std::string* out, absl::string_view what);

  // INVALID_ARGUMENT at the cursor's place.
  absl::Status Error(absl::string_view reason, absl::string_view message) const;

 private:
  absl::Status Refill();

  const ByteSource* const source_;
  const uint64_t header_bytes_max_;
  uint64_t offset_ = 0;
  std::vector<uint8_t> buffer_;
  size_t buffer_begin_ = 0;  // Unread bytes of buffer_ start here.
};

// Used once, by one thread.
class GgufParser {
 public:
  GgufParser(GgufFile* file, const GgufLimits& limits);
  absl::Status Parse();

 private:
  using Value = GgufFile::Value;

  absl::Status ParsePreamble();
  absl::Status ParseMetadata();
  absl::Status ParseKey(std::string* key);
  absl::Status ParseValue(absl::string_view key, Value* value);
  absl::Status ParseScalar(absl::string_view key, Value* value);
  absl::Status ParseArray(absl::string_view key, Value* value);
  absl::Status ParseStrings(absl::string_view key, uint64_t count, GgufStrings* strings);
  absl::Status ParseAlignment();
  absl::Status ParseTensors();
  absl::Status ParseTensor(GgufTensor* tensor);
  absl::Status ParseDims(GgufTensor* tensor);
  absl::Status ParseDType(GgufTensor* tensor);
  absl::Status SizeTensor(GgufTensor* tensor);
  absl::Status PlaceTensors();
  absl::Status CheckOverlap();

  GgufFile* const file_;
  const GgufLimits limits_;
  GgufCursor cursor_;
  uint64_t tensor_count_ = 0;
  uint64_t key_count_ = 0;
  uint64_t string_count_ = 0;
  uint64_t alignment_ = 32;
};

}  // namespace ebb::model

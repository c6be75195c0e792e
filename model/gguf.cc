#include "model/gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/gguf_parser.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

bool IsSignedInteger(GgufType type) {
  return type == GgufType::kInt8 || type == GgufType::kInt16 || type == GgufType::kInt32 ||
         type == GgufType::kInt64;
}

bool IsUnsignedInteger(GgufType type) {
  return type == GgufType::kUint8 || type == GgufType::kUint16 || type == GgufType::kUint32 ||
         type == GgufType::kUint64;
}

// The value of a signed scalar of `type` whose bytes were zero-extended into `bits`.
int64_t SignExtend(uint64_t bits, GgufType type) {
  const int unused_bits = 64 - 8 * static_cast<int>(GgufScalarBytes(type));
  return static_cast<int64_t>(bits << unused_bits) >> unused_bits;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Open(const std::string& path,
                                                         const GgufLimits& limits) {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenFile(path));
  return Read(std::move(source), limits);
}

absl::StatusOr<std::unique_ptr<GgufFile>> GgufFile::Read(std::unique_ptr<ByteSource> source,
                                                         const GgufLimits& limits) {
  auto file = std::unique_ptr<GgufFile>(new GgufFile);
  file->source_ = std::move(source);
  RETURN_IF_ERROR(GgufParser(file.get(), limits).Parse());
  return file;
}

absl::Status GgufFile::Error(absl::StatusCode code, absl::string_view reason,
                             absl::string_view message) const {
  return LoadError(code, name(), reason, kNoOffset, message);
}

std::vector<absl::string_view> GgufFile::Keys() const {
  std::vector<absl::string_view> keys;
  keys.reserve(values_.size());
  for (const auto& [key, value] : values_) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

absl::StatusOr<const GgufFile::Value*> GgufFile::Find(absl::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) {
    return Error(absl::StatusCode::kNotFound, "missing_key",
                 absl::StrCat("metadata key ", Printable(key),
                              " is missing. Convert the model again with a current converter."));
  }
  return &found->second;
}

absl::Status GgufFile::TypeError(absl::string_view key, absl::string_view wanted,
                                 const Value& value) const {
  std::string is(GgufTypeName(value.type));
  if (value.type == GgufType::kArray)
    absl::StrAppend(&is, " of ", GgufTypeName(value.element_type));
  return Error(absl::StatusCode::kInvalidArgument, "type",
               absl::StrCat("metadata key ", Printable(key), " must be ", wanted, " but is ", is,
                            ". Convert the model again with a current converter."));
}

absl::StatusOr<const GgufFile::Value*> GgufFile::FindTyped(absl::string_view key,
                                                           GgufType type) const {
  ASSIGN_OR_RETURN(const Value* value, Find(key));
  if (value->type != type) return TypeError(key, GgufTypeName(type), *value);
  return value;
}

absl::StatusOr<absl::string_view> GgufFile::GetString(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, FindTyped(key, GgufType::kString));
  return absl::string_view(value->text);
}

absl::StatusOr<bool> GgufFile::GetBool(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, FindTyped(key, GgufType::kBool));
  return value->bits != 0;
}

absl::StatusOr<uint64_t> GgufFile::GetUint64(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, Find(key));
  if (IsUnsignedInteger(value->type)) return value->bits;
  if (!IsSignedInteger(value->type)) return TypeError(key, "an integer", *value);
  const int64_t number = SignExtend(value->bits, value->type);
  if (number < 0) {
    return Error(absl::StatusCode::kInvalidArgument, "type",
                 absl::StrCat("metadata key ", Printable(key), " is ", number,
                              " but must not be negative. Convert the model again."));
  }
  return static_cast<uint64_t>(number);
}

absl::StatusOr<uint32_t> GgufFile::GetUint32(absl::string_view key) const {
  ASSIGN_OR_RETURN(const uint64_t number, GetUint64(key));
  if (number > std::numeric_limits<uint32_t>::max()) {
    return Error(absl::StatusCode::kInvalidArgument, "type",
                 absl::StrCat("metadata key ", Printable(key), " is ", number,
                              " but must be below 2^32. Convert the model again."));
  }
  return static_cast<uint32_t>(number);
}

absl::StatusOr<float> GgufFile::GetFloat(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, Find(key));
  if (value->type == GgufType::kFloat32) {
    float number;
    std::memcpy(&number, &value->bits, sizeof(number));
    return number;
  }
  if (value->type != GgufType::kFloat64) return TypeError(key, "float32", *value);
  double number;
  std::memcpy(&number, &value->bits, sizeof(number));
  if (std::isfinite(number) && std::abs(number) > std::numeric_limits<float>::max()) {
    return Error(absl::StatusCode::kInvalidArgument, "type",
                 absl::StrCat("metadata key ", Printable(key), " is ", number,
                              ", more than a float32 holds. Convert the model again."));
  }
  return static_cast<float>(number);
}

absl::StatusOr<const GgufFile::Value*> GgufFile::FindArray(absl::string_view key) const {
  return FindTyped(key, GgufType::kArray);
}

absl::StatusOr<const GgufStrings*> GgufFile::GetStringArray(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, FindArray(key));
  if (value->element_type != GgufType::kString) return TypeError(key, "array of string", *value);
  return &value->strings;
}

absl::StatusOr<std::vector<int32_t>> GgufFile::GetInt32Array(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, FindArray(key));
  const bool is_unsigned = value->element_type == GgufType::kUint32;
  if (value->element_type != GgufType::kInt32 && !is_unsigned) {
    return TypeError(key, "array of int32", *value);
  }
  std::vector<int32_t> numbers(value->elements.size() / sizeof(int32_t));
  if (!numbers.empty()) {
    std::memcpy(numbers.data(), value->elements.data(), value->elements.size());
  }
  if (!is_unsigned) return numbers;
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (numbers[i] < 0) {
      return Error(absl::StatusCode::kInvalidArgument, "type",
                   absl::StrCat("element ", i, " of metadata key ", Printable(key),
                                " is 2^31 or more. Convert the model again."));
    }
  }
  return numbers;
}

absl::StatusOr<std::vector<float>> GgufFile::GetFloatArray(absl::string_view key) const {
  ASSIGN_OR_RETURN(const Value* value, FindArray(key));
  if (value->element_type != GgufType::kFloat32) return TypeError(key, "array of float32", *value);
  std::vector<float> numbers(value->elements.size() / sizeof(float));
  if (!numbers.empty()) {
    std::memcpy(numbers.data(), value->elements.data(), value->elements.size());
  }
  return numbers;
}

const GgufTensor* GgufFile::FindTensor(absl::string_view tensor_name) const {
  const auto found = tensor_index_.find(tensor_name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

absl::StatusOr<std::vector<uint8_t>> GgufFile::ReadTensor(absl::string_view tensor_name) const {
  const GgufTensor* tensor = FindTensor(tensor_name);
  if (tensor == nullptr) {
    return Error(absl::StatusCode::kNotFound, "missing",
                 absl::StrCat("there is no tensor ", Printable(tensor_name), "."));
  }
  std::vector<uint8_t> bytes(tensor->bytes);
  RETURN_IF_ERROR(source_->ReadAt(tensor->offset, absl::MakeSpan(bytes)));
  return bytes;
}

}  // namespace ebb::model

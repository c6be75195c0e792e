#include "model/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/checked.h"
#include "base/status_macros.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

using base::Checked;

static_assert(std::endian::native == std::endian::little,
              "numbers are copied as the file has them");

constexpr uint64_t kLengthBytes = 8;
constexpr size_t kTensorNameBytesMax = 256;
constexpr uint32_t kDimensionsMax = 8;
constexpr absl::string_view kMetadataKey = "__metadata__";
constexpr absl::string_view kDamaged = " The file is damaged or cut off: fetch it again.";

// What the format has besides the three that are read.
constexpr absl::string_view kOtherDTypes[] = {
    "BOOL", "U8",  "I8",  "F8_E5M2", "F8_E4M3", "F8_E8M0", "F4",  "F6_E2M3", "F6_E3M2",
    "I16",  "U16", "I32", "U32",     "I64",     "U64",     "F64", "C64"};

bool IsPlainName(absl::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

}  // namespace

absl::StatusOr<std::unique_ptr<const SafetensorsFile>> SafetensorsFile::Open(
    const std::string& path, const SafetensorsLimits& limits) {
  ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenFile(path));
  return Read(std::move(source), limits);
}

absl::StatusOr<std::unique_ptr<const SafetensorsFile>> SafetensorsFile::Read(
    std::unique_ptr<ByteSource> source, const SafetensorsLimits& limits) {
  auto file = std::unique_ptr<SafetensorsFile>(new SafetensorsFile);
  file->source_ = std::move(source);
  RETURN_IF_ERROR(file->ReadHeader(limits));
  RETURN_IF_ERROR(file->CheckOverlap());
  return file;
}

absl::Status SafetensorsFile::Error(absl::string_view reason, absl::string_view message) const {
  return LoadError(absl::StatusCode::kInvalidArgument, name(), reason, kNoOffset, message);
}

absl::Status SafetensorsFile::ReadHeader(const SafetensorsLimits& limits) {
  const uint64_t file_bytes = source_->size();
  if (file_bytes < kLengthBytes) {
    return Error("not_a_model",
                 absl::StrCat("the file has only ", file_bytes, " bytes.", kDamaged));
  }
  uint64_t header_bytes = 0;
  RETURN_IF_ERROR(
      source_->ReadAt(0, absl::MakeSpan(reinterpret_cast<uint8_t*>(&header_bytes), kLengthBytes)));
  if (header_bytes > file_bytes - kLengthBytes) {
    return Error("length",
                 absl::StrCat("its header says it is ", header_bytes, " bytes long, but only ",
                              file_bytes - kLengthBytes, " bytes of the file are left.", kDamaged));
  }
  if (header_bytes > limits.header_bytes_max) {
    return Error("limit", absl::StrCat("its header is ", header_bytes, " bytes long; at most ",
                                       limits.header_bytes_max, " are read."));
  }
  std::string header(static_cast<size_t>(header_bytes), '\0');
  RETURN_IF_ERROR(source_->ReadAt(
      kLengthBytes, absl::MakeSpan(reinterpret_cast<uint8_t*>(header.data()), header.size())));
  data_begin_ = kLengthBytes + header_bytes;
  JsonLimits json_limits;
  // A tensor takes its key, an object, six keys and values, and its numbers.
  json_limits.value_count_max = limits.tensor_count_max * 20;
  ASSIGN_OR_RETURN(const std::unique_ptr<const JsonDocument> json,
                   JsonDocument::Parse(name(), header, json_limits, kLengthBytes));
  if (!json->root().IsObject()) {
    return Error("type", absl::StrCat("its header is ", json->root().TypeName(), ", not an object.",
                                      kDamaged));
  }
  if (json->root().size() > limits.tensor_count_max) {
    return Error("limit", absl::StrCat("it holds ", json->root().size(), " tensors; at most ",
                                       limits.tensor_count_max, " are read."));
  }
  tensors_.reserve(json->root().size());
  return json->root().ForEachMember([&](absl::string_view key, JsonValue value) {
    return key == kMetadataKey ? absl::OkStatus() : AddTensor(std::string(key), value);
  });
}

absl::Status SafetensorsFile::AddTensor(const std::string& tensor_name, JsonValue entry) {
  if (tensor_name.empty() || tensor_name.size() > kTensorNameBytesMax ||
      !IsPlainName(tensor_name)) {
    return Error(
        "name", absl::StrCat("\"", Printable(tensor_name), "\" is no tensor name: it must be 1 to ",
                             kTensorNameBytesMax, " printable ASCII characters.", kDamaged));
  }
  SafetensorsTensor tensor;
  tensor.name = tensor_name;
  if (!entry.IsObject()) {
    return Error("type", absl::StrCat("the entry of tensor ", tensor_name, " is ", entry.TypeName(),
                                      ", not an object.", kDamaged));
  }
  RETURN_IF_ERROR(ParseDType(entry, &tensor));
  RETURN_IF_ERROR(ParseShape(entry, &tensor));
  RETURN_IF_ERROR(ParseOffsets(entry, &tensor));
  tensor_index_.emplace(tensor.name, tensors_.size());
  tensors_.push_back(std::move(tensor));
  return absl::OkStatus();
}

absl::Status SafetensorsFile::ParseDType(JsonValue entry, SafetensorsTensor* tensor) const {
  const std::optional<JsonValue> value = entry.Find("dtype");
  if (!value.has_value() || !value->IsString()) {
    return Error("type", absl::StrCat("tensor ", tensor->name, " has no dtype.", kDamaged));
  }
  const absl::string_view dtype = *value->String();
  for (const kernels::DType known :
       {kernels::DType::kF32, kernels::DType::kF16, kernels::DType::kBF16}) {
    if (dtype == kernels::TraitsOf(known).name) {
      tensor->dtype = known;
      return absl::OkStatus();
    }
  }
  if (std::find(std::begin(kOtherDTypes), std::end(kOtherDTypes), dtype) ==
      std::end(kOtherDTypes)) {
    return Error("type", absl::StrCat("tensor ", tensor->name, " has dtype ", Printable(dtype),
                                      ", which does not exist.", kDamaged));
  }
  return LoadError(absl::StatusCode::kUnimplemented, name(), "unsupported", kNoOffset,
                   absl::StrCat("tensor ", tensor->name, " has dtype ", dtype,
                                "; F32, F16 and BF16 are supported. Save the model in one of "
                                "these."));
}

absl::Status SafetensorsFile::ParseShape(JsonValue entry, SafetensorsTensor* tensor) const {
  const std::optional<JsonValue> value = entry.Find("shape");
  if (!value.has_value() || !value->IsArray() || value->size() > kDimensionsMax) {
    return Error("ndims", absl::StrCat("tensor ", tensor->name, " has no shape of at most ",
                                       kDimensionsMax, " dimensions.", kDamaged));
  }
  Checked bytes(static_cast<uint64_t>(kernels::TraitsOf(tensor->dtype).block_bytes));
  RETURN_IF_ERROR(value->ForEachElement([&](JsonValue element) {
    const std::optional<int64_t> dim = element.Int64();
    if (!dim.has_value() || *dim <= 0) {
      return Error("dim", absl::StrCat("a dimension of tensor ", tensor->name,
                                       " is no number from 1 to 2^63 - 1.", kDamaged));
    }
    tensor->shape.push_back(*dim);
    bytes = bytes * static_cast<uint64_t>(*dim);
    return absl::OkStatus();
  }));
  if (!bytes.AtMost(std::numeric_limits<int64_t>::max())) {
    return Error("overflow", absl::StrCat("tensor ", tensor->name,
                                          " is larger than any file can be.", kDamaged));
  }
  tensor->bytes = bytes.value();
  return absl::OkStatus();
}

absl::Status SafetensorsFile::ParseOffsets(JsonValue entry, SafetensorsTensor* tensor) const {
  const std::optional<JsonValue> value = entry.Find("data_offsets");
  std::vector<int64_t> offsets;
  if (value.has_value() && value->IsArray() && value->size() == 2) {
    RETURN_IF_ERROR(value->ForEachElement([&](JsonValue element) {
      offsets.push_back(element.Int64().value_or(-1));
      return absl::OkStatus();
    }));
  }
  if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0]) {
    return Error("offset",
                 absl::StrCat("tensor ", tensor->name, " has no begin and end.", kDamaged));
  }
  const auto begin = static_cast<uint64_t>(offsets[0]);
  const auto end = static_cast<uint64_t>(offsets[1]);
  if (end - begin != tensor->bytes) {
    return Error("offset",
                 absl::StrCat("tensor ", tensor->name, " has ", end - begin,
                              " bytes, but its shape asks for ", tensor->bytes, ".", kDamaged));
  }
  if (end > source_->size() - data_begin_) {
    return Error("offset", absl::StrCat("tensor ", tensor->name, " ends at byte ", end,
                                        " of the data, which has only ",
                                        source_->size() - data_begin_, ".", kDamaged));
  }
  tensor->offset = data_begin_ + begin;
  return absl::OkStatus();
}

absl::Status SafetensorsFile::CheckOverlap() {
  std::vector<const SafetensorsTensor*> by_offset;
  by_offset.reserve(tensors_.size());
  for (const SafetensorsTensor& tensor : tensors_) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(),
            [](const auto* a, const auto* b) { return a->offset < b->offset; });
  uint64_t end = data_begin_;
  for (size_t i = 0; i < by_offset.size(); ++i) {
    if (by_offset[i]->offset < end) {
      return Error("offset", absl::StrCat("tensors ", by_offset[i - 1]->name, " and ",
                                          by_offset[i]->name, " overlap.", kDamaged));
    }
    end = by_offset[i]->offset + by_offset[i]->bytes;
  }
  trailing_bytes_ = source_->size() - end;
  return absl::OkStatus();
}

const SafetensorsTensor* SafetensorsFile::FindTensor(absl::string_view tensor_name) const {
  const auto found = tensor_index_.find(tensor_name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

absl::StatusOr<std::vector<uint8_t>> SafetensorsFile::ReadTensor(
    const SafetensorsTensor& tensor) const {
  std::vector<uint8_t> bytes(tensor.bytes);
  RETURN_IF_ERROR(source_->ReadAt(tensor.offset, absl::MakeSpan(bytes)));
  return bytes;
}

}  // namespace ebb::model

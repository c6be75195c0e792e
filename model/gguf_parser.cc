#include "model/gguf_parser.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/checked.h"
#include "base/status_macros.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

using base::Checked;

static_assert(std::endian::native == std::endian::little,
              "numbers are copied as the file has them");

constexpr size_t kBufferBytes = 64 << 10;
constexpr size_t kKeyBytesMax = 256;
constexpr size_t kTensorNameBytesMax = 63;  // ggml's own limit.
constexpr uint64_t kPreambleBytes = 24;
// The least bytes that an entry takes: a length, one character, and the rest.
constexpr uint64_t kKeyEntryBytesMin = 8 + 1 + 4 + 1;
constexpr uint64_t kTensorEntryBytesMin = 8 + 1 + 4 + 8 + 4 + 8;
constexpr uint64_t kAlignmentMin = 8;
constexpr uint64_t kAlignmentMax = 65536;
constexpr absl::string_view kDamaged = " The file is damaged or cut off: fetch it again.";

// ggml's tensor types by id; an empty name is an id that never was or was removed.
constexpr absl::string_view kTensorTypeNames[] = {
    "F32",     "F16",   "Q4_0",   "Q4_1",  "",      "",       "Q5_0", "Q5_1",    "Q8_0",
    "Q8_1",    "Q2_K",  "Q3_K",   "Q4_K",  "Q5_K",  "Q6_K",   "Q8_K", "IQ2_XXS", "IQ2_XS",
    "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",   "I16",     "I32",
    "I64",     "F64",   "IQ1_M",  "BF16",  "",      "",       "",     "TQ1_0",   "TQ2_0",
    "",        "",      "",       "MXFP4", "NVFP4", "Q1_0",   "Q2_0"};

std::optional<kernels::DType> DTypeOfId(uint32_t id) {
  switch (id) {
    case 0:
      return kernels::DType::kF32;
    case 1:
      return kernels::DType::kF16;
    case 2:
      return kernels::DType::kQ4_0;
    case 3:
      return kernels::DType::kQ4_1;
    case 6:
      return kernels::DType::kQ5_0;
    case 7:
      return kernels::DType::kQ5_1;
    case 8:
      return kernels::DType::kQ8_0;
    case 12:
      return kernels::DType::kQ4_K;
    case 13:
      return kernels::DType::kQ5_K;
    case 14:
      return kernels::DType::kQ6_K;
    case 30:
      return kernels::DType::kBF16;
    default:
      return std::nullopt;
  }
}

// Keys and names are compared, logged and shown: letters, digits and punctuation only.
bool IsPlainName(absl::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

// What a file that is no GGUF file looks like, for the one who mixed files up.
std::string Resemblance(absl::string_view head) {
  if (absl::StartsWith(head, "FUGG")) return "a big-endian GGUF file; convert it to little-endian";
  if (absl::StartsWith(head, "GGML") || absl::StartsWith(head, "lmgg") ||
      absl::StartsWith(head, "tjgg") || absl::StartsWith(head, "fmgg")) {
    return "a GGML file from before GGUF; convert the original model again";
  }
  if (absl::StartsWith(head, "PK")) return "a zip archive (a wheel, or PyTorch weights); unpack it";
  if (absl::StartsWith(head, "\x80\x02") || absl::StartsWith(head, "\x80\x03") ||
      absl::StartsWith(head, "\x80\x04")) {
    return "a Python pickle, which is never loaded; convert the model to GGUF";
  }
  if (head.size() >= 9 && head[8] == '{') return "a safetensors file; name its directory";
  if (absl::StartsWith(head, "version https://git-lfs")) {
    return "a Git LFS pointer; fetch the file itself with git lfs pull";
  }
  if (absl::StartsWith(head, "<")) return "a web page; the download went wrong";
  return "something else; name a GGUF file";
}

}  // namespace

absl::string_view GgufTypeName(GgufType type) {
  constexpr absl::string_view kNames[] = {"uint8",  "int8",    "uint16", "int16",  "uint32",
                                          "int32",  "float32", "bool",   "string", "array",
                                          "uint64", "int64",   "float64"};
  const auto id = static_cast<uint32_t>(type);
  return id < std::size(kNames) ? kNames[id] : "?";
}

uint64_t GgufScalarBytes(GgufType type) {
  constexpr uint8_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  const auto id = static_cast<uint32_t>(type);
  return id < std::size(kBytes) ? kBytes[id] : 0;
}

// ---- GgufCursor

absl::Status GgufCursor::Error(absl::string_view reason, absl::string_view message) const {
  return LoadError(absl::StatusCode::kInvalidArgument, source_->name(), reason,
                   static_cast<int64_t>(offset_), message);
}

absl::Status GgufCursor::Refill() {
  buffer_.resize(static_cast<size_t>(std::min<uint64_t>(kBufferBytes, left())));
  buffer_begin_ = 0;
  return source_->ReadAt(offset_, absl::MakeSpan(buffer_));
}

absl::Status GgufCursor::Read(absl::Span<uint8_t> out, absl::string_view what) {
  if (out.size() > left()) {
    return Error("truncated", absl::StrCat("the file ends inside ", what, ".", kDamaged));
  }
  if (!Checked(offset_ + out.size()).AtMost(header_bytes_max_)) {
    return Error("limit", absl::StrCat("metadata takes more than ", header_bytes_max_,
                                       " bytes. Strip it with gguf-py, or use another file."));
  }
  while (!out.empty()) {
    if (buffer_begin_ == buffer_.size()) RETURN_IF_ERROR(Refill());
    const size_t count = std::min(out.size(), buffer_.size() - buffer_begin_);
    std::memcpy(out.data(), buffer_.data() + buffer_begin_, count);
    buffer_begin_ += count;
    offset_ += count;
    out.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status GgufCursor::ReadUint32(uint32_t* out, absl::string_view what) {
  return Read(absl::MakeSpan(reinterpret_cast<uint8_t*>(out), sizeof(*out)), what);
}

absl::Status GgufCursor::ReadUint64(uint64_t* out, absl::string_view what) {
  return Read(absl::MakeSpan(reinterpret_cast<uint8_t*>(out), sizeof(*out)), what);
}

absl::Status GgufCursor::AppendString(std::string* out, absl::string_view what) {
  uint64_t length = 0;
  RETURN_IF_ERROR(ReadUint64(&length, what));
  if (length > left()) {
    return Error("length", absl::StrCat(what, " says it has ", length, " bytes, but only ", left(),
                                        " are left.", kDamaged));
  }
  if (!(Checked(offset_) + length).AtMost(header_bytes_max_)) {
    return Error("limit", absl::StrCat(what, " with its ", length, " bytes goes beyond the ",
                                       header_bytes_max_, " bytes that metadata may take."));
  }
  const size_t old_size = out->size();
  out->resize(old_size + static_cast<size_t>(length));
  uint8_t* const to = reinterpret_cast<uint8_t*>(out->data()) + old_size;
  return Read(absl::MakeSpan(to, static_cast<size_t>(length)), what);
}

// ---- GgufParser

GgufParser::GgufParser(GgufFile* file, const GgufLimits& limits)
    : file_(file), limits_(limits), cursor_(file->source_.get(), limits.metadata_bytes_max) {}

absl::Status GgufParser::Parse() {
  RETURN_IF_ERROR(ParsePreamble());
  RETURN_IF_ERROR(ParseMetadata());
  RETURN_IF_ERROR(ParseAlignment());
  RETURN_IF_ERROR(ParseTensors());
  return PlaceTensors();
}

absl::Status GgufParser::ParsePreamble() {
  const uint64_t file_bytes = file_->source_->size();
  if (file_bytes < 4) {
    return cursor_.Error("not_a_model",
                         absl::StrCat("the file has only ", file_bytes, " bytes.", kDamaged));
  }
  char head[24] = {};
  const size_t head_bytes = static_cast<size_t>(std::min<uint64_t>(sizeof(head), file_bytes));
  RETURN_IF_ERROR(
      file_->source_->ReadAt(0, absl::MakeSpan(reinterpret_cast<uint8_t*>(head), head_bytes)));
  if (std::memcmp(head, "GGUF", 4) != 0) {
    return cursor_.Error("magic", absl::StrCat("it is no GGUF file; it looks like ",
                                               Resemblance({head, head_bytes}), "."));
  }
  uint32_t magic = 0;
  RETURN_IF_ERROR(cursor_.ReadUint32(&magic, "the magic"));
  RETURN_IF_ERROR(cursor_.ReadUint32(&file_->version_, "the version"));
  const uint32_t version = file_->version_;
  if (version != 0 && (version & 0xFFFF) == 0) {
    return cursor_.Error("endianness",
                         "it is a big-endian GGUF file. Convert it to little-endian.");
  }
  if (version != 2 && version != 3) {
    return cursor_.Error("version", absl::StrCat("it has GGUF version ", version,
                                                 "; versions 2 and 3 are read. Convert the model "
                                                 "with a current converter."));
  }
  RETURN_IF_ERROR(cursor_.ReadUint64(&tensor_count_, "the count of tensors"));
  RETURN_IF_ERROR(cursor_.ReadUint64(&key_count_, "the count of metadata keys"));
  const uint64_t left = file_bytes - kPreambleBytes;
  if (tensor_count_ > left / kTensorEntryBytesMin || key_count_ > left / kKeyEntryBytesMin) {
    return cursor_.Error(
        "count", absl::StrCat("it says it holds ", tensor_count_, " tensors and ", key_count_,
                              " keys, but only ", left, " bytes are left.", kDamaged));
  }
  if (tensor_count_ > limits_.tensor_count_max || key_count_ > limits_.key_count_max) {
    return cursor_.Error(
        "limit",
        absl::StrCat("it holds ", tensor_count_, " tensors and ", key_count_, " keys; at most ",
                     limits_.tensor_count_max, " and ", limits_.key_count_max, " are read."));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseMetadata() {
  file_->values_.reserve(key_count_);
  for (uint64_t i = 0; i < key_count_; ++i) {
    std::string key;
    RETURN_IF_ERROR(ParseKey(&key));
    Value value;
    RETURN_IF_ERROR(ParseValue(key, &value));
    const std::string shown = key;
    if (!file_->values_.emplace(std::move(key), std::move(value)).second) {
      return cursor_.Error("dup_key",
                           absl::StrCat("metadata key ", shown, " occurs twice.", kDamaged));
    }
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseKey(std::string* key) {
  RETURN_IF_ERROR(cursor_.AppendString(key, "a metadata key"));
  if (key->empty() || key->size() > kKeyBytesMax || !IsPlainName(*key)) {
    return cursor_.Error(
        "key", absl::StrCat("\"", Printable(*key), "\" is no metadata key: it must be 1 to ",
                            kKeyBytesMax, " printable ASCII characters.", kDamaged));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseValue(absl::string_view key, Value* value) {
  uint32_t type_id = 0;
  RETURN_IF_ERROR(cursor_.ReadUint32(&type_id, "the type of a metadata value"));
  value->type = static_cast<GgufType>(type_id);
  if (value->type == GgufType::kString) {
    return cursor_.AppendString(&value->text, absl::StrCat("the value of ", key));
  }
  if (value->type == GgufType::kArray) return ParseArray(key, value);
  return ParseScalar(key, value);
}

absl::Status GgufParser::ParseScalar(absl::string_view key, Value* value) {
  const uint64_t bytes = GgufScalarBytes(value->type);
  if (bytes == 0) {
    return cursor_.Error(
        "type", absl::StrCat("the value of ", key, " has type ", static_cast<uint32_t>(value->type),
                             ", which does not exist.", kDamaged));
  }
  RETURN_IF_ERROR(cursor_.Read(
      absl::MakeSpan(reinterpret_cast<uint8_t*>(&value->bits), static_cast<size_t>(bytes)),
      absl::StrCat("the value of ", key)));
  if (value->type == GgufType::kBool && value->bits > 1) {
    return cursor_.Error("type", absl::StrCat("the bool ", key, " is ", value->bits,
                                              ", neither 0 nor 1.", kDamaged));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseArray(absl::string_view key, Value* value) {
  uint32_t type_id = 0;
  uint64_t count = 0;
  RETURN_IF_ERROR(cursor_.ReadUint32(&type_id, "the element type of an array"));
  RETURN_IF_ERROR(cursor_.ReadUint64(&count, "the length of an array"));
  value->element_type = static_cast<GgufType>(type_id);
  const bool is_strings = value->element_type == GgufType::kString;
  // An empty string still takes its length's 8 bytes.
  const uint64_t element_bytes = is_strings ? 8 : GgufScalarBytes(value->element_type);
  if (element_bytes == 0) {
    return cursor_.Error("type", absl::StrCat("the array ", key, " has elements of type ", type_id,
                                              ", which arrays do not have.", kDamaged));
  }
  const Checked bytes = Checked(count) * element_bytes;
  if (!bytes.AtMost(cursor_.left())) {
    return cursor_.Error(
        "array", absl::StrCat("the array ", key, " says it has ", count, " elements, but only ",
                              cursor_.left(), " bytes are left.", kDamaged));
  }
  if (!(bytes + cursor_.offset()).AtMost(limits_.metadata_bytes_max)) {
    return cursor_.Error(
        "limit", absl::StrCat("the array ", key, " with its ", count, " elements goes beyond the ",
                              limits_.metadata_bytes_max, " bytes that metadata may take."));
  }
  if (is_strings) return ParseStrings(key, count, &value->strings);
  value->elements.resize(static_cast<size_t>(bytes.value()));
  return cursor_.Read(absl::MakeSpan(value->elements), absl::StrCat("the array ", key));
}

absl::Status GgufParser::ParseStrings(absl::string_view key, uint64_t count, GgufStrings* strings) {
  string_count_ += count;
  if (string_count_ > limits_.string_count_max) {
    return cursor_.Error(
        "limit", absl::StrCat("with the array ", key, " metadata holds ", string_count_,
                              " strings; at most ", limits_.string_count_max, " are read."));
  }
  const std::string what = absl::StrCat("a string of the array ", key);
  strings->ends_.reserve(static_cast<size_t>(count));
  for (uint64_t i = 0; i < count; ++i) {
    RETURN_IF_ERROR(cursor_.AppendString(&strings->bytes_, what));
    strings->ends_.push_back(static_cast<uint32_t>(strings->bytes_.size()));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseAlignment() {
  constexpr absl::string_view kKey = "general.alignment";
  const auto found = file_->values_.find(kKey);
  if (found == file_->values_.end()) return absl::OkStatus();
  alignment_ = found->second.bits;
  if (found->second.type != GgufType::kUint32 || !std::has_single_bit(alignment_) ||
      alignment_ < kAlignmentMin || alignment_ > kAlignmentMax) {
    return cursor_.Error(
        "alignment", absl::StrCat(kKey, " must be a uint32, a power of two from ", kAlignmentMin,
                                  " to ", kAlignmentMax, ".", kDamaged));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseTensors() {
  file_->tensors_.reserve(static_cast<size_t>(tensor_count_));
  for (uint64_t i = 0; i < tensor_count_; ++i) {
    GgufTensor tensor;
    RETURN_IF_ERROR(ParseTensor(&tensor));
    if (!file_->tensor_index_.emplace(tensor.name, file_->tensors_.size()).second) {
      return cursor_.Error(
          "name", absl::StrCat("there are two tensors named ", tensor.name, ".", kDamaged));
    }
    file_->tensors_.push_back(std::move(tensor));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseTensor(GgufTensor* tensor) {
  RETURN_IF_ERROR(cursor_.AppendString(&tensor->name, "a tensor's name"));
  if (tensor->name.empty() || tensor->name.size() > kTensorNameBytesMax ||
      !IsPlainName(tensor->name)) {
    return cursor_.Error(
        "name",
        absl::StrCat("\"", Printable(tensor->name), "\" is no tensor name: it must be 1 to ",
                     kTensorNameBytesMax, " printable ASCII characters.", kDamaged));
  }
  RETURN_IF_ERROR(ParseDims(tensor));
  RETURN_IF_ERROR(ParseDType(tensor));
  RETURN_IF_ERROR(cursor_.ReadUint64(&tensor->offset, "a tensor's offset"));
  return SizeTensor(tensor);
}

absl::Status GgufParser::ParseDims(GgufTensor* tensor) {
  uint32_t dim_count = 0;
  RETURN_IF_ERROR(cursor_.ReadUint32(&dim_count, "a tensor's number of dimensions"));
  if (dim_count < 1 || dim_count > tensor->dims.size()) {
    return cursor_.Error("ndims", absl::StrCat("tensor ", tensor->name, " has ", dim_count,
                                               " dimensions; 1 to 4 are possible.", kDamaged));
  }
  tensor->dim_count = static_cast<int32_t>(dim_count);
  for (uint32_t i = 0; i < dim_count; ++i) {
    uint64_t dim = 0;
    RETURN_IF_ERROR(cursor_.ReadUint64(&dim, "a tensor's dimension"));
    if (dim == 0 || dim > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return cursor_.Error("dim", absl::StrCat("dimension ", i, " of tensor ", tensor->name, " is ",
                                               dim, "; it must be 1 to 2^63 - 1.", kDamaged));
    }
    tensor->dims[i] = static_cast<int64_t>(dim);
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseDType(GgufTensor* tensor) {
  uint32_t id = 0;
  RETURN_IF_ERROR(cursor_.ReadUint32(&id, "a tensor's type"));
  if (const std::optional<kernels::DType> dtype = DTypeOfId(id); dtype.has_value()) {
    tensor->dtype = *dtype;
    return absl::OkStatus();
  }
  if (id >= std::size(kTensorTypeNames) || kTensorTypeNames[id].empty()) {
    return cursor_.Error("type", absl::StrCat("tensor ", tensor->name, " has type ", id,
                                              ", which does not exist.", kDamaged));
  }
  return LoadError(absl::StatusCode::kUnimplemented, file_->name(), "unsupported",
                   static_cast<int64_t>(cursor_.offset()),
                   absl::StrCat("tensor ", tensor->name, " has type ", kTensorTypeNames[id],
                                "; F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q5_1, Q5_0, Q4_K, Q4_1 and "
                                "Q4_0 are supported. Quantise the model to one of these."));
}

absl::Status GgufParser::SizeTensor(GgufTensor* tensor) {
  const kernels::DTypeTraits traits = kernels::TraitsOf(tensor->dtype);
  if (tensor->dims[0] % traits.block_elements != 0) {
    return cursor_.Error(
        "block", absl::StrCat("tensor ", tensor->name, " has rows of ", tensor->dims[0],
                              " elements, no multiple of the ", traits.block_elements, " of a ",
                              traits.name, " block.", kDamaged));
  }
  Checked elements(1);
  for (const int64_t dim : tensor->dims) elements = elements * static_cast<uint64_t>(dim);
  const uint64_t row_blocks = static_cast<uint64_t>(tensor->dims[0] / traits.block_elements);
  Checked bytes = Checked(row_blocks) * static_cast<uint64_t>(traits.block_bytes);
  for (size_t i = 1; i < tensor->dims.size(); ++i) {
    bytes = bytes * static_cast<uint64_t>(tensor->dims[i]);
  }
  if (!elements.AtMost(std::numeric_limits<int64_t>::max()) ||
      !bytes.RoundUp(alignment_).AtMost(std::numeric_limits<int64_t>::max())) {
    return cursor_.Error("overflow", absl::StrCat("tensor ", tensor->name,
                                                  " is larger than any file can be.", kDamaged));
  }
  tensor->bytes = bytes.value();
  return absl::OkStatus();
}

absl::Status GgufParser::PlaceTensors() {
  if (file_->tensors_.empty()) return absl::OkStatus();
  const uint64_t file_bytes = file_->source_->size();
  const Checked data_begin = Checked(cursor_.offset()).RoundUp(alignment_);
  Checked total(0);
  for (const GgufTensor& tensor : file_->tensors_) {
    if (tensor.offset % alignment_ != 0) {
      return cursor_.Error(
          "offset", absl::StrCat("tensor ", tensor.name, " starts at ", tensor.offset,
                                 ", no multiple of the alignment ", alignment_, ".", kDamaged));
    }
    total = total + tensor.bytes;
  }
  if (!(total + data_begin).valid()) {
    return cursor_.Error("overflow", absl::StrCat("all tensors together are larger than any file "
                                                  "can be.",
                                                  kDamaged));
  }
  if (!(total + data_begin).AtMost(file_bytes)) {
    return cursor_.Error(
        "truncated",
        absl::StrCat("the tensors take ", total.value(), " bytes from byte ", data_begin.value(),
                     " on, but the file has only ", file_bytes, ".", kDamaged));
  }
  for (GgufTensor& tensor : file_->tensors_) {
    const Checked begin = data_begin + tensor.offset;
    if (!(begin + tensor.bytes).AtMost(file_bytes)) {
      return cursor_.Error(
          "offset", absl::StrCat("tensor ", tensor.name, " (", tensor.bytes, " bytes at ",
                                 tensor.offset, ") ends behind the end of the file.", kDamaged));
    }
    tensor.offset = begin.value();
  }
  return CheckOverlap();
}

absl::Status GgufParser::CheckOverlap() {
  std::vector<const GgufTensor*> by_offset;
  by_offset.reserve(file_->tensors_.size());
  for (const GgufTensor& tensor : file_->tensors_) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    if (by_offset[i - 1]->offset + by_offset[i - 1]->bytes > by_offset[i]->offset) {
      return cursor_.Error("offset", absl::StrCat("tensors ", by_offset[i - 1]->name, " and ",
                                                  by_offset[i]->name, " overlap.", kDamaged));
    }
  }
  const Checked end = Checked(by_offset.back()->offset + by_offset.back()->bytes);
  const uint64_t file_bytes = file_->source_->size();
  if (!end.RoundUp(alignment_).valid() || end.RoundUp(alignment_).value() < file_bytes) {
    file_->warnings_.push_back(
        absl::StrCat(file_bytes - end.value(), " bytes follow the last tensor; they are ignored"));
  }
  return absl::OkStatus();
}

}  // namespace ebb::model

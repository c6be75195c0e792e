// GgufBuilder: makes GGUF files in memory, right ones and wrong ones.
//
//   GgufBuilder builder = TinyLlama();
//   builder.SetUint32("llama.block_count", 0);
//   auto file = builder.Open();
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/check.h"
#include "model/byte_source.h"
#include "model/gguf.h"
#include "model/load_error.h"

namespace ebb::model {

// Bytes in memory that can fail and shrink like a file. Counts its reads.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::string bytes) : bytes_(std::move(bytes)) {}
  // The read of this number (from 0), and all after it, fail.
  void FailFromRead(int64_t read) { failing_read_ = read; }
  int64_t reads() const { return reads_; }

  const std::string& name() const override { return name_; }
  uint64_t size() const override { return bytes_.size(); }
  absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const override {
    CHECK_LE(offset + out.size(), bytes_.size());
    if (reads_++ >= failing_read_) {
      return LoadError(absl::StatusCode::kDataLoss, name_, "io", static_cast<int64_t>(offset),
                       "the test says so");
    }
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return absl::OkStatus();
  }

 private:
  const std::string name_ = "memory.gguf";
  const std::string bytes_;
  int64_t failing_read_ = INT64_MAX;
  mutable int64_t reads_ = 0;
};

template <typename T>
std::string RawBytes(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}
inline std::string RawString(const std::string& text) {
  return RawBytes<uint64_t>(text.size()) + text;
}

struct TensorDraft {
  std::string name;
  std::vector<uint64_t> dims;
  // The file's id: 0 F32, 1 F16, 2 Q4_0, 3 Q4_1, 6 Q5_0, 7 Q5_1, 8 Q8_0, 12 Q4_K, 13 Q5_K, 14 Q6_K,
  // 30 BF16.
  uint32_t type = 0;
  std::string data;
  std::optional<uint64_t> offset;  // What the table says; where the data really is when absent.
  std::optional<uint32_t> dim_count;
};

// A value; build as often as you like.
class GgufBuilder {
 public:
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count;  // What the file says; the truth when absent.
  std::optional<uint64_t> key_count;
  uint64_t alignment = 32;  // As the data is laid out; general.alignment is set apart.
  std::string trailing;     // After the last tensor.
  std::vector<TensorDraft> tensors;
  // Key and encoded value, type id first; keys may repeat.
  std::vector<std::pair<std::string, std::string>> values;

  // Sets or replaces a key.
  void SetRaw(const std::string& key, GgufType type, const std::string& bytes) {
    const std::string encoded = RawBytes(static_cast<uint32_t>(type)) + bytes;
    for (auto& [old_key, old_value] : values) {
      if (old_key == key) {
        old_value = encoded;
        return;
      }
    }
    values.emplace_back(key, encoded);
  }
  void SetUint32(const std::string& key, uint32_t v) {
    SetRaw(key, GgufType::kUint32, RawBytes(v));
  }
  void SetInt32(const std::string& key, int32_t v) { SetRaw(key, GgufType::kInt32, RawBytes(v)); }
  void SetUint64(const std::string& key, uint64_t v) {
    SetRaw(key, GgufType::kUint64, RawBytes(v));
  }
  void SetFloat(const std::string& key, float v) { SetRaw(key, GgufType::kFloat32, RawBytes(v)); }
  void SetBool(const std::string& key, bool v) {
    SetRaw(key, GgufType::kBool, RawBytes(static_cast<uint8_t>(v)));
  }
  void SetString(const std::string& key, const std::string& v) {
    SetRaw(key, GgufType::kString, RawString(v));
  }
  void SetStringArray(const std::string& key, const std::vector<std::string>& strings) {
    std::string bytes = ArrayHead(GgufType::kString, strings.size());
    for (const std::string& one : strings) bytes += RawString(one);
    SetRaw(key, GgufType::kArray, bytes);
  }
  template <typename T>
  void SetArray(const std::string& key, GgufType element_type, const std::vector<T>& elements) {
    std::string bytes = ArrayHead(element_type, elements.size());
    for (const T& one : elements) bytes += RawBytes(one);
    SetRaw(key, GgufType::kArray, bytes);
  }
  void Erase(const std::string& key) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i].first == key) values.erase(values.begin() + static_cast<int64_t>(i--));
    }
  }
  static std::string ArrayHead(GgufType element_type, uint64_t count) {
    return RawBytes(static_cast<uint32_t>(element_type)) + RawBytes(count);
  }

  void AddTensor(TensorDraft draft) { tensors.push_back(std::move(draft)); }
  // REQUIRES: there is one.
  TensorDraft& Tensor(const std::string& name) {
    for (TensorDraft& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    CHECK(false) << "no tensor " << name;
    std::abort();
  }
  void EraseTensor(const std::string& name) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].name == name) tensors.erase(tensors.begin() + static_cast<int64_t>(i--));
    }
  }

  // Everything before the padding in front of the tensors' data.
  std::string BuildHeader() const {
    std::string out = magic + RawBytes(version) + RawBytes(tensor_count.value_or(tensors.size())) +
                      RawBytes(key_count.value_or(values.size()));
    for (const auto& [key, value] : values) out += RawString(key) + value;
    uint64_t offset = 0;
    for (const TensorDraft& tensor : tensors) {
      out += RawString(tensor.name);
      out += RawBytes(tensor.dim_count.value_or(static_cast<uint32_t>(tensor.dims.size())));
      for (const uint64_t dim : tensor.dims) out += RawBytes(dim);
      out += RawBytes(tensor.type) + RawBytes(tensor.offset.value_or(offset));
      offset += RoundUp(tensor.data.size());
    }
    return out;
  }
  std::string Build() const {
    std::string out = BuildHeader();
    for (const TensorDraft& tensor : tensors) {
      out.resize(RoundUp(out.size()));
      out += tensor.data;
    }
    return out + trailing;
  }
  absl::StatusOr<std::unique_ptr<GgufFile>> Open(const GgufLimits& limits = {}) const {
    return GgufFile::Read(std::make_unique<MemorySource>(Build()), limits);
  }

 private:
  uint64_t RoundUp(uint64_t bytes) const { return (bytes + alignment - 1) / alignment * alignment; }
};

// An F32 tensor, every element `value`.
inline TensorDraft FloatTensor(const std::string& name, const std::vector<uint64_t>& dims,
                               float value) {
  TensorDraft draft;
  draft.name = name;
  draft.dims = dims;
  uint64_t count = 1;
  for (const uint64_t dim : dims) count *= dim;
  for (uint64_t i = 0; i < count; ++i) draft.data += RawBytes(value);
  return draft;
}

// A complete model: 2 layers, width 32, 2 heads of 16 over 1 key head, ffn 64, 8 tokens.
inline GgufBuilder TinyLlama() {
  GgufBuilder builder;
  builder.SetString("general.architecture", "llama");
  builder.SetUint32("llama.block_count", 2);
  builder.SetUint32("llama.context_length", 64);
  builder.SetUint32("llama.embedding_length", 32);
  builder.SetUint32("llama.feed_forward_length", 64);
  builder.SetUint32("llama.attention.head_count", 2);
  builder.SetUint32("llama.attention.head_count_kv", 1);
  builder.SetUint32("llama.rope.dimension_count", 16);
  builder.SetFloat("llama.rope.freq_base", 10000.0f);
  builder.SetFloat("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  builder.SetUint32("llama.vocab_size", 8);
  builder.SetStringArray("tokenizer.ggml.tokens", {"a", "b", "c", "d", "e", "f", "ab", "<eos>"});
  builder.SetArray<int32_t>("tokenizer.ggml.token_type", GgufType::kInt32,
                            {1, 1, 1, 1, 1, 1, 1, 3});
  builder.SetUint32("tokenizer.ggml.eos_token_id", 7);
  builder.AddTensor(FloatTensor("token_embd.weight", {32, 8}, 0.5f));
  builder.AddTensor(FloatTensor("output_norm.weight", {32}, 1.0f));
  for (const char* layer : {"blk.0.", "blk.1."}) {
    const auto add = [&](const char* part, const std::vector<uint64_t>& dims) {
      builder.AddTensor(FloatTensor(std::string(layer) + part + ".weight", dims, 0.25f));
    };
    add("attn_norm", {32});
    add("attn_q", {32, 32});
    add("attn_k", {32, 16});
    add("attn_v", {32, 16});
    add("attn_output", {32, 32});
    add("ffn_norm", {32});
    add("ffn_gate", {32, 64});
    add("ffn_up", {32, 64});
    add("ffn_down", {64, 32});
  }
  return builder;
}

}  // namespace ebb::model

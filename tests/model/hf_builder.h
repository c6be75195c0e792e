// Hugging Face directories made to order: a good one, of which a test spoils one thing.
//
//   HfBuilder builder = TinyHf();
//   builder.config["num_hidden_layers"] = 0;
//   const std::string directory = builder.Write();
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "gtest/gtest.h"
#include "model/random_model.h"
#include "model/tokenizer_hf_write.h"

namespace ebb::model {

using Json = nlohmann::ordered_json;

struct HfTensorDraft {
  std::string name;
  std::string dtype = "F32";
  std::vector<int64_t> shape;
  std::string data;
  // Instead of what follows from the data and the tensors before.
  std::optional<Json> entry;
};

// Bytes as a safetensors file has them.
inline std::string SafetensorsBytes(const std::vector<HfTensorDraft>& tensors) {
  Json header = Json::object();
  header["__metadata__"] = {{"format", "pt"}};
  int64_t begin = 0;
  std::string data;
  for (const HfTensorDraft& tensor : tensors) {
    const int64_t end = begin + static_cast<int64_t>(tensor.data.size());
    header[tensor.name] = tensor.entry.value_or(
        Json{{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}});
    begin = end;
    data += tensor.data;
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text + data;
}

inline HfTensorDraft FloatsDraft(const std::string& name, const std::vector<int64_t>& shape,
                                 float value) {
  HfTensorDraft draft;
  draft.name = name;
  draft.shape = shape;
  size_t count = 1;
  for (const int64_t dim : shape) count *= static_cast<size_t>(dim);
  const std::vector<float> numbers(count, value);
  draft.data.assign(reinterpret_cast<const char*>(numbers.data()), count * sizeof(float));
  return draft;
}

struct HfBuilder {
  Json config;
  Json tokenizer;
  std::vector<HfTensorDraft> tensors;
  // Written last, in place of what the rest makes; nullopt: no such file.
  std::map<std::string, std::optional<std::string>> files;

  HfTensorDraft& Tensor(const std::string& name) {
    for (HfTensorDraft& tensor : tensors) {
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

  // Writes all files into a new directory and gives its path.
  std::string Write() const {
    std::map<std::string, std::optional<std::string>> all = {
        {"config.json", config.dump()},
        {"tokenizer.json", tokenizer.dump()},
        {"model.safetensors", SafetensorsBytes(tensors)}};
    for (const auto& [name, text] : files) all[name] = text;
    std::string directory = testing::TempDir() + "/hf_XXXXXX";
    CHECK(mkdtemp(directory.data()) != nullptr) << directory;
    for (const auto& [name, text] : all) {
      if (text.has_value()) std::ofstream(directory + "/" + name, std::ios::binary) << *text;
    }
    return directory;
  }
};

constexpr int32_t kTinyHfVocab = 259;

// Two layers of a llama with two heads of 16 over one key head.
inline HfBuilder TinyHf() {
  HfBuilder builder;
  builder.config = {{"architectures", {"LlamaForCausalLM"}},
                    {"hidden_size", 32},
                    {"intermediate_size", 64},
                    {"num_hidden_layers", 2},
                    {"num_attention_heads", 2},
                    {"num_key_value_heads", 1},
                    {"max_position_embeddings", 64},
                    {"vocab_size", kTinyHfVocab},
                    {"rms_norm_eps", 1e-5},
                    {"rope_theta", 10000.0},
                    {"tie_word_embeddings", true}};
  const auto text = TokenizerJsonText(ByteTokenizerData("test", "gpt2", kTinyHfVocab));
  CHECK_OK(text.status());
  builder.tokenizer = Json::parse(*text);
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    builder.tensors.push_back(FloatsDraft(name, shape, 0.25f));
  };
  add("model.embed_tokens.weight", {kTinyHfVocab, 32});
  add("model.norm.weight", {32});
  for (const std::string& layer :
       {std::string("model.layers.0."), std::string("model.layers.1.")}) {
    add(layer + "input_layernorm.weight", {32});
    add(layer + "self_attn.q_proj.weight", {32, 32});
    add(layer + "self_attn.k_proj.weight", {16, 32});
    add(layer + "self_attn.v_proj.weight", {16, 32});
    add(layer + "self_attn.o_proj.weight", {32, 32});
    add(layer + "post_attention_layernorm.weight", {32});
    add(layer + "mlp.gate_proj.weight", {64, 32});
    add(layer + "mlp.up_proj.weight", {64, 32});
    add(layer + "mlp.down_proj.weight", {32, 64});
  }
  return builder;
}

}  // namespace ebb::model

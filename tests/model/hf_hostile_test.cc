// Hugging Face directories that are damaged, contradict themselves, or mean harm:
// docs/hostile-inputs.md, "Hugging Face directories".

#include <functional>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "kernels/reference/reference_backend.h"
#include "model/llama.h"
#include "model/load_error.h"
#include "model/open_model.h"
#include "tests/model/hf_builder.h"
#include "tests/model/seed.h"

namespace ebb::model {
namespace {

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kUnimplemented = absl::StatusCode::kUnimplemented;
constexpr absl::StatusCode kNotFound = absl::StatusCode::kNotFound;

absl::Status LoadStatus(const HfBuilder& builder) {
  const auto opened = OpenModel(builder.Write());
  if (!opened.ok()) return opened.status();
  const auto backend = kernels::MakeReferenceBackend();
  return LlamaModel::Load(*opened->weights, backend.get()).status();
}

// Spoils one thing of a good directory and expects a refusal, which says `needle`, too.
void ExpectRefused(const std::function<void(HfBuilder*)>& spoil, const std::string& reason,
                   absl::StatusCode code = kInvalid, const std::string& needle = "") {
  HfBuilder builder = TinyHf();
  spoil(&builder);
  const absl::Status status = LoadStatus(builder);
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_EQ(LoadErrorReason(status), reason) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), needle)) << status;
  EXPECT_LT(status.message().size(), 900u);
}

TEST(HfHostileTest, TheUndamagedModelLoads) {
  EXPECT_TRUE(LoadStatus(TinyHf()).ok()) << LoadStatus(TinyHf());
}

// ---- Files

TEST(HfHostileTest, MissingFiles) {
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    ExpectRefused([&](HfBuilder* b) { b->files[name] = std::nullopt; }, "not_found", kNotFound,
                  name);
  }
  EXPECT_EQ(LoadErrorReason(OpenModel("/nowhere/model.safetensors").status()), "not_a_model");
}

TEST(HfHostileTest, EmptyAndOversizedFiles) {
  for (const char* name : {"config.json", "tokenizer.json", "generation_config.json"}) {
    ExpectRefused([&](HfBuilder* b) { b->files[name] = ""; }, "json", kInvalid, name);
    ExpectRefused([&](HfBuilder* b) { b->files[name] = "[]"; }, "type", kInvalid, name);
  }
  ExpectRefused([](HfBuilder* b) { b->files["config.json"] = std::string(2 << 20, ' '); }, "limit");
  ExpectRefused([](HfBuilder* b) { b->files["chat_template.jinja"] = std::string(2 << 20, ' '); },
                "limit");
}

// ---- JSON

TEST(HfHostileTest, DeepNesting) {
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json"}) {
    ExpectRefused([&](HfBuilder* b) { b->files[name] = std::string(200'000, '['); }, "depth");
    ExpectRefused(
        [&](HfBuilder* b) {
          std::string text;
          for (int i = 0; i < 100'000; ++i) text += "{\"a\":";
          b->files[name] = text;
        },
        "depth");
  }
}

TEST(HfHostileTest, KeysThatOccurTwice) {
  ExpectRefused(
      [](HfBuilder* b) {
        std::string text = b->config.dump();
        text.pop_back();
        b->files["config.json"] = text + ",\"hidden_size\":64}";
      },
      "dup_key", kInvalid, "hidden_size");
}

TEST(HfHostileTest, TextThatIsNoJson) {
  const std::vector<std::string> bad = {"{",
                                        "{\"a\":1,}",
                                        "{\"a\":NaN}",
                                        "{\"a\":Infinity}",
                                        "{\"a\":1e999}",
                                        "{\"a\":\"\xff\"}",
                                        "{\"a\":01}",
                                        "{} {}",
                                        std::string("{}\0", 3),
                                        "{\"a\":\"\n\"}"};
  for (const std::string& text : bad) {
    ExpectRefused([&](HfBuilder* b) { b->files["config.json"] = text; }, "json");
  }
}

TEST(HfHostileTest, MoreValuesThanTheLimit) {
  ExpectRefused(
      [](HfBuilder* b) {
        std::string text = "[";
        for (int i = 0; i < 3'100'000; ++i) text += "0,";
        b->files["tokenizer.json"] = text + "0]";
      },
      "limit");
}

// ---- config.json

TEST(HfHostileTest, Architectures) {
  for (const char* name : {"GemmaForCausalLM", "", "LlamaForSequenceClassification"}) {
    ExpectRefused([&](HfBuilder* b) { b->config["architectures"] = {name}; }, "arch",
                  kUnimplemented);
  }
  ExpectRefused([](HfBuilder* b) { b->config.erase("architectures"); }, "arch", kUnimplemented);
  ExpectRefused([](HfBuilder* b) { b->config["architectures"] = {1}; }, "type");
  ExpectRefused([](HfBuilder* b) { b->config["architectures"] = "LlamaForCausalLM"; }, "type");
  ExpectRefused([](HfBuilder* b) { b->config["hidden_act"] = "gelu"; }, "unsupported",
                kUnimplemented);
  ExpectRefused(
      [](HfBuilder* b) {
        b->config["quantization_config"] = {{"quant_method", "awq"}};
      },
      "unsupported", kUnimplemented);
}

TEST(HfHostileTest, CountsOutOfRange) {
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "vocab_size", "max_position_embeddings", "head_dim"}) {
    for (const Json& bad : {Json(0), Json(-1), Json(1.5), Json(int64_t{1} << 40), Json(1e300),
                            Json(uint64_t{1} << 63)}) {
      ExpectRefused([&](HfBuilder* b) { b->config[key] = bad; }, "hparams", kInvalid, key);
    }
    for (const Json& bad : {Json("32"), Json(true), Json::array(), Json::object()}) {
      ExpectRefused([&](HfBuilder* b) { b->config[key] = bad; }, "type", kInvalid, key);
    }
  }
  for (const char* key : {"hidden_size", "num_hidden_layers", "vocab_size"}) {
    ExpectRefused([&](HfBuilder* b) { b->config.erase(key); }, "missing_key", kNotFound, key);
    ExpectRefused([&](HfBuilder* b) { b->config[key] = nullptr; }, "missing_key", kNotFound, key);
  }
  ExpectRefused([](HfBuilder* b) { b->config["num_key_value_heads"] = 3; }, "hparams");
  ExpectRefused([](HfBuilder* b) { b->config["num_attention_heads"] = 5; }, "hparams");
  ExpectRefused([](HfBuilder* b) { b->config["head_dim"] = 15; }, "hparams");
}

TEST(HfHostileTest, NumbersOutOfRange) {
  for (const Json& bad : {Json(0), Json(-1.0), Json(1e300)}) {
    ExpectRefused([&](HfBuilder* b) { b->config["rope_theta"] = bad; }, "hparams");
    ExpectRefused([&](HfBuilder* b) { b->config["rms_norm_eps"] = bad; }, "hparams");
    ExpectRefused(
        [&](HfBuilder* b) {
          b->config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", bad}};
        },
        "hparams");
  }
}

TEST(HfHostileTest, RopeScalings) {
  for (const char* type : {"yarn", "dynamic", "longrope", "proportional", ""}) {
    for (const char* key : {"rope_scaling", "rope_parameters"}) {
      ExpectRefused(
          [&](HfBuilder* b) {
            b->config[key] = {{"rope_type", type}, {"factor", 2.0}};
          },
          "unsupported", kUnimplemented);
    }
  }
  ExpectRefused([](HfBuilder* b) { b->config["rope_scaling"] = {{"type", "linear"}}; }, "hparams");
  ExpectRefused([](HfBuilder* b) { b->config["rope_scaling"] = 2; }, "type");
  ExpectRefused(
      [](HfBuilder* b) {
        b->config["rope_parameters"] = {{"full_attention", {{"rope_theta", 1e6}}}};
      },
      "unsupported", kUnimplemented);
  ExpectRefused([](HfBuilder* b) { b->config["partial_rotary_factor"] = 0.5; }, "unsupported",
                kUnimplemented);
  ExpectRefused(
      [](HfBuilder* b) {
        b->config["rope_scaling"] = {{"rope_type", "llama3"},
                                     {"factor", 8.0},
                                     {"low_freq_factor", 4.0},
                                     {"high_freq_factor", 4.0}};
      },
      "hparams");
}

TEST(HfHostileTest, SlidingWindows) {
  const auto mistral = [](HfBuilder* b) { b->config["architectures"] = {"MistralForCausalLM"}; };
  ExpectRefused(
      [&](HfBuilder* b) {
        mistral(b);
        b->config["sliding_window"] = 16;
      },
      "unsupported", kUnimplemented);
  ExpectRefused(
      [&](HfBuilder* b) {  // 4096 where the file does not say.
        mistral(b);
        b->config["max_position_embeddings"] = 8192;
      },
      "unsupported", kUnimplemented);
  HfBuilder without = TinyHf();
  mistral(&without);
  without.config["max_position_embeddings"] = 8192;
  without.config["sliding_window"] = nullptr;
  EXPECT_TRUE(LoadStatus(without).ok()) << LoadStatus(without);
  ExpectRefused(
      [](HfBuilder* b) {
        b->config["layer_types"] = {"full_attention", "sliding_attention"};
      },
      "unsupported", kUnimplemented);
  ExpectRefused(
      [](HfBuilder* b) {
        b->config["use_sliding_window"] = true;
        b->config["sliding_window"] = 16;
        b->config["max_window_layers"] = 1;
      },
      "unsupported", kUnimplemented);
}

// ---- Safetensors

TEST(HfHostileTest, HeaderLengths) {
  for (const uint64_t length :
       {std::numeric_limits<uint64_t>::max(), uint64_t{1} << 63, uint64_t{1} << 40}) {
    ExpectRefused(
        [&](HfBuilder* b) {
          std::string bytes = SafetensorsBytes(b->tensors);
          std::memcpy(bytes.data(), &length, sizeof(length));
          b->files["model.safetensors"] = bytes;
        },
        "length");
  }
  ExpectRefused([](HfBuilder* b) { b->files["model.safetensors"] = "1234567"; }, "not_a_model");
  ExpectRefused([](HfBuilder* b) { b->files["model.safetensors"] = std::string(8, '\0'); }, "json");
  ExpectRefused(
      [](HfBuilder* b) {  // One byte more than the file has.
        std::string bytes = SafetensorsBytes(b->tensors);
        const uint64_t length = bytes.size() - 7;
        std::memcpy(bytes.data(), &length, sizeof(length));
        b->files["model.safetensors"] = bytes;
      },
      "length");
  ExpectRefused(
      [](HfBuilder* b) {
        const uint64_t length = 17 << 20;
        std::string bytes(sizeof(length) + length, ' ');
        std::memcpy(bytes.data(), &length, sizeof(length));
        b->files["model.safetensors"] = bytes;
      },
      "limit");
}

void ExpectHeaderRefused(const std::string& header, const std::string& reason) {
  ExpectRefused(
      [&](HfBuilder* b) {
        const uint64_t length = header.size();
        b->files["model.safetensors"] =
            std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header +
            std::string(64, '\0');
      },
      reason);
}

TEST(HfHostileTest, Headers) {
  ExpectHeaderRefused("[]", "type");
  ExpectHeaderRefused("{\"a\":1}", "type");
  ExpectHeaderRefused(std::string(200'000, '['), "depth");
  const std::string good = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  ExpectHeaderRefused("{\"a\":" + good + ",\"a\":" + good + "}", "dup_key");
  ExpectHeaderRefused("{\"\":" + good + "}", "name");
  ExpectHeaderRefused("{\"a b\":" + good + "}", "name");
  ExpectHeaderRefused("{\"" + std::string(257, 'a') + "\":" + good + "}", "name");
}

void ExpectEntryRefused(const Json& entry, const std::string& reason,
                        absl::StatusCode code = kInvalid) {
  ExpectRefused([&](HfBuilder* b) { b->Tensor("model.norm.weight").entry = entry; }, reason, code);
}

Json Entry(const Json& dtype, const Json& shape, const Json& offsets) {
  return {{"dtype", dtype}, {"shape", shape}, {"data_offsets", offsets}};
}

TEST(HfHostileTest, TensorEntries) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  ExpectEntryRefused(Entry("F32", {32}, {0, 129}), "offset");
  ExpectEntryRefused(Entry("F32", {32}, {128, 0}), "offset");
  ExpectEntryRefused(Entry("F32", {32}, {-1, 127}), "offset");
  ExpectEntryRefused(Entry("F32", {32}, {kMax - 127, kMax}), "offset");
  ExpectEntryRefused(Entry("F32", {32}, {1e18, 1e18}), "offset");
  ExpectEntryRefused(Entry("F32", {32}, {0}), "offset");
  ExpectEntryRefused(Entry("F32", {32}, nullptr), "offset");
  ExpectEntryRefused(Entry("F32", {32}, {0, 128}), "offset");  // Over the embedding.
  ExpectEntryRefused(Entry("F32", {0}, {0, 0}), "dim");
  ExpectEntryRefused(Entry("F32", {-32}, {0, 128}), "dim");
  ExpectEntryRefused(Entry("F32", {32.5}, {0, 128}), "dim");
  ExpectEntryRefused(Entry("F32", 32, {0, 128}), "ndims");
  ExpectEntryRefused(Entry("F32", std::vector<int>(9, 1), {0, 4}), "ndims");
  ExpectEntryRefused(Entry("F32", {int64_t{1} << 40, int64_t{1} << 40}, {0, 0}), "overflow");
  ExpectEntryRefused(Entry("F32", {kMax, 4}, {0, 0}), "overflow");
  ExpectEntryRefused(Entry("F99", {32}, {0, 128}), "type");
  ExpectEntryRefused(Entry(32, {32}, {0, 128}), "type");
  for (const char* dtype : {"I64", "F8_E4M3", "U8", "F64", "BOOL"}) {
    ExpectEntryRefused(Entry(dtype, {32}, {0, 128}), "unsupported", kUnimplemented);
  }
}

TEST(HfHostileTest, CutAnywhere) {
  const HfBuilder good = TinyHf();
  const std::string bytes = SafetensorsBytes(good.tensors);
  for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 60) {
    HfBuilder cut = good;
    cut.files["model.safetensors"] = bytes.substr(0, size);
    EXPECT_EQ(LoadStatus(cut).code(), kInvalid) << size;
  }
}

TEST(HfHostileTest, TrailingBytesAreAWarning) {
  HfBuilder builder = TinyHf();
  builder.files["model.safetensors"] = SafetensorsBytes(builder.tensors) + "xyz";
  const auto opened = OpenModel(builder.Write());
  ASSERT_TRUE(opened.ok()) << opened.status();
  ASSERT_EQ(opened->warnings.size(), 1u);
  EXPECT_TRUE(absl::StartsWith(opened->warnings[0], "3 bytes"));
}

// ---- Tensors against config.json

TEST(HfHostileTest, EveryTensorMustBeThereInItsShape) {
  for (const HfTensorDraft& tensor : TinyHf().tensors) {
    ExpectRefused([&](HfBuilder* b) { b->EraseTensor(tensor.name); }, "missing", kInvalid,
                  tensor.name);
    ExpectRefused(
        [&](HfBuilder* b) {
          HfTensorDraft& wider = b->Tensor(tensor.name);
          wider.shape.back() *= 2;
          wider.data += wider.data;
        },
        "shape", kInvalid, tensor.name);
  }
  ExpectRefused([](HfBuilder* b) { b->config["tie_word_embeddings"] = false; }, "missing", kInvalid,
                "lm_head.weight");
  ExpectRefused([](HfBuilder* b) { b->Tensor("model.norm.weight").shape = {1, 32}; }, "shape");
}

TEST(HfHostileTest, TensorsTooMany) {
  const auto with = [](const std::string& name) {
    return [name](HfBuilder* b) { b->tensors.push_back(FloatsDraft(name, {32}, 1)); };
  };
  ExpectRefused(with("model.layers.2.mlp.down_proj.weight"), "extra");
  ExpectRefused(with("surprise"), "extra");
  for (const char* name :
       {"model.layers.0.self_attn.o_proj.bias", "model.layers.0.self_attn.q_proj.bias",
        "model.layers.0.mlp.experts.0.up_proj.weight"}) {
    ExpectRefused(with(name), "unsupported", kUnimplemented, name);
  }
  // What changes nothing.
  HfBuilder harmless = TinyHf();
  with("model.layers.0.self_attn.rotary_emb.inv_freq")(&harmless);
  with("lm_head.weight")(&harmless);
  EXPECT_TRUE(LoadStatus(harmless).ok()) << LoadStatus(harmless);
}

TEST(HfHostileTest, NumbersThatAreNotFinite) {
  for (const uint32_t bits : {0x7FC00000u, 0x7F800000u, 0xFF800000u}) {
    for (const char* name : {"model.norm.weight", "model.layers.1.mlp.up_proj.weight"}) {
      ExpectRefused(
          [&](HfBuilder* b) { std::memcpy(b->Tensor(name).data.data() + 40, &bits, sizeof(bits)); },
          "nonfinite", kInvalid, name);
    }
  }
}

// ---- Shards

constexpr char kShard[] = "model-00001-of-00001.safetensors";

// The same model with an index, which says `shard` of each tensor.
HfBuilder Sharded(const std::string& shard) {
  HfBuilder builder = TinyHf();
  builder.files["model.safetensors"] = std::nullopt;
  builder.files[kShard] = SafetensorsBytes(builder.tensors);
  Json map = Json::object();
  for (const HfTensorDraft& tensor : builder.tensors) map[tensor.name] = shard;
  builder.files["model.safetensors.index.json"] = Json{{"weight_map", map}}.dump();
  return builder;
}

TEST(HfHostileTest, ShardNamesThatLeadElsewhere) {
  EXPECT_TRUE(LoadStatus(Sharded(kShard)).ok()) << LoadStatus(Sharded(kShard));
  for (const std::string& shard :
       {std::string("../") + kShard, std::string("/etc/passwd"), std::string(".."), std::string(),
        std::string("./") + kShard, std::string("a/b.safetensors"), std::string("a\\b.safetensors"),
        std::string(".safetensors"), std::string("x.safetensors\0y", 15),
        std::string("config.json"), std::string(300, 'a') + ".safetensors",
        std::string("a\n.safetensors")}) {
    ExpectRefused([&](HfBuilder* b) { *b = Sharded(shard); }, "shard");
  }
}

TEST(HfHostileTest, Indexes) {
  ExpectRefused([](HfBuilder* b) { *b = Sharded("absent.safetensors"); }, "not_found", kNotFound,
                "absent.safetensors");
  const auto with_index = [](const std::string& text) {
    return [text](HfBuilder* b) {
      *b = Sharded(kShard);
      b->files["model.safetensors.index.json"] = text;
    };
  };
  ExpectRefused(with_index("{}"), "missing_key");
  ExpectRefused(with_index("{\"weight_map\":[]}"), "type");
  ExpectRefused(with_index("{\"weight_map\":{}}"), "missing");
  ExpectRefused(with_index("{\"weight_map\":{\"a\":1}}"), "shard");
  ExpectRefused(with_index(absl::StrCat("{\"weight_map\":{\"a\":\"", kShard, "\"}}")), "missing");
  ExpectRefused(with_index(std::string(200'000, '{')), "json");
}

TEST(HfHostileTest, MoreShardsThanTheLimit) {
  ExpectRefused(
      [](HfBuilder* b) {
        *b = Sharded(kShard);
        Json map = Json::object();
        for (int i = 0; i < 1030; ++i) {
          const std::string name = absl::StrCat("t", i, ".safetensors");
          const std::string tensor = absl::StrCat("t", i);
          b->files[name] = SafetensorsBytes({FloatsDraft(tensor, {1}, 0)});
          map[tensor] = name;
        }
        b->files["model.safetensors.index.json"] = Json{{"weight_map", map}}.dump();
      },
      "limit");
}

// ---- The tokenizer

TEST(HfHostileTest, TokenizersWeDoNotHave) {
  const auto refused = [](const std::function<void(Json*)>& spoil) {
    ExpectRefused([&](HfBuilder* b) { spoil(&b->tokenizer); }, "unsupported", kUnimplemented);
  };
  refused([](Json* t) { (*t)["model"]["type"] = "WordPiece"; });
  refused([](Json* t) { (*t)["model"]["byte_fallback"] = true; });
  refused([](Json* t) { (*t)["model"]["unk_token"] = "<unk>"; });
  refused([](Json* t) { (*t)["model"]["dropout"] = 0.1; });
  refused([](Json* t) { (*t)["normalizer"] = {{"type", "Lowercase"}}; });
  refused([](Json* t) { (*t)["pre_tokenizer"] = nullptr; });
  refused([](Json* t) { (*t)["pre_tokenizer"]["add_prefix_space"] = true; });
  refused([](Json* t) { (*t)["pre_tokenizer"]["type"] = "Whitespace"; });
  refused([](Json* t) { (*t)["decoder"] = {{"type", "WordPiece"}}; });
  refused([](Json* t) { (*t)["post_processor"] = {{"type", "BertProcessing"}}; });
  for (const char* key : {"lstrip", "rstrip", "single_word"}) {
    refused([&](Json* t) { (*t)["added_tokens"][0][key] = true; });
  }
  // The names are those of patterns that we have, the patterns are not.
  refused([](Json* t) {
    (*t)["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"},
           {"pattern", {{"Regex", "(a+)+b"}}},
           {"behavior", "Isolated"},
           {"invert", false}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  });
}

TEST(HfHostileTest, Vocabularies) {
  const auto refused = [](const std::function<void(Json*)>& spoil, const std::string& reason) {
    ExpectRefused([&](HfBuilder* b) { spoil(&b->tokenizer); }, reason);
  };
  for (const Json& id : {Json(-1), Json(kTinyHfVocab), Json(int64_t{1} << 40)}) {
    refused([&](Json* t) { (*t)["model"]["vocab"]["new"] = id; }, "vocab");
    refused([&](Json* t) { (*t)["added_tokens"][0]["id"] = id; }, "vocab");
  }
  for (const Json& id : {Json("1"), Json(1.5), Json(nullptr), Json(uint64_t{1} << 63)}) {
    refused([&](Json* t) { (*t)["model"]["vocab"]["new"] = id; }, "type");
  }
  refused([](Json* t) { (*t)["model"]["vocab"]["new"] = 5; }, "token");
  refused([](Json* t) { (*t)["model"]["vocab"] = nullptr; }, "type");
  refused([](Json* t) { (*t)["model"]["merges"] = {1}; }, "type");
  refused([](Json* t) { (*t)["model"]["merges"] = {{"a", "b", "c"}}; }, "type");
  refused([](Json* t) { (*t)["model"]["merges"] = {"a b"}; }, "merge");
  refused(
      [](Json* t) {
        (*t)["model"]["merges"] = Json::array({Json::array({"", "a b"})});
      },
      "merge");
  refused([](Json* t) { (*t)["added_tokens"][0]["content"] = ""; }, "token");
  refused([](Json* t) { (*t)["added_tokens"] = {1}; }, "type");
}

TEST(HfHostileTest, SpecialTokens) {
  const auto file = [](const char* name, const std::string& text) {
    return [=](HfBuilder* b) { b->files[name] = text; };
  };
  ExpectRefused(file("tokenizer_config.json", R"({"eos_token":"</s>"})"), "special");
  ExpectRefused(file("tokenizer_config.json", R"({"eos_token":7})"), "type");
  ExpectRefused(file("tokenizer_config.json", R"({"add_eos_token":true})"), "unsupported",
                kUnimplemented);
  for (const char* ids : {"-1", "259", "[256,259]", "\"256\"", "1.5", "4294967296"}) {
    ExpectRefused(file("generation_config.json", absl::StrCat("{\"eos_token_id\":", ids, "}")),
                  "special");
  }
  ExpectRefused([](HfBuilder* b) { b->config["eos_token_id"] = -1; }, "special");
  ExpectRefused(file("tokenizer_config.json", R"({"chat_template":7})"), "type");
  ExpectRefused(file("tokenizer_config.json", R"({"chat_template":["x"]})"), "type");
}

// ---- Anything

TEST(HfHostileTest, RandomDamage) {
  const uint64_t seed = TestSeed(1);
  base::Rng rng(seed);
  HfBuilder good = TinyHf();
  good.files = {{"config.json", good.config.dump()},
                {"tokenizer.json", good.tokenizer.dump()},
                {"generation_config.json", "{\"eos_token_id\": [256, 258]}"},
                {"tokenizer_config.json", "{\"eos_token\": \"<|im_end|>\"}"}};
  for (int i = 0; i < 400; ++i) {
    HfBuilder damaged = good;
    auto file = damaged.files.begin();
    std::advance(file, rng.Between(0, static_cast<int64_t>(damaged.files.size()) - 1));
    std::string& text = *file->second;
    for (int64_t hits = rng.Between(1, 3); hits > 0; --hits) {
      const auto at = static_cast<size_t>(rng.Between(0, static_cast<int64_t>(text.size()) - 1));
      // Printable often, so that the text stays JSON.
      text[at] = static_cast<char>(rng.Chance(0.8) ? rng.Between(' ', '~') : rng.Bits());
    }
    const auto opened = OpenModel(damaged.Write());
    if (opened.ok()) {
      EXPECT_EQ(opened->tokenizer->vocabulary_size(), opened->weights->config().vocab);
    } else {
      EXPECT_NE(LoadErrorReason(opened.status()), "") << "SEED=" << seed << opened.status();
    }
  }
}

}  // namespace
}  // namespace ebb::model

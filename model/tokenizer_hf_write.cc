#include "model/tokenizer_hf_write.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/tokenizer_hf.h"

namespace ebb::model {
namespace {

using Json = nlohmann::ordered_json;

bool IsLlama3(absl::string_view pre) {
  return pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3";
}

Json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

absl::StatusOr<Json> PreTokenizer(const std::string& pre) {
  if (pre == "gpt2" || pre == "gpt-2") return ByteLevel(true);
  Json first;
  if (pre == "smollm") {
    first = {{"type", "Digits"}, {"individual_digits", true}};
  } else {
    const absl::string_view regex = RegexOfPretokenizer(IsLlama3(pre) ? "llama-bpe" : pre);
    if (regex.empty()) {
      return absl::UnimplementedError(
          absl::StrCat("the pre-tokenizer ", pre, " cannot be written to tokenizer.json"));
    }
    first = {{"type", "Split"},
             {"pattern", {{"Regex", std::string(regex)}}},
             {"behavior", "Isolated"},
             {"invert", false}};
  }
  return Json{{"type", "Sequence"},
              {"pretokenizers", Json::array({std::move(first), ByteLevel(pre == "smollm")})}};
}

Json AddedToken(size_t id, const std::string& text, bool special) {
  return {{"id", id},        {"content", text},     {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

// "$A" with the bos token before it.
Json BosTemplate(int64_t bos_id, const std::string& bos) {
  const auto special = [&](int type_id) {
    return Json{{"SpecialToken", {{"id", bos}, {"type_id", type_id}}}};
  };
  const auto sequence = [](const char* name, int type_id) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type_id}}}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({special(0), sequence("A", 0)})},
          {"pair", Json::array({special(0), sequence("A", 0), special(1), sequence("B", 1)})},
          {"special_tokens",
           {{bos, {{"id", bos}, {"ids", Json::array({bos_id})}, {"tokens", Json::array({bos})}}}}}};
}

Json PostProcessor(const TokenizerData& data) {
  Json byte_level = ByteLevel(true);
  byte_level["trim_offsets"] = false;
  if (!AddsBos(data)) return byte_level;
  CHECK(data.bos_id.has_value());
  const std::string& bos = data.tokens[static_cast<size_t>(*data.bos_id)];
  return {{"type", "Sequence"},
          {"processors", Json::array({byte_level, BosTemplate(*data.bos_id, bos)})}};
}

Json Model(const TokenizerData& data) {
  Json vocab = Json::object();
  // Straight to the end: ordered_json looks through all keys before it adds one.
  auto& members = vocab.get_ref<Json::object_t&>();
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    if (data.token_types[id] == static_cast<int32_t>(TokenType::kUnused)) continue;
    members.push_back({data.tokens[id], id});
  }
  Json merges = Json::array();
  for (const std::string& merge : data.merges) {
    const size_t space = merge.find(' ');
    merges.push_back(Json::array({merge.substr(0, space), merge.substr(space + 1)}));
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", data.ignore_merges.value_or(IsLlama3(data.pre))},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

Json AddedTokens(const TokenizerData& data) {
  Json added = Json::array();
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    const auto type = static_cast<TokenType>(data.token_types[id]);
    if (type == TokenType::kNormal || type == TokenType::kUnused) continue;
    added.push_back(AddedToken(id, data.tokens[id], type != TokenType::kUserDefined));
  }
  return added;
}

}  // namespace

bool AddsBos(const TokenizerData& data) { return data.add_bos.value_or(IsLlama3(data.pre)); }

absl::StatusOr<std::string> TokenizerJsonText(const TokenizerData& data) {
  ASSIGN_OR_RETURN(Json pre_tokenizer, PreTokenizer(data.pre));
  Json decoder = ByteLevel(true);
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", AddedTokens(data)},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", std::move(pre_tokenizer)},
                     {"post_processor", PostProcessor(data)},
                     {"decoder", std::move(decoder)},
                     {"model", Model(data)}};
  return json.dump();
}

std::string TokenizerConfigText(const Tokenizer& tokenizer, int64_t context_tokens,
                                const std::optional<std::string>& chat_template) {
  Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
               {"model_max_length", context_tokens},
               {"clean_up_tokenization_spaces", false}};
  const auto add = [&](const char* key, std::optional<int32_t> id) {
    if (id.has_value()) json[key] = std::string(tokenizer.TokenBytes(*id));
  };
  add("bos_token", tokenizer.bos_id());
  add("eos_token", tokenizer.eos_id());
  add("pad_token", tokenizer.pad_id());
  if (chat_template.has_value()) json["chat_template"] = *chat_template;
  return json.dump(2) + "\n";
}

}  // namespace ebb::model

#include "model/tokenizer_hf.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/hf_files.h"
#include "model/json_fields.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

// The published patterns as tokenizer.json files write them.
constexpr absl::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr absl::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr absl::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr int64_t kUnusedTokensMax = 262'144;
constexpr absl::string_view kMend = " Save the model again.";

std::string TypeOf(const JsonFields& part) {
  const std::optional<JsonValue> type = part.Find("type");
  return std::string(type.has_value() ? type->String().value_or("") : "");
}

// tokenizer.json, part by part.
class TokenizerJson {
 public:
  TokenizerJson(const JsonFields& fields, TokenizerData* data) : fields_(fields), data_(data) {}

  absl::Status Read() {
    RETURN_IF_ERROR(ReadModel());
    RETURN_IF_ERROR(ReadAddedTokens());
    RETURN_IF_ERROR(CheckNormalizer());
    RETURN_IF_ERROR(ReadPreTokenizer());
    RETURN_IF_ERROR(CheckDecoder());
    return ReadPostProcessor();
  }

 private:
  absl::Status TypeError(absl::string_view what) const {
    return fields_.Error("type", absl::StrCat(what, " is not what the format says.", kMend));
  }
  JsonFields Part(JsonValue object) const { return JsonFields(fields_.file(), object); }

  // ---- model

  absl::Status ReadModel() {
    ASSIGN_OR_RETURN(const std::optional<JsonValue> object, fields_.OptionalObject("model"));
    if (!object.has_value()) return TypeError("model");
    const JsonFields model = Part(*object);
    // Before 2020 files did not say that they were BPE.
    if (const std::string type = TypeOf(model); type != "BPE" && model.Has("type")) {
      return fields_.Unsupported(absl::StrCat("a tokenizer of type \"", Printable(type),
                                              "\" is not supported; byte-level BPE is."));
    }
    RETURN_IF_ERROR(CheckBpeOptions(model));
    bool ignore_merges = false;
    RETURN_IF_ERROR(model.ReadOptionalBool("ignore_merges", &ignore_merges));
    data_->model = "gpt2";
    data_->ignore_merges = ignore_merges;
    RETURN_IF_ERROR(ReadVocab(model));
    return ReadMerges(model);
  }

  absl::Status CheckBpeOptions(const JsonFields& model) const {
    bool byte_fallback = false;
    double dropout = 0;
    RETURN_IF_ERROR(model.ReadOptionalBool("byte_fallback", &byte_fallback));
    RETURN_IF_ERROR(model.ReadOptionalNumber("dropout", 0, 1, &dropout));
    if (byte_fallback) {
      return fields_.Unsupported(
          "a BPE with byte_fallback (a converted SentencePiece model) is not supported; "
          "byte-level BPE is.");
    }
    if (dropout != 0) return fields_.Unsupported("a BPE with dropout is not supported.");
    for (const char* key : {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
      std::string text;
      RETURN_IF_ERROR(model.ReadOptionalString(key, &text));
      if (!text.empty()) {
        return fields_.Unsupported(absl::StrCat("a BPE with ", key, " is not supported."));
      }
    }
    return absl::OkStatus();
  }

  absl::Status SetToken(absl::string_view text, int64_t id, TokenType type) {
    if (id < 0 || id >= static_cast<int64_t>(data_->tokens.size())) {
      return fields_.Error(
          "vocab", absl::StrCat("token ", Printable(text), " has the id ", id,
                                ", but the embedding has ", data_->tokens.size(), " rows.", kMend));
    }
    std::string& token = data_->tokens[static_cast<size_t>(id)];
    if (text.empty() || (!token.empty() && token != text)) {
      return fields_.Error("token", absl::StrCat("the id ", id, " stands for \"", Printable(token),
                                                 "\" and for \"", Printable(text), "\".", kMend));
    }
    token = std::string(text);
    data_->token_types[static_cast<size_t>(id)] = static_cast<int32_t>(type);
    return absl::OkStatus();
  }

  absl::Status ReadVocab(const JsonFields& model) {
    ASSIGN_OR_RETURN(const std::optional<JsonValue> vocab, model.OptionalObject("vocab"));
    if (!vocab.has_value()) return TypeError("model.vocab");
    return vocab->ForEachMember([&](absl::string_view text, JsonValue id) {
      if (!id.Int64().has_value()) return TypeError("an id in model.vocab");
      return SetToken(text, *id.Int64(), TokenType::kNormal);
    });
  }

  // Each merge is "left right" or, since 2024, ["left", "right"].
  absl::Status ReadMerges(const JsonFields& model) {
    ASSIGN_OR_RETURN(const std::optional<JsonValue> merges, model.OptionalArray("merges"));
    if (!merges.has_value()) return TypeError("model.merges");
    data_->merges.reserve(merges->size());
    return merges->ForEachElement([&](JsonValue merge) {
      if (merge.IsString()) {
        data_->merges.emplace_back(*merge.String());
        return absl::OkStatus();
      }
      if (!merge.IsArray() || merge.size() != 2) return TypeError("an element of model.merges");
      std::vector<absl::string_view> halves;
      RETURN_IF_ERROR(merge.ForEachElement([&](JsonValue half) {
        if (!half.IsString()) return TypeError("an element of model.merges");
        halves.push_back(*half.String());
        return absl::OkStatus();
      }));
      data_->merges.push_back(absl::StrCat(halves[0], " ", halves[1]));
      return absl::OkStatus();
    });
  }

  // ---- added_tokens

  absl::Status ReadAddedTokens() {
    ASSIGN_OR_RETURN(const std::optional<JsonValue> added, fields_.OptionalArray("added_tokens"));
    if (!added.has_value()) return absl::OkStatus();
    return added->ForEachElement([&](JsonValue value) {
      if (!value.IsObject()) return TypeError("an element of added_tokens");
      return ReadAddedToken(Part(value));
    });
  }

  absl::Status ReadAddedToken(const JsonFields& token) {
    std::string content;
    RETURN_IF_ERROR(token.ReadOptionalString("content", &content));
    const std::optional<JsonValue> id = token.Find("id");
    if (!id.has_value() || !id->Int64().has_value()) return TypeError("the id of an added token");
    for (const char* key : {"single_word", "lstrip", "rstrip"}) {
      bool set = false;
      RETURN_IF_ERROR(token.ReadOptionalBool(key, &set));
      if (set) {
        return fields_.Unsupported(absl::StrCat("the added token ", Printable(content), " with ",
                                                key, " is not supported."));
      }
    }
    bool special = false;
    RETURN_IF_ERROR(token.ReadOptionalBool("special", &special));
    return SetToken(content, *id->Int64(), special ? TokenType::kControl : TokenType::kUserDefined);
  }

  // ---- normalizer, decoder

  absl::Status CheckNormalizer() const {
    ASSIGN_OR_RETURN(const std::vector<JsonFields> parts, PartsOf("normalizer", "normalizers"));
    for (const JsonFields& part : parts) {
      if (TypeOf(part) == "NFC") continue;
      return fields_.Unsupported(absl::StrCat("the normalizer \"", Printable(TypeOf(part)),
                                              "\" is not supported; NFC and none are."));
    }
    return absl::OkStatus();
  }

  absl::Status CheckDecoder() const {
    ASSIGN_OR_RETURN(const std::vector<JsonFields> parts, PartsOf("decoder", "decoders"));
    if (parts.size() == 1 && TypeOf(parts[0]) == "ByteLevel") return absl::OkStatus();
    return fields_.Unsupported("a decoder other than ByteLevel is not supported.");
  }

  // The part at `key`, or the parts of the Sequence there, kept under `sequence_key`.
  absl::StatusOr<std::vector<JsonFields>> PartsOf(absl::string_view key,
                                                  absl::string_view sequence_key) const {
    std::vector<JsonFields> parts;
    ASSIGN_OR_RETURN(const std::optional<JsonValue> object, fields_.OptionalObject(key));
    if (!object.has_value()) return parts;
    const JsonFields whole = Part(*object);
    if (TypeOf(whole) != "Sequence") {
      parts.push_back(whole);
      return parts;
    }
    ASSIGN_OR_RETURN(const std::optional<JsonValue> sequence, whole.OptionalArray(sequence_key));
    if (!sequence.has_value()) return TypeError(key);
    RETURN_IF_ERROR(sequence->ForEachElement([&](JsonValue part) {
      if (!part.IsObject()) return TypeError(key);
      parts.push_back(Part(part));
      return absl::OkStatus();
    }));
    return parts;
  }

  // ---- pre_tokenizer

  // What cuts the text comes first, ByteLevel (which may cut by GPT-2's pattern itself) last.
  absl::Status ReadPreTokenizer() {
    ASSIGN_OR_RETURN(const std::vector<JsonFields> parts,
                     PartsOf("pre_tokenizer", "pretokenizers"));
    if (parts.empty() || parts.size() > 2 || TypeOf(parts.back()) != "ByteLevel") {
      return fields_.Unsupported(
          "its pre_tokenizer is not supported: it must end with ByteLevel, after at most one "
          "Split or Digits.");
    }
    bool add_prefix_space = true;
    bool use_regex = true;
    RETURN_IF_ERROR(parts.back().ReadOptionalBool("add_prefix_space", &add_prefix_space));
    RETURN_IF_ERROR(parts.back().ReadOptionalBool("use_regex", &use_regex));
    if (add_prefix_space) return fields_.Unsupported("add_prefix_space is not supported.");
    if (parts.size() == 1) {
      if (!use_regex)
        return fields_.Unsupported("a pre_tokenizer that cuts nothing is not supported.");
      data_->pre = "gpt2";
      return absl::OkStatus();
    }
    const std::string type = TypeOf(parts[0]);
    if (type == "Digits" && use_regex) return ReadDigits(parts[0]);
    if (type == "Split" && !use_regex) return ReadSplit(parts[0]);
    return fields_.Unsupported(absl::StrCat("the pre_tokenizer \"", Printable(type),
                                            "\" before this ByteLevel is not supported."));
  }

  absl::Status ReadDigits(const JsonFields& digits) {
    bool individual = false;
    RETURN_IF_ERROR(digits.ReadOptionalBool("individual_digits", &individual));
    if (!individual)
      return fields_.Unsupported("Digits are supported with individual_digits only.");
    data_->pre = "smollm";
    return absl::OkStatus();
  }

  absl::Status ReadSplit(const JsonFields& split) {
    std::string behavior;
    bool invert = false;
    std::string regex;
    RETURN_IF_ERROR(split.ReadOptionalString("behavior", &behavior));
    RETURN_IF_ERROR(split.ReadOptionalBool("invert", &invert));
    ASSIGN_OR_RETURN(const std::optional<JsonValue> pattern, split.OptionalObject("pattern"));
    if (pattern.has_value()) RETURN_IF_ERROR(Part(*pattern).ReadOptionalString("Regex", &regex));
    // All of these patterns match everywhere, so that taking the matches or what is between them
    // as the pieces' ends is the same.
    const bool cuts = (behavior == "Isolated" && !invert) || (behavior == "Removed" && invert);
    const absl::string_view pre = PretokenizerOfRegex(regex);
    if (!cuts || pre.empty()) {
      return fields_.Unsupported(
          absl::StrCat("the pattern ", Printable(regex), " (", Printable(behavior),
                       ") of its pre_tokenizer is not supported; those of GPT-2, Llama 3 "
                       "and Qwen 2 are."));
    }
    data_->pre = std::string(pre);
    return absl::OkStatus();
  }

  // ---- post_processor

  absl::Status ReadPostProcessor() {
    data_->add_bos = false;
    ASSIGN_OR_RETURN(const std::vector<JsonFields> parts, PartsOf("post_processor", "processors"));
    for (const JsonFields& part : parts) {
      const std::string type = TypeOf(part);
      if (type == "ByteLevel") continue;  // It moves offsets, which nobody asks for.
      if (type != "TemplateProcessing") {
        return fields_.Unsupported(
            absl::StrCat("the post_processor \"", Printable(type), "\" is not supported."));
      }
      RETURN_IF_ERROR(ReadTemplate(part));
    }
    return absl::OkStatus();
  }

  // A text alone, or a special token and the text.
  absl::Status ReadTemplate(const JsonFields& part) {
    ASSIGN_OR_RETURN(const std::optional<JsonValue> single, part.OptionalArray("single"));
    if (!single.has_value()) return TypeError("the template of its post_processor");
    std::string form;
    std::string bos;
    RETURN_IF_ERROR(single->ForEachElement([&](JsonValue piece) {
      const std::optional<JsonValue> special = piece.Find("SpecialToken");
      form += special.has_value() ? 'S' : piece.Find("Sequence").has_value() ? 'A' : '?';
      if (special.has_value() && special->IsObject()) {
        return Part(*special).ReadOptionalString("id", &bos);
      }
      return absl::OkStatus();
    }));
    if (form == "A") return absl::OkStatus();
    if (form != "SA") {
      return fields_.Unsupported(
          "a post_processor that adds anything but one token in front is not supported.");
    }
    for (size_t id = 0; id < data_->tokens.size(); ++id) {
      if (data_->tokens[id] != bos) continue;
      data_->bos_id = static_cast<int64_t>(id);
      data_->add_bos = true;
      return absl::OkStatus();
    }
    return fields_.Error("special", absl::StrCat("its post_processor adds ", Printable(bos),
                                                 ", which is no token.", kMend));
  }

  const JsonFields fields_;
  TokenizerData* const data_;
};

// A special token in tokenizer_config.json: its text, or an object with it; "" for none.
absl::StatusOr<std::string> SpecialText(const JsonFields& fields, absl::string_view key) {
  std::string text;
  const std::optional<JsonValue> value = fields.Find(key);
  if (!value.has_value()) return text;
  if (!value->IsObject()) {
    RETURN_IF_ERROR(fields.ReadOptionalString(key, &text));
    return text;
  }
  RETURN_IF_ERROR(JsonFields(fields.file(), *value).ReadOptionalString("content", &text));
  return text;
}

class SpecialTokens {
 public:
  explicit SpecialTokens(TokenizerData* data) : data_(data) {
    for (size_t id = 0; id < data->tokens.size(); ++id) {
      ids_.emplace(data->tokens[id], static_cast<int64_t>(id));
    }
  }

  absl::Status ReadTokenizerConfig(const JsonFields& fields) {
    ASSIGN_OR_RETURN(const std::optional<int64_t> bos, IdOf(fields, "bos_token"));
    if (bos.has_value()) data_->bos_id = bos;
    ASSIGN_OR_RETURN(data_->eos_id, IdOf(fields, "eos_token"));
    ASSIGN_OR_RETURN(data_->pad_id, IdOf(fields, "pad_token"));
    // Said outright, it wins over the post_processor.
    bool add_bos = *data_->add_bos;
    bool add_eos = false;
    RETURN_IF_ERROR(fields.ReadOptionalBool("add_bos_token", &add_bos));
    RETURN_IF_ERROR(fields.ReadOptionalBool("add_eos_token", &add_eos));
    if (add_eos)
      return fields.Unsupported("texts that end with a token (add_eos_token) are not supported.");
    data_->add_bos = add_bos && data_->bos_id.has_value();
    return absl::OkStatus();
  }

  // Adds eos_token_id, a number or a list of them, to what ends an answer.
  absl::Status ReadEndIds(const JsonFields& fields) {
    const std::optional<JsonValue> value = fields.Find("eos_token_id");
    if (!value.has_value()) return absl::OkStatus();
    if (!value->IsArray()) return AddEndId(fields, *value);
    return value->ForEachElement([&](JsonValue id) { return AddEndId(fields, id); });
  }

 private:
  absl::StatusOr<std::optional<int64_t>> IdOf(const JsonFields& fields, absl::string_view key) {
    ASSIGN_OR_RETURN(const std::string text, SpecialText(fields, key));
    if (text.empty()) return std::optional<int64_t>();
    const auto found = ids_.find(text);
    if (found != ids_.end()) return std::optional<int64_t>(found->second);
    return fields.Error("special", absl::StrCat(key, " is ", Printable(text),
                                                ", which is no token of tokenizer.json.", kMend));
  }

  absl::Status AddEndId(const JsonFields& fields, JsonValue value) {
    const std::optional<int64_t> id = value.Int64();
    if (!id.has_value() || *id < 0 || *id >= static_cast<int64_t>(data_->tokens.size())) {
      return fields.Error("special", absl::StrCat("eos_token_id is no id of a token: it must be "
                                                  "from 0 to ",
                                                  data_->tokens.size() - 1, ".", kMend));
    }
    data_->end_ids.push_back(*id);
    return absl::OkStatus();
  }

  TokenizerData* const data_;
  absl::flat_hash_map<absl::string_view, int64_t> ids_;
};

absl::Status ReadSpecialTokens(const std::string& directory, TokenizerData* data) {
  SpecialTokens special(data);
  ASSIGN_OR_RETURN(const auto tokenizer_config, ReadOptionalJson(directory, kHfTokenizerConfig));
  if (tokenizer_config != nullptr) {
    ASSIGN_OR_RETURN(const JsonFields fields, FieldsOf(*tokenizer_config));
    RETURN_IF_ERROR(special.ReadTokenizerConfig(fields));
  }
  ASSIGN_OR_RETURN(auto generation, ReadOptionalJson(directory, kHfGenerationConfig));
  if (generation == nullptr) {
    ASSIGN_OR_RETURN(generation, ReadOptionalJson(directory, kHfConfig));
  }
  if (generation == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const JsonFields fields, FieldsOf(*generation));
  RETURN_IF_ERROR(special.ReadEndIds(fields));
  if (!data->eos_id.has_value() && !data->end_ids.empty()) data->eos_id = data->end_ids.front();
  return absl::OkStatus();
}

}  // namespace

absl::string_view PretokenizerOfRegex(absl::string_view regex) {
  if (regex == kGpt2Regex) return "gpt2";
  if (regex == kLlama3Regex) return "llama-bpe";
  if (regex == kQwen2Regex) return "qwen2";
  return "";
}

absl::string_view RegexOfPretokenizer(absl::string_view pre) {
  for (const absl::string_view regex : {kGpt2Regex, kLlama3Regex, kQwen2Regex}) {
    if (PretokenizerOfRegex(regex) == pre) return regex;
  }
  return "";
}

namespace {

// Before memory is taken for every row of the embedding: a file of few bytes can claim millions.
absl::Status CheckTokenCount(const JsonFields& fields, int32_t vocab) {
  int64_t text_count = 0;
  if (const auto model = fields.Find("model"); model.has_value()) {
    if (const auto texts = model->Find("vocab"); texts.has_value()) text_count += texts->size();
  }
  if (const auto added = fields.Find("added_tokens"); added.has_value()) {
    text_count += added->size();
  }
  if (vocab - text_count <= kUnusedTokensMax) return absl::OkStatus();
  return fields.Error("limit", absl::StrCat("it has ", text_count, " tokens for the ", vocab,
                                            " rows of the embedding; at most ", kUnusedTokensMax,
                                            " rows may have none."));
}

}  // namespace

absl::StatusOr<TokenizerData> TokenizerDataFromHf(const std::string& directory, int32_t vocab) {
  TokenizerData data;
  ASSIGN_OR_RETURN(const auto json, ReadJson(directory, kHfTokenizer));
  ASSIGN_OR_RETURN(const JsonFields fields, FieldsOf(*json));
  data.source = json->name();
  RETURN_IF_ERROR(CheckTokenCount(fields, vocab));
  data.tokens.resize(static_cast<size_t>(vocab));
  data.token_types.resize(static_cast<size_t>(vocab), static_cast<int32_t>(TokenType::kUnused));
  RETURN_IF_ERROR(TokenizerJson(fields, &data).Read());
  FillUnusedTokens(&data);
  RETURN_IF_ERROR(ReadSpecialTokens(directory, &data));
  return data;
}

}  // namespace ebb::model

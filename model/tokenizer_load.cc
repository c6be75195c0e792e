// How a Tokenizer is made from a TokenizerData, which is a stranger's: everything is checked here.

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/byte_alphabet.h"
#include "model/load_error.h"
#include "model/tokenizer.h"
#include "model/utf8.h"

namespace ebb::model {
namespace {

// Tokens that end a turn in chat models whose file names only the end of a document. A base model
// never makes them, so they stop nothing that should go on.
constexpr absl::string_view kEndOfTurnTexts[] = {
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>",
};

}  // namespace

struct Tokenizer::Loader {
  const TokenizerData& data;
  Tokenizer* tokenizer;
  absl::flat_hash_map<absl::string_view, int32_t> id_by_text;
  std::vector<size_t> alphabet_sizes;  // Bytes of each token in the alphabet; 0: not in it.

  absl::Status Invalid(absl::string_view reason, absl::string_view message) const {
    return LoadError(absl::StatusCode::kInvalidArgument, data.source, reason, kNoOffset, message);
  }
  TokenType TypeOf(int32_t id) const { return tokenizer->token_types_[id]; }
  static bool IsSpecial(TokenType type) {
    return type == TokenType::kControl || type == TokenType::kUnknown ||
           type == TokenType::kUserDefined;
  }

  absl::Status LoadTypes();
  absl::Status LoadTokens();
  absl::Status AddToken(int32_t id, const std::array<int16_t, 512>& byte_of);
  void AddToTrie(int32_t id);
  absl::Status LoadMerges();
  absl::Status AddMerge(size_t index);
  absl::StatusOr<std::optional<int32_t>> SpecialId(absl::string_view name,
                                                   std::optional<int64_t> id) const;
  absl::Status LoadSpecialIds();
};

void FillUnusedTokens(TokenizerData* data) {
  absl::flat_hash_set<std::string> taken(data->tokens.begin(), data->tokens.end());
  for (size_t id = 0; id < data->tokens.size(); ++id) {
    if (!data->tokens[id].empty()) continue;
    std::string text = absl::StrCat("[UNUSED_", id, "]");
    while (!taken.insert(text).second) text += '_';
    data->tokens[id] = std::move(text);
    data->token_types[id] = static_cast<int32_t>(TokenType::kUnused);
  }
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Create(const TokenizerData& data) {
  if (data.model != "gpt2") {
    return LoadError(absl::StatusCode::kUnimplemented, data.source, "unsupported", kNoOffset,
                     absl::StrCat("tokenizer model '", Printable(data.model),
                                  "' is not supported; supported is gpt2 (byte-level BPE)"));
  }
  absl::StatusOr<Pretokenizer> pretokenizer = Pretokenizer::Create(data.pre);
  if (!pretokenizer.ok()) {
    return LoadError(pretokenizer.status().code(), data.source, "unsupported", kNoOffset,
                     pretokenizer.status().message());
  }
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(*std::move(pretokenizer)));
  const bool is_llama3 = data.pre == "llama-bpe" || data.pre == "llama3" || data.pre == "llama-v3";
  tokenizer->ignore_merges_ = data.ignore_merges.value_or(is_llama3);
  tokenizer->add_bos_ = data.add_bos.value_or(is_llama3);
  Loader loader{data, tokenizer.get(), {}, {}};
  RETURN_IF_ERROR(loader.LoadTypes());
  RETURN_IF_ERROR(loader.LoadTokens());
  RETURN_IF_ERROR(loader.LoadMerges());
  RETURN_IF_ERROR(loader.LoadSpecialIds());
  return tokenizer;
}

absl::Status Tokenizer::Loader::LoadTypes() {
  if (data.tokens.empty()) return Invalid("vocab", "the vocabulary has no tokens");
  if (data.token_types.size() != data.tokens.size()) {
    return Invalid("vocab_type", absl::StrCat("there are ", data.tokens.size(), " tokens but ",
                                              data.token_types.size(), " token types"));
  }
  for (size_t i = 0; i < data.token_types.size(); ++i) {
    if (data.token_types[i] < static_cast<int32_t>(TokenType::kNormal) ||
        data.token_types[i] > static_cast<int32_t>(TokenType::kUnused)) {
      return Invalid("vocab_type", absl::StrCat("token ", i, " has type ", data.token_types[i],
                                                "; byte-level BPE knows 1 to 5"));
    }
    tokenizer->token_types_.push_back(static_cast<TokenType>(data.token_types[i]));
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Loader::LoadTokens() {
  const std::array<int16_t, 512> byte_of = MakeByteOfCodePoint();
  id_by_text.reserve(data.tokens.size());
  tokenizer->trie_.emplace_back();
  size_t total_bytes = 0;
  for (const std::string& text : data.tokens) total_bytes += text.size();
  tokenizer->token_bytes_.reserve(total_bytes);
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    RETURN_IF_ERROR(AddToken(static_cast<int32_t>(i), byte_of));
  }
  if (!tokenizer->ignore_merges_) return absl::OkStatus();
  // All bytes are in place now, so views of them stay valid.
  for (int32_t id = 0; id < tokenizer->vocabulary_size(); ++id) {
    if (TypeOf(id) == TokenType::kNormal && alphabet_sizes[id] > 0) {
      tokenizer->pieces_to_ids_.emplace(tokenizer->TokenBytes(id), id);
    }
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::Loader::AddToken(int32_t id, const std::array<int16_t, 512>& byte_of) {
  const absl::string_view text = data.tokens[id];
  if (text.empty()) return Invalid("token", absl::StrCat("token ", id, " is empty"));
  if (text.size() > kTokenBytesMax) {
    return Invalid("token", absl::StrCat("token ", id, " has ", text.size(), " bytes; at most ",
                                         kTokenBytesMax, " are allowed"));
  }
  if (FindInvalidUtf8(text) != absl::string_view::npos) {
    return Invalid("token", absl::StrCat("token ", id, " is not UTF-8: ", Printable(text)));
  }
  const auto [same, is_new] = id_by_text.emplace(text, id);
  if (!is_new) {
    return Invalid("token", absl::StrCat("tokens ", same->second, " and ", id,
                                         " are the same: ", Printable(text)));
  }
  // Hugging Face decodes a token with any character outside the alphabet as the text it is.
  std::string bytes;
  for (absl::string_view rest = text; !rest.empty();) {
    const Utf8Front front = DecodeUtf8Front(rest);
    const int byte = front.code_point < byte_of.size() ? byte_of[front.code_point] : -1;
    if (byte < 0) {
      bytes.clear();
      break;
    }
    bytes.push_back(static_cast<char>(byte));
    rest.remove_prefix(front.length);
  }
  alphabet_sizes.push_back(bytes.size());
  const bool is_special = IsSpecial(TypeOf(id));
  if (bytes.size() == 1 && (TypeOf(id) == TokenType::kNormal)) {
    tokenizer->byte_ids_[static_cast<uint8_t>(bytes[0])] = id;
  }
  if (is_special || bytes.empty()) bytes = std::string(text);
  tokenizer->token_bytes_ += bytes;
  tokenizer->token_ends_.push_back(tokenizer->token_bytes_.size());
  tokenizer->longest_token_bytes_ = std::max(tokenizer->longest_token_bytes_, bytes.size());
  if (is_special) AddToTrie(id);
  return absl::OkStatus();
}

void Tokenizer::Loader::AddToTrie(int32_t id) {
  uint64_t node = 0;
  for (const char c : tokenizer->TokenBytes(id)) {
    const auto fresh = static_cast<uint32_t>(tokenizer->trie_.size());
    const auto [edge, is_new] =
        tokenizer->trie_edges_.emplace(node << 8 | static_cast<uint8_t>(c), fresh);
    if (is_new) tokenizer->trie_.emplace_back();
    node = edge->second;
  }
  tokenizer->trie_[node] = {id, tokenizer->IsControl(id)};
  tokenizer->begins_special_[static_cast<uint8_t>(tokenizer->TokenBytes(id)[0])] = true;
}

absl::Status Tokenizer::Loader::LoadMerges() {
  // A token of n characters has n - 1 ways to be halved, so more merges than that hold duplicates.
  size_t merge_count_max = 0;
  for (const size_t size : alphabet_sizes) merge_count_max += size > 0 ? size - 1 : 0;
  if (data.merges.size() > merge_count_max) {
    return Invalid("merge", absl::StrCat("there are ", data.merges.size(), " merges but only ",
                                         merge_count_max, " different ones can make these tokens"));
  }
  tokenizer->merger_.Reserve(data.merges.size());
  for (size_t i = 0; i < data.merges.size(); ++i) RETURN_IF_ERROR(AddMerge(i));
  return absl::OkStatus();
}

absl::Status Tokenizer::Loader::AddMerge(size_t index) {
  const absl::string_view merge = data.merges[index];
  const auto invalid = [&](absl::string_view why) {
    return Invalid("merge", absl::StrCat("merge ", index, " '", Printable(merge), "' ", why));
  };
  const size_t space = merge.find(' ');
  if (space == absl::string_view::npos || merge.find(' ', space + 1) != absl::string_view::npos ||
      space == 0 || space + 1 == merge.size()) {
    return invalid("is not two tokens with one space between them");
  }
  const absl::string_view left = merge.substr(0, space);
  const absl::string_view right = merge.substr(space + 1);
  const std::string joined = absl::StrCat(left, right);
  int32_t ids[3];
  const absl::string_view texts[3] = {left, right, joined};
  for (int part = 0; part < 3; ++part) {
    const auto found = id_by_text.find(texts[part]);
    if (found == id_by_text.end()) {
      return invalid(absl::StrCat(part == 2 ? "makes" : "takes", " '", Printable(texts[part]),
                                  "', which is not in the vocabulary"));
    }
    ids[part] = found->second;
    const TokenType type = TypeOf(ids[part]);
    // Otherwise a client's text could be merged into a control token.
    if (type != TokenType::kNormal && type != TokenType::kUserDefined) {
      return invalid(absl::StrCat(part == 2 ? "makes" : "takes", " token ", ids[part],
                                  ", which is not a token of text"));
    }
  }
  if (!tokenizer->merger_.AddRule(ids[0], ids[1], ids[2])) return invalid("is there twice");
  return absl::OkStatus();
}

absl::StatusOr<std::optional<int32_t>> Tokenizer::Loader::SpecialId(
    absl::string_view name, std::optional<int64_t> id) const {
  if (!id.has_value()) return std::optional<int32_t>();
  if (!tokenizer->IsValid(*id)) {
    return Invalid("special", absl::StrCat("the ", name, " token's id is ", *id,
                                           ", the vocabulary has ", data.tokens.size()));
  }
  return std::optional<int32_t>(static_cast<int32_t>(*id));
}

absl::Status Tokenizer::Loader::LoadSpecialIds() {
  ASSIGN_OR_RETURN(tokenizer->bos_id_, SpecialId("bos", data.bos_id));
  ASSIGN_OR_RETURN(tokenizer->eos_id_, SpecialId("eos", data.eos_id));
  ASSIGN_OR_RETURN(tokenizer->pad_id_, SpecialId("padding", data.pad_id));
  ASSIGN_OR_RETURN(const std::optional<int32_t> eot_id, SpecialId("eot", data.eot_id));
  ASSIGN_OR_RETURN(const std::optional<int32_t> eom_id, SpecialId("eom", data.eom_id));
  RETURN_IF_ERROR(SpecialId("unknown", data.unknown_id).status());
  if (tokenizer->add_bos_ && !tokenizer->bos_id_.has_value()) {
    return Invalid("special", "texts begin with a bos token, but its id is missing");
  }
  std::vector<int32_t>& eos_ids = tokenizer->eos_ids_;
  for (const std::optional<int32_t>& id : {tokenizer->eos_id_, eot_id, eom_id}) {
    if (id.has_value()) eos_ids.push_back(*id);
  }
  for (const int64_t end_id : data.end_ids) {
    ASSIGN_OR_RETURN(const std::optional<int32_t> id, SpecialId("end", end_id));
    eos_ids.push_back(*id);
  }
  for (const absl::string_view text : kEndOfTurnTexts) {
    const auto found = id_by_text.find(text);
    if (found != id_by_text.end() && tokenizer->IsControl(found->second)) {
      eos_ids.push_back(found->second);
    }
  }
  std::sort(eos_ids.begin(), eos_ids.end());
  eos_ids.erase(std::unique(eos_ids.begin(), eos_ids.end()), eos_ids.end());
  return absl::OkStatus();
}

}  // namespace ebb::model

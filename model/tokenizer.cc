#include "model/tokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/utf8.h"

namespace ebb::model {
namespace {

absl::Status CheckText(absl::string_view text) {
  if (text.size() > Tokenizer::kTextBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("the text has ", text.size(), " bytes; at most ",
                                                   Tokenizer::kTextBytesMax, " can be tokenized"));
  }
  const size_t invalid = FindInvalidUtf8(text);
  if (invalid != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("the text is not UTF-8 at byte ", invalid));
  }
  return absl::OkStatus();
}

}  // namespace

Tokenizer::Tokenizer(Pretokenizer pretokenizer) : pretokenizer_(std::move(pretokenizer)) {
  byte_ids_.fill(-1);
}

absl::string_view Tokenizer::TokenBytes(int32_t id) const {
  CHECK(IsValid(id)) << "token id " << id;
  const size_t begin = id == 0 ? 0 : token_ends_[id - 1];
  return absl::string_view(token_bytes_).substr(begin, token_ends_[id] - begin);
}

bool Tokenizer::IsControl(int32_t id) const {
  CHECK(IsValid(id)) << "token id " << id;
  return token_types_[id] == TokenType::kControl || token_types_[id] == TokenType::kUnknown;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(absl::string_view text,
                                                       bool parse_special) const {
  const Range all = {0, text.size()};
  return EncodeMasked(text, absl::MakeConstSpan(&all, parse_special ? 1 : 0));
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeSegments(
    absl::Span<const TextSegment> segments) const {
  std::string text;
  std::vector<Range> control_ranges;
  for (const TextSegment& segment : segments) {
    const size_t begin = text.size();
    text += segment.text;
    if (!segment.is_template || segment.text.empty()) continue;
    // A template may write one control token in two parts.
    if (!control_ranges.empty() && control_ranges.back().end == begin) {
      control_ranges.back().end = text.size();
    } else {
      control_ranges.push_back({begin, text.size()});
    }
  }
  return EncodeMasked(text, control_ranges);
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeMasked(
    absl::string_view text, absl::Span<const Range> control_ranges) const {
  RETURN_IF_ERROR(CheckText(text));
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 1);  // English makes about four bytes a token.
  EncodeScratch scratch;
  size_t ordinary_begin = 0;
  size_t at = 0;
  while (at < text.size()) {
    SpecialMatch match;
    if (begins_special_[static_cast<uint8_t>(text[at])]) {
      while (!control_ranges.empty() && control_ranges.front().end <= at) {
        control_ranges.remove_prefix(1);
      }
      const bool in_range = !control_ranges.empty() && control_ranges.front().begin <= at;
      match = MatchSpecial(text.substr(at), in_range ? control_ranges.front().end - at : 0);
    }
    if (match.id < 0) {
      ++at;
      continue;
    }
    RETURN_IF_ERROR(
        EncodeOrdinary(text.substr(ordinary_begin, at - ordinary_begin), &scratch, &ids));
    ids.push_back(match.id);
    at += match.bytes;
    ordinary_begin = at;
  }
  RETURN_IF_ERROR(EncodeOrdinary(text.substr(ordinary_begin), &scratch, &ids));
  return ids;
}

// The longest special token at the front of `text`; control tokens only within
// `control_bytes_max`.
Tokenizer::SpecialMatch Tokenizer::MatchSpecial(absl::string_view text,
                                                size_t control_bytes_max) const {
  SpecialMatch match;
  uint64_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto edge = trie_edges_.find(node << 8 | static_cast<uint8_t>(text[i]));
    if (edge == trie_edges_.end()) break;
    node = edge->second;
    const TrieNode& here = trie_[node];
    if (here.id < 0 || (here.is_control && i + 1 > control_bytes_max)) continue;
    match = {here.id, i + 1};
  }
  return match;
}

absl::Status Tokenizer::EncodeOrdinary(absl::string_view text, EncodeScratch* scratch,
                                       std::vector<int32_t>* out) const {
  if (text.empty()) return absl::OkStatus();
  return pretokenizer_.Split(text,
                             [&](absl::string_view piece) { EncodePiece(piece, scratch, out); });
}

void Tokenizer::EncodePiece(absl::string_view piece, EncodeScratch* scratch,
                            std::vector<int32_t>* out) const {
  if (ignore_merges_) {
    const auto whole = pieces_to_ids_.find(piece);
    if (whole != pieces_to_ids_.end()) {
      out->push_back(whole->second);
      return;
    }
  }
  scratch->byte_ids.clear();
  for (const char byte : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(byte)];
    if (id >= 0) scratch->byte_ids.push_back(id);
  }
  merger_.Merge(scratch->byte_ids, &scratch->bpe, out);
}

}  // namespace ebb::model

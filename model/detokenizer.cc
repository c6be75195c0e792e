#include "model/detokenizer.h"

#include "absl/strings/str_cat.h"
#include "model/utf8.h"

namespace ebb::model {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD.

}  // namespace

std::string Utf8Stream::Add(absl::string_view bytes) {
  pending_.append(bytes.data(), bytes.size());
  std::string text;
  absl::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Front front = DecodeUtf8Front(rest);
    if (front.kind == Utf8Front::Kind::kIncomplete) break;
    const bool valid = front.kind == Utf8Front::Kind::kCharacter;
    absl::StrAppend(&text, valid ? rest.substr(0, front.length) : kReplacement);
    rest.remove_prefix(front.length);
  }
  pending_.erase(0, pending_.size() - rest.size());
  return text;
}

std::string Utf8Stream::Finish() {
  if (pending_.empty()) return "";
  pending_.clear();
  return std::string(kReplacement);
}

std::string DetokenizeStream::Add(int32_t id) {
  if (skip_control_ && tokenizer_->IsControl(id)) return "";
  return bytes_.Add(tokenizer_->TokenBytes(id));
}

absl::StatusOr<std::string> Detokenize(const Tokenizer& tokenizer, absl::Span<const int32_t> ids,
                                       bool skip_control) {
  DetokenizeStream stream(&tokenizer, skip_control);
  std::string text;
  for (const int32_t id : ids) {
    if (!tokenizer.IsValid(id)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token id ", id, " is outside the vocabulary of ", tokenizer.vocabulary_size()));
    }
    text += stream.Add(id);
  }
  return text + stream.Finish();
}

}  // namespace ebb::model

#include "model/tokenizer_gguf.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ebb::model {
namespace {

constexpr absl::string_view kPrefix = "tokenizer.ggml.";

absl::StatusOr<std::optional<int64_t>> OptionalId(const GgufFile& file, absl::string_view name) {
  const std::string key = absl::StrCat(kPrefix, name);
  if (!file.Has(key)) return std::optional<int64_t>();
  ASSIGN_OR_RETURN(const uint32_t id, file.GetUint32(key));
  return std::optional<int64_t>(id);
}

absl::StatusOr<std::vector<std::string>> Strings(const GgufFile& file, absl::string_view name) {
  ASSIGN_OR_RETURN(const GgufStrings* strings, file.GetStringArray(absl::StrCat(kPrefix, name)));
  std::vector<std::string> copies;
  copies.reserve(strings->size());
  for (size_t i = 0; i < strings->size(); ++i) copies.emplace_back((*strings)[i]);
  return copies;
}

absl::StatusOr<std::string> String(const GgufFile& file, absl::string_view name) {
  ASSIGN_OR_RETURN(const absl::string_view text, file.GetString(absl::StrCat(kPrefix, name)));
  return std::string(text);
}

}  // namespace

absl::StatusOr<TokenizerData> TokenizerDataFromGguf(const GgufFile& file) {
  TokenizerData data;
  data.source = file.name();
  ASSIGN_OR_RETURN(data.model, String(file, "model"));
  // Other tokenizers need other keys: Tokenizer::Create refuses them by their name.
  if (data.model != "gpt2") return data;
  ASSIGN_OR_RETURN(data.pre, String(file, "pre"));
  ASSIGN_OR_RETURN(data.tokens, Strings(file, "tokens"));
  ASSIGN_OR_RETURN(data.token_types, file.GetInt32Array(absl::StrCat(kPrefix, "token_type")));
  ASSIGN_OR_RETURN(data.merges, Strings(file, "merges"));
  ASSIGN_OR_RETURN(data.bos_id, OptionalId(file, "bos_token_id"));
  ASSIGN_OR_RETURN(data.eos_id, OptionalId(file, "eos_token_id"));
  ASSIGN_OR_RETURN(data.eot_id, OptionalId(file, "eot_token_id"));
  ASSIGN_OR_RETURN(data.eom_id, OptionalId(file, "eom_token_id"));
  ASSIGN_OR_RETURN(data.pad_id, OptionalId(file, "padding_token_id"));
  ASSIGN_OR_RETURN(data.unknown_id, OptionalId(file, "unknown_token_id"));
  const std::string add_bos_key = absl::StrCat(kPrefix, "add_bos_token");
  if (file.Has(add_bos_key)) {
    ASSIGN_OR_RETURN(data.add_bos, file.GetBool(add_bos_key));
  }
  return data;
}

}  // namespace ebb::model

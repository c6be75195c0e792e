#include "model/vocab_check.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

constexpr absl::string_view kMend = " Convert the model again with a current converter.";

absl::Status CheckCount(const GgufFile& file, absl::string_view key, uint64_t count,
                        int32_t vocab) {
  if (count == static_cast<uint64_t>(vocab)) return absl::OkStatus();
  return file.Error(absl::StatusCode::kInvalidArgument, "vocab",
                    absl::StrCat(key, " stands for ", count, " tokens, but the embedding has ",
                                 vocab, " rows.", kMend));
}

absl::Status CheckArrays(const GgufFile& file, int32_t vocab) {
  constexpr absl::string_view kTokens = "tokenizer.ggml.tokens";
  constexpr absl::string_view kTypes = "tokenizer.ggml.token_type";
  constexpr absl::string_view kScores = "tokenizer.ggml.scores";
  if (file.Has(kTokens)) {
    ASSIGN_OR_RETURN(const GgufStrings* tokens, file.GetStringArray(kTokens));
    RETURN_IF_ERROR(CheckCount(file, kTokens, tokens->size(), vocab));
  }
  if (file.Has(kTypes)) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> types, file.GetInt32Array(kTypes));
    RETURN_IF_ERROR(CheckCount(file, kTypes, types.size(), vocab));
  }
  if (file.Has(kScores)) {
    ASSIGN_OR_RETURN(const std::vector<float> scores, file.GetFloatArray(kScores));
    RETURN_IF_ERROR(CheckCount(file, kScores, scores.size(), vocab));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckVocabMetadata(const GgufFile& file, absl::string_view architecture,
                                int32_t vocab) {
  const std::string size_key = absl::StrCat(architecture, ".vocab_size");
  if (file.Has(size_key)) {
    ASSIGN_OR_RETURN(const uint64_t size, file.GetUint64(size_key));
    RETURN_IF_ERROR(CheckCount(file, size_key, size, vocab));
  }
  RETURN_IF_ERROR(CheckArrays(file, vocab));
  for (const absl::string_view key : file.Keys()) {
    if (!absl::StartsWith(key, "tokenizer.ggml.") || !absl::EndsWith(key, "_token_id")) continue;
    const absl::StatusOr<uint32_t> id = file.GetUint32(key);
    if (!id.ok() || *id >= static_cast<uint32_t>(vocab)) {
      return file.Error(absl::StatusCode::kInvalidArgument, "special",
                        absl::StrCat(Printable(key), " is no id of a token: it must be from 0 to ",
                                     vocab - 1, ".", kMend));
    }
  }
  return absl::OkStatus();
}

}  // namespace ebb::model

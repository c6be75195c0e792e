#include "model/load_error.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace ebb::model {
namespace {

constexpr absl::string_view kReasonMark = ": refused (reason=";
constexpr size_t kShownBytesMax = 80;

}  // namespace

absl::Status LoadError(absl::StatusCode code, absl::string_view file, absl::string_view reason,
                       int64_t offset, absl::string_view message) {
  std::string text = absl::StrCat(absl::Utf8SafeCEscape(file), kReasonMark, reason);
  if (offset != kNoOffset) absl::StrAppend(&text, ", offset=", offset);
  absl::StrAppend(&text, "): ", message);
  return absl::Status(code, text);
}

std::string Printable(absl::string_view bytes) {
  if (bytes.size() <= kShownBytesMax) return absl::CHexEscape(bytes);
  return absl::StrCat(absl::CHexEscape(bytes.substr(0, kShownBytesMax)), "... (", bytes.size(),
                      " bytes)");
}

std::string LoadErrorReason(const absl::Status& status) {
  const absl::string_view text = status.message();
  const size_t mark = text.rfind(kReasonMark);
  if (mark == absl::string_view::npos) return "";
  const absl::string_view rest = text.substr(mark + kReasonMark.size());
  return std::string(rest.substr(0, rest.find_first_of(",)")));
}

}  // namespace ebb::model

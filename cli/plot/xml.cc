#include "cli/plot/xml.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace ebb::cli {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr absl::string_view kEllipsis = "\xE2\x80\xA6";     // U+2026

// Bytes of the code point that starts with `lead`.
size_t CodePointBytes(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

bool IsForbidden(absl::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead < 0x20 || lead == 0x7F;
  if (character.size() == 2) return character >= "\xC2\x80" && character <= "\xC2\x9F";
  return character == "\xEF\xBF\xBE" || character == "\xEF\xBF\xBF" ||
         (character >= "\xE2\x80\xAA" && character <= "\xE2\x80\xAE") ||  // U+202A to U+202E
         (character >= "\xE2\x81\xA6" && character <= "\xE2\x81\xA9");    // U+2066 to U+2069
}

absl::string_view Reference(absl::string_view character) {
  switch (character[0]) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return character;
  }
}

}  // namespace

std::string EscapeXml(absl::string_view utf8, size_t characters_max) {
  std::string out;
  size_t count = 0;
  for (size_t at = 0; at < utf8.size(); ++count) {
    if (count == characters_max) return absl::StrCat(out, kEllipsis);
    const absl::string_view character =
        utf8.substr(at, CodePointBytes(static_cast<unsigned char>(utf8[at])));
    absl::StrAppend(&out, IsForbidden(character) ? kReplacement : Reference(character));
    at += character.size();
  }
  return out;
}

}  // namespace ebb::cli

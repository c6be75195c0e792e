#include "cli/top/styled_line.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ebb::cli {
namespace {

bool BeginsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

// The bytes of the first `columns` characters.
absl::string_view FirstColumns(absl::string_view text, int columns) {
  size_t end = 0;
  for (int begun = 0; end < text.size(); ++end) {
    if (BeginsCharacter(text[end]) && ++begun > columns) break;
  }
  return text.substr(0, end);
}

// Of the 16 colours that every terminal has and lets its user choose.
absl::string_view ColorCode(Style style) {
  switch (style) {
    case Style::kPlain:
      return "";
    case Style::kQuiet:
      return "2";
    case Style::kStrong:
      return "1";
    case Style::kHeld:
      return "36";
    case Style::kNeeded:
      return "34";
    case Style::kNeededOnHeld:
      return "34;46";
    case Style::kLimit:
      return "35";
    case Style::kLimitOnHeld:
      return "35;46";
    case Style::kLimitOnNeeded:
      return "35;44";
    case Style::kGood:
      return "32";
    case Style::kWarning:
      return "33";
    case Style::kBad:
      return "1;31";
  }
  return "";
}

}  // namespace

StyledLine& StyledLine::Append(absl::string_view text, Style style) {
  columns_ += ColumnsOf(text);
  if (!parts_.empty() && parts_.back().style == style) {
    absl::StrAppend(&parts_.back().text, text);
  } else if (!text.empty()) {
    parts_.push_back({std::string(text), style});
  }
  return *this;
}

StyledLine& StyledLine::Append(const StyledLine& line) {
  for (const Part& part : line.parts_) Append(part.text, part.style);
  return *this;
}

StyledLine& StyledLine::PadTo(int columns) {
  if (columns > columns_) Append(std::string(static_cast<size_t>(columns - columns_), ' '));
  return *this;
}

StyledLine& StyledLine::CutTo(int columns) {
  CHECK_GE(columns, 0);
  int left = columns;
  for (Part& part : parts_) {
    part.text = std::string(FirstColumns(part.text, left));
    left -= ColumnsOf(part.text);
  }
  columns_ = columns - left;
  return *this;
}

std::string StyledLine::Plain() const {
  std::string out;
  for (const Part& part : parts_) out += part.text;
  absl::StripTrailingAsciiWhitespace(&out);
  return out;
}

std::string StyledLine::Colored() const {
  std::string out;
  for (const Part& part : parts_) {
    const absl::string_view code = ColorCode(part.style);
    if (code.empty() || part.text.empty()) {
      out += part.text;
    } else {
      absl::StrAppend(&out, "\x1b[", code, "m", part.text, "\x1b[0m");
    }
  }
  return out;
}

int ColumnsOf(absl::string_view text) {
  int columns = 0;
  for (const char c : text) columns += BeginsCharacter(c) ? 1 : 0;
  return columns;
}

std::string Printable(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    if (absl::ascii_isprint(static_cast<unsigned char>(c))) {
      out += c;
    } else if (BeginsCharacter(c)) {
      out += '?';
    }
  }
  return out;
}

}  // namespace ebb::cli

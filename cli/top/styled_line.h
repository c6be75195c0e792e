// StyledLine: one line of a frame: text, and what each part of it means. How that looks is decided
// when it is written.
//
// All text is taken to need one column of the terminal for each character. Text from a server goes
// through Printable first.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ebb::cli {

enum class Style {
  kPlain,
  kQuiet,   // What stays the same: names, titles.
  kStrong,  // What is looked for.
  kHeld,
  kNeeded,
  kNeededOnHeld,  // The needed part of a character whose rest is held.
  kLimit,
  kLimitOnHeld,  // The limit's line through what is held.
  kLimitOnNeeded,
  kGood,
  kWarning,
  kBad,
};

// A value type.
class StyledLine {
 public:
  StyledLine() = default;
  explicit StyledLine(absl::string_view text, Style style = Style::kPlain) { Append(text, style); }

  StyledLine& Append(absl::string_view text, Style style = Style::kPlain);
  StyledLine& Append(const StyledLine& line);
  // Blanks up to this column, if it is not there yet.
  StyledLine& PadTo(int columns);
  // What is beyond goes. REQUIRES: columns >= 0.
  StyledLine& CutTo(int columns);

  int columns() const { return columns_; }
  // Without the blanks at its end.
  std::string Plain() const;
  // With the terminal's colours.
  std::string Colored() const;

 private:
  struct Part {
    std::string text;
    Style style;
  };
  std::vector<Part> parts_;
  int columns_ = 0;
};

// Columns that the text needs: its characters.
int ColumnsOf(absl::string_view text);
// The text with a question mark for every character that is not printable ASCII: a server cannot
// send commands to the terminal, nor characters of another width.
std::string Printable(absl::string_view text);

}  // namespace ebb::cli

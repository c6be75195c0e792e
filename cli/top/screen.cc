#include "cli/top/screen.h"

#include "absl/strings/str_cat.h"

namespace ebb::cli {

std::string FrameBytes(const std::vector<StyledLine>& lines, ScreenSize size, bool color) {
  std::string out;
  for (int row = 0; row < size.rows; ++row) {
    absl::StrAppend(&out, "\x1b[", row + 1, ";1H");
    int columns = 0;
    if (static_cast<size_t>(row) < lines.size()) {
      const StyledLine& line = lines[static_cast<size_t>(row)];
      out += color ? line.Colored() : line.Plain();
      columns = color ? line.columns() : ColumnsOf(line.Plain());
    }
    // To the end of the line; after its last column that would take the last character.
    if (columns < size.columns) out += "\x1b[K";
  }
  return out;
}

}  // namespace ebb::cli

#include "cli/top/memory_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "cli/plot/axis.h"
#include "cli/top/number_text.h"

namespace ebb::cli {
namespace {

constexpr int kEighths = 8;  // Of a character, the finest step of a curve.
constexpr std::array<absl::string_view, kEighths + 1> kFilled = {" ", "▁", "▂", "▃", "▄",
                                                                 "▅", "▆", "▇", "█"};
constexpr double kLimitOverPeakMax = 2;

// A value's height in eighths of a character; what is there at all is seen.
int HeightOf(int64_t bytes, double top, int rows) {
  if (bytes <= 0) return 0;
  const double height = static_cast<double>(bytes) / top * rows * kEighths;
  return std::max(1, static_cast<int>(std::lround(std::min<double>(height, rows * kEighths))));
}

// What one character shows of a column; `low` is its foot, in eighths.
void AppendCell(const MemoryColumn& column, int low, int rows, double top, bool color,
                StyledLine* line) {
  const int needed = HeightOf(column.needed_bytes, top, rows) - low;
  const int held = HeightOf(column.held_bytes, top, rows) - low;
  const int limit = HeightOf(column.limit_bytes, top, rows) - low;
  const bool limit_here = column.known && static_cast<double>(column.limit_bytes) <= top &&
                          limit > 0 && limit <= kEighths;
  const auto filled = [](int height) {
    return kFilled[static_cast<size_t>(std::clamp(height, 0, kEighths))];
  };
  if (limit_here && std::max(needed, held) <= 0) {
    line->Append("─", Style::kLimit);
  } else if (limit_here && std::max(needed, held) > kEighths) {
    // What is above the limit does not hide it.
    line->Append("─", needed > 0 ? Style::kLimitOnNeeded : Style::kLimitOnHeld);
  } else if (needed > 0) {
    // A character has two colours, so that the rest of this one can be held only as a whole.
    const bool on_held = color && needed < kEighths && held >= kEighths;
    line->Append(filled(needed), on_held ? Style::kNeededOnHeld : Style::kNeeded);
  } else if (held > 0 && color) {
    line->Append(filled(held), Style::kHeld);
  } else if (held > 0 && (held >= kEighths / 2 || low == 0)) {
    line->Append("░", Style::kHeld);
  } else {
    line->Append(" ");
  }
}

StyledLine TimeLine(int columns, absl::Duration column_width) {
  const std::string start =
      absl::StrCat(DurationText(absl::ToDoubleSeconds(columns * column_width)), " ago");
  StyledLine line;
  line.PadTo(kChartMargin);
  if (columns < ColumnsOf(start) + 5) return line;
  line.Append(start, Style::kQuiet).PadTo(kChartMargin + columns - 3).Append("now", Style::kQuiet);
  return line;
}

}  // namespace

double ChartTop(absl::Span<const MemoryColumn> columns) {
  int64_t peak = 0;
  int64_t limit = 0;
  for (const MemoryColumn& column : columns) {
    peak = std::max({peak, column.held_bytes, column.needed_bytes});
  }
  for (const MemoryColumn& column : columns) {
    if (static_cast<double>(column.limit_bytes) <= kLimitOverPeakMax * static_cast<double>(peak)) {
      limit = std::max(limit, column.limit_bytes);
    }
  }
  const double most = static_cast<double>(std::max(peak, limit));
  if (most <= 0) return 1 << 20;
  double unit = 1;
  while (most >= 1024 * unit) unit *= 1024;
  const double step = unit * NiceStep(most / unit, 4);
  return step * std::ceil(most / step * (1 - 1e-9));
}

std::vector<StyledLine> DrawMemoryChart(absl::Span<const MemoryColumn> columns,
                                        absl::Duration column_width, int rows, bool color) {
  CHECK_GT(rows, 0);
  const double top = ChartTop(columns);
  std::vector<StyledLine> lines;
  for (int row = 0; row < rows; ++row) {
    const std::string label = row == 0 ? SizeText(top) : row == rows - 1 ? "0 bytes" : "";
    StyledLine line;
    line.PadTo(kChartMargin - 1 - ColumnsOf(label)).Append(label, Style::kQuiet).Append(" ");
    const int low = (rows - 1 - row) * kEighths;
    for (const MemoryColumn& column : columns) AppendCell(column, low, rows, top, color, &line);
    lines.push_back(line);
  }
  lines.push_back(TimeLine(static_cast<int>(columns.size()), column_width));
  return lines;
}

}  // namespace ebb::cli

#include "cli/top/table.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace ebb::cli {
namespace {

constexpr int kGapWide = 2;

using Row = std::vector<StyledLine>;

std::vector<int> WidthsOf(absl::Span<const TableColumn> columns, absl::Span<const Row> rows) {
  std::vector<int> widths;
  for (size_t i = 0; i < columns.size(); ++i) {
    int width = std::max(columns[i].columns_min, ColumnsOf(columns[i].title));
    for (const Row& row : rows) width = std::max(width, row[i].columns());
    widths.push_back(width);
  }
  return widths;
}

// The columns that fit, with gaps of one column at least, in their order.
std::vector<size_t> ColumnsThatFit(absl::Span<const TableColumn> columns,
                                   const std::vector<int>& widths, int width) {
  std::vector<size_t> kept(columns.size());
  std::iota(kept.begin(), kept.end(), 0);
  const auto needed = [&] {
    int sum = static_cast<int>(kept.size()) - 1;
    for (const size_t i : kept) sum += widths[i];
    return sum;
  };
  while (kept.size() > 1 && needed() > width) {
    kept.erase(std::min_element(kept.begin(), kept.end(), [&](size_t a, size_t b) {
      return columns[a].importance < columns[b].importance;
    }));
  }
  return kept;
}

}  // namespace

std::vector<StyledLine> DrawTable(absl::Span<const TableColumn> columns, absl::Span<const Row> rows,
                                  int width) {
  for (const Row& row : rows) CHECK_EQ(row.size(), columns.size());
  const std::vector<int> widths = WidthsOf(columns, rows);
  const std::vector<size_t> kept = ColumnsThatFit(columns, widths, width);
  int sum = 0;
  for (const size_t i : kept) sum += widths[i];
  const int gap = sum + kGapWide * (static_cast<int>(kept.size()) - 1) <= width ? kGapWide : 1;
  const auto line_of = [&](const Row& cells) {
    StyledLine line;
    int at = 0;
    for (const size_t i : kept) {
      line.PadTo(columns[i].left ? at : at + widths[i] - cells[i].columns()).Append(cells[i]);
      at += widths[i] + gap;
    }
    return line.CutTo(width);
  };
  Row titles;
  for (const TableColumn& column : columns) titles.emplace_back(column.title, Style::kQuiet);
  std::vector<StyledLine> lines = {line_of(titles)};
  for (const Row& row : rows) lines.push_back(line_of(row));
  return lines;
}

}  // namespace ebb::cli

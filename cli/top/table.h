// Table: rows under titles, each column as wide as what is in it; where the width is too small for
// all, the least important columns are left out. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "cli/top/styled_line.h"

namespace ebb::cli {

struct TableColumn {
  std::string title;
  int columns_min = 0;  // So that it does not move with each change of its contents.
  bool left = false;    // Else its contents stand at its right.
  int importance = 0;   // The least goes first.
};

// REQUIRES: each row has one cell for each column.
std::vector<StyledLine> DrawTable(absl::Span<const TableColumn> columns,
                                  absl::Span<const std::vector<StyledLine>> rows, int width);

}  // namespace ebb::cli

// MemoryChart: KV memory over the last minutes, in characters.
//
//     150.0 MiB ─────────────────────────   the limit, where it is not far above the curves
//                      ░░░░░░    ░░▅        held
//                   ▂▃▅█████▄▂▂▂▅██         needed
//       0 bytes     █████████████████
//               2 min ago             now
//
// Pure.
#pragma once

#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "cli/top/sample_history.h"
#include "cli/top/styled_line.h"

namespace ebb::cli {

// Columns that stand left of the curves.
constexpr int kChartMargin = 10;

// Greatest value that the chart shows, a round one above what was held and needed, and above the
// limits that leave the curves readable. Above 0.
double ChartTop(absl::Span<const MemoryColumn> columns);

// `rows` lines of curves and one for the time. Where `color` is false, what tells held from needed
// is the character alone. REQUIRES: rows > 0.
std::vector<StyledLine> DrawMemoryChart(absl::Span<const MemoryColumn> columns,
                                        absl::Duration column_width, int rows, bool color);

}  // namespace ebb::cli

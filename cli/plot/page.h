// The picture in a page of its own, with a table of figures and the values under the pointer.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/plot/memory_history.h"

namespace ebb::cli {

// What the table says, row by row: a name and a figure, both plain text.
std::vector<std::pair<std::string, std::string>> MemoryFigures(const MemoryHistory& history);

// Integral of held over that of needed; 0 where nothing was needed.
double HeldOverNeeded(const MemorySeries& series);

// One HTML file that loads nothing and may load nothing (its Content-Security-Policy). Without
// scripts it still shows picture and table. REQUIRES: the series has samples.
std::string DrawPage(const MemoryHistory& history, const std::string& title);

}  // namespace ebb::cli

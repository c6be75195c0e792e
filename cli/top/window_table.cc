#include "cli/top/window_table.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/top/number_text.h"
#include "cli/top/table.h"

namespace ebb::cli {
namespace {

using WindowList = std::vector<const v1::Window*>;

// The name of an enumeration's value without what all of its values begin with.
std::string NameText(absl::string_view name, absl::string_view prefix) {
  if (!absl::ConsumePrefix(&name, prefix) || name == "UNSPECIFIED") return "?";
  return absl::AsciiStrToLower(name);
}

// One queue after the other, each with at most its share of the rows, newest first.
WindowList Chosen(const v1::GetWindowsResponse& windows, int rows) {
  std::map<v1::Window::Queue, WindowList> queues;
  for (const v1::Window& window : windows.windows()) queues[window.queue()].push_back(&window);
  std::map<v1::Window::Queue, size_t> taken;
  for (bool more = true; more && rows > 0;) {
    more = false;
    for (const auto& [queue, list] : queues) {
      if (taken[queue] == list.size() || rows == 0) continue;
      ++taken[queue];
      --rows;
      more = true;
    }
  }
  WindowList chosen;
  for (auto& [queue, list] : queues) {
    std::reverse(list.begin(), list.end());
    list.resize(taken[queue]);
    chosen.insert(chosen.end(), list.begin(), list.end());
  }
  return chosen;
}

Style StyleOf(v1::Window::Reason reason) {
  switch (reason) {
    case v1::Window::REASON_GROW:
      return Style::kGood;
    case v1::Window::REASON_LIMIT:
    case v1::Window::REASON_LEASE:
    case v1::Window::REASON_FREE:
    case v1::Window::REASON_CEILING:
      return Style::kWarning;
    default:
      return Style::kQuiet;
  }
}

std::vector<StyledLine> RowOf(const v1::Window& window) {
  const auto count = [](bool has, int64_t value) {
    return CountText(has ? std::optional<int64_t>(value) : std::nullopt);
  };
  const auto duration = [](bool has, double seconds) {
    return DurationText(has ? std::optional<double>(seconds) : std::nullopt);
  };
  const std::string before = count(window.has_pages_before(), window.pages_before());
  const std::string after = count(window.has_pages_after(), window.pages_after());
  const bool granted = window.grant_blocks() >= window.demand_blocks();
  return {
      StyledLine(QueueText(window.queue())),
      StyledLine(count(window.has_number(), window.number()), Style::kQuiet),
      StyledLine(duration(window.has_age_seconds(), window.age_seconds()), Style::kQuiet),
      StyledLine(duration(window.has_length_seconds(), window.length_seconds())),
      StyledLine(count(window.has_steps(), window.steps())),
      StyledLine(count(window.has_sequences(), window.sequences()), Style::kStrong),
      StyledLine(count(window.has_demand_blocks(), window.demand_blocks())),
      StyledLine(count(window.has_grant_blocks(), window.grant_blocks()),
                 granted ? Style::kPlain : Style::kBad),
      StyledLine(before == after ? after : absl::StrCat(before, "→", after)),
      StyledLine(ReasonText(window.reason()), StyleOf(window.reason())),
  };
}

}  // namespace

std::string QueueText(v1::Window::Queue queue) {
  return NameText(v1::Window::Queue_Name(queue), "QUEUE_");
}

std::string ReasonText(v1::Window::Reason reason) {
  return NameText(v1::Window::Reason_Name(reason), "REASON_");
}

std::vector<StyledLine> DrawWindowTable(const v1::GetWindowsResponse& windows, int width,
                                        int lines_max) {
  if (lines_max <= 0) return {};
  const std::vector<TableColumn> columns = {
      {"window", 7, true, 9},  {"number", 6, false, 0}, {"age", 6, false, 1},
      {"length", 6, false, 3}, {"steps", 5, false, 2},  {"seqs", 4, false, 4},
      {"demand", 6, false, 8}, {"grant", 5, false, 7},  {"pages", 5, false, 6},
      {"reason", 7, true, 5},
  };
  std::vector<std::vector<StyledLine>> rows;
  for (const v1::Window* window : Chosen(windows, lines_max - 1)) rows.push_back(RowOf(*window));
  return DrawTable(columns, rows, width);
}

}  // namespace ebb::cli

#include "cli/top/frame.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "cli/top/memory_chart.h"
#include "cli/top/number_text.h"
#include "cli/top/window_table.h"

namespace ebb::cli {
namespace {

using Lines = std::vector<StyledLine>;

void Append(Lines lines, Lines* all) {
  for (StyledLine& line : lines) all->push_back(std::move(line));
}

// ---- the first line

StyledLine StateText(v1::ServerState state) {
  switch (state) {
    case v1::SERVER_STATE_READY:
      return StyledLine("ready", Style::kGood);
    case v1::SERVER_STATE_DRAINING:
      return StyledLine("draining", Style::kWarning);
    default:
      return StyledLine("?", Style::kWarning);
  }
}

StyledLine DrawTitle(const FrameInput& input, int width) {
  const v1::GetServerInfoResponse& server = input.sample.server;
  StyledLine state =
      input.silent_for.has_value() ? StyledLine("silent", Style::kBad) : StateText(server.state());
  if (server.has_uptime_seconds()) {
    state.Append(absl::StrCat("  up ", DurationText(server.uptime_seconds())));
  }
  // The state is more than the end of a long name.
  constexpr int kNameColumnsMin = 8;
  StyledLine line(Printable(input.sample.model.name()), Style::kStrong);
  line.CutTo(std::clamp(width - state.columns() - 2, kNameColumnsMin, std::max(width, 8)));
  line.Append("  ").Append(state);
  const int free = width - line.columns() - ColumnsOf(input.address);
  if (free >= 2) line.PadTo(line.columns() + free).Append(input.address, Style::kQuiet);
  return line;
}

StyledLine DrawSilence(const FrameInput& input) {
  return StyledLine(
      absl::StrCat("no answer for ", DurationText(absl::ToDoubleSeconds(*input.silent_for)),
                   ", trying again (", Printable(input.error), ")"),
      Style::kBad);
}

// ---- figures

struct Figure {
  absl::string_view name;
  std::string text;
  Style style = Style::kStrong;
};
struct Group {
  absl::string_view name;
  std::vector<Figure> figures;
};

std::vector<Group> FiguresOf(const FrameInput& input) {
  const v1::GetServerInfoResponse& server = input.sample.server;
  const v1::GetMemoryResponse& memory = input.sample.memory;
  const auto count = [](bool has, int64_t value) {
    return has ? std::optional<int64_t>(value) : std::nullopt;
  };
  const auto warn_if = [](bool warn) { return warn ? Style::kWarning : Style::kStrong; };
  const std::string flips = memory.has_flips_per_minute()
                                ? absl::StrCat(CountText(memory.flips_per_minute()), "/min")
                                : "-";
  std::vector<Group> groups = {
      {"requests",
       {{"running", CountText(count(server.has_running_requests(), server.running_requests()))},
        {"waiting", CountText(count(server.has_waiting_requests(), server.waiting_requests())),
         warn_if(server.waiting_requests() > 0)},
        {"finished", RateText(input.rates.finished)},
        {"preempted", CountText(count(server.has_preemptions_total(), server.preemptions_total())),
         warn_if(input.rates.preemptions.value_or(0) > 0)}}},
      {"tokens",
       {{"prefilled", RateText(input.rates.prefilled_tokens)},
        {"generated", RateText(input.rates.completion_tokens)}}},
      {"memory",
       {{"held", SizeText(count(memory.has_held_bytes(), memory.held_bytes())), Style::kHeld},
        {"needed", SizeText(count(memory.has_needed_bytes(), memory.needed_bytes())),
         Style::kNeeded},
        {"cached", SizeText(count(memory.has_cached_bytes(), memory.cached_bytes()))},
        {"limit", SizeText(count(memory.has_limit_bytes(), memory.limit_bytes())), Style::kLimit}}},
      {"pages",
       {{"mapped", CountText(count(memory.has_pages_mapped(), memory.pages_mapped()))},
        {"flips", flips, warn_if(memory.flips_per_minute() > 0)}}},
  };
  if (memory.swap_limit_bytes() > 0) {
    groups.push_back({"swap",
                      {{"swapped", SizeText(memory.swapped_bytes())},
                       {"up to", SizeText(memory.swap_limit_bytes())}}});
  }
  return groups;
}

constexpr int kGroupNameColumns = 10;
constexpr int kFigureColumns = 16;  // A name and a number, with a blank between.
constexpr int kFigureColumnsMax = 20;
constexpr int kFigureGap = 2;

// One line for each group where four figures fit beside its name; else without names, and with as
// many figures on a line as fit.
Lines DrawFigures(const std::vector<Group>& groups, int width) {
  constexpr int kAbreast = 4;
  const bool named = width >= kGroupNameColumns + kAbreast * (kFigureColumns + kFigureGap) - 2;
  const int left = named ? kGroupNameColumns : 0;
  const int abreast =
      named ? kAbreast
            : std::clamp((width + kFigureGap) / (kFigureColumns + kFigureGap), 1, kAbreast);
  const int slot = std::min((width - left + kFigureGap) / abreast, kFigureColumnsMax + kFigureGap);
  Lines lines;
  int at = abreast;  // Of the figures on the line.
  for (const Group& group : groups) {
    if (named) at = abreast;
    for (const Figure& figure : group.figures) {
      if (at == abreast) {
        lines.emplace_back(named ? group.name : "", Style::kQuiet);
        at = 0;
      }
      StyledLine& line = lines.back();
      // One that is wider than its place moves the next, and does not touch it.
      if (at > 0) line.Append(" ");
      line.PadTo(left + at * slot).Append(figure.name, Style::kQuiet).Append(" ");
      ++at;
      const int end = left + at * slot - kFigureGap;
      line.PadTo(end - ColumnsOf(figure.text)).Append(figure.text, figure.style);
    }
  }
  return lines;
}

// Held and the needed part of it, out of the limit.
StyledLine DrawGauge(const v1::GetMemoryResponse& memory, int width, bool color) {
  const auto limit = static_cast<double>(memory.limit_bytes());
  const auto held = static_cast<double>(std::max<int64_t>(0, memory.held_bytes()));
  const auto needed = static_cast<double>(std::max<int64_t>(0, memory.needed_bytes()));
  std::string text;
  if (limit <= 0) {
    text = "no limit is known";
    if (memory.has_limit_bytes()) text = "the limit leaves nothing";
  } else {
    const double percent = held / limit * 100;
    text = absl::StrCat(
        percent > 999 ? std::string(">999") : absl::StrFormat("%.0f", std::ceil(percent)),
        "% of the limit");
  }
  const int bar = width - ColumnsOf(text) - 3;
  if (bar < 4) return StyledLine(text);
  const auto share = [&](double bytes) {
    if (limit <= 0) return bytes > 0 ? bar : 0;
    return static_cast<int>(std::ceil(std::min(1.0, bytes / limit) * bar));
  };
  const int needed_columns = share(needed);
  const int held_columns = std::max(needed_columns, share(held));
  StyledLine line("[", Style::kQuiet);
  for (int i = 0; i < needed_columns; ++i) line.Append("█", Style::kNeeded);
  for (int i = needed_columns; i < held_columns; ++i) {
    line.Append(color ? "█" : "░", Style::kHeld);
  }
  line.PadTo(1 + bar).Append("] ", Style::kQuiet);
  return line.Append(text, held > limit ? Style::kBad : Style::kPlain);
}

// ---- the chart

Lines DrawChart(const FrameInput& input, int width, int lines_max) {
  const int columns = width - kChartMargin;
  if (columns < 4 || lines_max < 3) return {};
  const absl::Duration column_width = ColumnWidth(columns, input.interval);
  const std::vector<MemoryColumn> history = input.history->Columns(columns, column_width);
  StyledLine title("memory ", Style::kQuiet);
  title.PadTo(kChartMargin).Append("█ ", Style::kNeeded).Append("needed  ", Style::kQuiet);
  title.Append(input.color ? "█ " : "░ ", Style::kHeld).Append("held  ", Style::kQuiet);
  title.Append("─ ", Style::kLimit).Append("limit", Style::kQuiet);
  const auto limit = static_cast<double>(input.sample.memory.limit_bytes());
  if (limit > ChartTop(history)) title.Append(" ↑", Style::kQuiet);
  Lines lines = {title};
  Append(DrawMemoryChart(history, column_width, lines_max - 2, input.color), &lines);
  return lines;
}

}  // namespace

std::vector<StyledLine> DrawFrame(const FrameInput& input, int width, int height) {
  CHECK(width > 0 && height > 0);
  Lines frame = {DrawTitle(input, width)};
  if (input.silent_for.has_value()) frame.push_back(DrawSilence(input));
  Append(DrawFigures(FiguresOf(input), width), &frame);
  frame.push_back(DrawGauge(input.sample.memory, width, input.color));

  // What is left is for the chart and the windows, with a blank line before each where there is
  // room.
  constexpr int kRoomy = 14;
  int left = height - static_cast<int>(frame.size());
  const bool roomy = left >= kRoomy;
  if (roomy) left -= 2;
  const int chart_lines = (left + 1) * 9 / 20;
  if (roomy) frame.emplace_back();
  Append(DrawChart(input, width, chart_lines), &frame);
  if (roomy) frame.emplace_back();
  left = height - static_cast<int>(frame.size());
  if (input.sample.windows.has_value()) {
    Append(DrawWindowTable(*input.sample.windows, width, std::max(0, left)), &frame);
  } else if (left > 0) {
    frame.emplace_back("this server does not tell its windows", Style::kQuiet);
  }
  if (static_cast<int>(frame.size()) > height) frame.resize(static_cast<size_t>(height));
  for (StyledLine& line : frame) line.CutTo(width);
  return frame;
}

}  // namespace ebb::cli

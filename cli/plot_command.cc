// ebb plot: a picture of KV memory from a server's log. Asks no server.
#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/plot/axis.h"
#include "cli/plot/memory_history.h"
#include "cli/plot/page.h"
#include "cli/plot/picture.h"
#include "cli/text_file.h"

namespace ebb::cli {
namespace {

constexpr absl::string_view kStandardTitle = "KV memory held and needed";

absl::StatusOr<MemoryHistory> ReadHistory(const std::string& path, std::istream* in) {
  if (path == "-") return ReadMemoryHistory(in);
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": cannot be opened: ", std::strerror(errno)));
  }
  MemoryHistory history = ReadMemoryHistory(&file);
  if (file.bad()) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read"));
  return history;
}

absl::Status WriteWhole(const std::string& path, const std::string& text) {
  errno = 0;
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  if (file.good()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": cannot be written: ", std::strerror(errno)));
}

// What was passed over, for standard error; empty if nothing was.
std::string Skipped(const MemoryHistory& history, absl::string_view source) {
  std::string out;
  if (const int64_t lines = history.lines_foreign + history.lines_too_long; lines > 0) {
    absl::StrAppend(&out, "ebb plot: ", source, ": passed over ", lines,
                    lines == 1 ? " line" : " lines", " (", history.lines_foreign,
                    " not of a server's log or cut short, ", history.lines_too_long,
                    " longer than ", LineReader::kLineBytesMax, " bytes)\n");
  }
  if (history.steps_back > 0) {
    absl::StrAppend(&out, "ebb plot: ", source, ": time stepped back ", history.steps_back,
                    history.steps_back == 1 ? " time" : " times",
                    "; what follows is drawn right after what was before\n");
  }
  return out;
}

absl::StatusOr<std::string> Plot(const Args& args, Terminal* terminal) {
  if (args.words().size() != 1) {
    return absl::InvalidArgumentError("give one LOG, a file or - for standard input");
  }
  const std::string& log = args.words()[0];
  const std::string output = args.Text("output").value_or("");
  const bool page = absl::EndsWithIgnoreCase(output, ".html");
  if (!page && !absl::EndsWithIgnoreCase(output, ".svg")) {
    return absl::InvalidArgumentError("--output: give a FILE that ends in .svg or .html");
  }
  const std::string title = args.Text("title").value_or(std::string(kStandardTitle));
  RETURN_IF_ERROR(CheckUtf8(title, "--title"));
  ASSIGN_OR_RETURN(const MemoryHistory history, ReadHistory(log, terminal->in));
  const std::string source = log == "-" ? "standard input" : log;
  *terminal->err << Skipped(history, source) << std::flush;
  const MemorySeries& series = history.series;
  if (series.samples() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        source, ": no line tells of memory; is it a server's log, with log.windows on?"));
  }
  RETURN_IF_ERROR(
      WriteWhole(output, page ? DrawPage(history, title) : DrawPicture(history, title)));
  const double ratio = HeldOverNeeded(series);
  return absl::StrCat(
      output, ": ", history.windows, history.windows == 1 ? " window" : " windows", " over ",
      SecondsText(static_cast<double>(series.end_ms() - series.start_ms()) / 1000), ", peak held ",
      BytesText(static_cast<double>(series.Peak(Curve::kHeld))), ", held/needed ",
      ratio == 0 ? std::string("-") : absl::StrFormat("%.2f", ratio), ", preemptions ",
      history.preemptions, "\n");
}

ExitCode RunPlot(const Args& args, Connection*, Terminal* terminal) {
  const absl::StatusOr<std::string> summary = Plot(args, terminal);
  if (!summary.ok()) return FailUsage(terminal, summary.status());
  *terminal->out << *summary;
  return ExitCode::kOk;
}

}  // namespace

Command PlotCommand() {
  return {"plot",
          "LOG",
          "Draw KV memory held, needed and limit over time from a server's log.",
          {{"output", "FILE",
            "Where to write: .svg, the picture; .html, a page with figures and values to point at.",
            false, 'o'},
           {"title", "TEXT", "Default: KV memory held and needed."}},
          RunPlot};
}

}  // namespace ebb::cli

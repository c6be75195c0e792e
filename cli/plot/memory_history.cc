#include "cli/plot/memory_history.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"

namespace ebb::cli {
namespace {

constexpr int64_t kStepBackMs = 1000;
constexpr int64_t kSpanMsMax = int64_t{100} * 365 * 86400 * 1000;  // A hundred years.
constexpr size_t kModelBytesMax = 120;

class HistoryBuilder {
 public:
  explicit HistoryBuilder(MemoryHistory* history) : history_(history) {}

  // False for a line that no log of a server's life can have.
  bool Take(const LogEvent& event) {
    const int64_t time_ms = Straighten(event.time_ms);
    if (time_ms < 0) return false;
    if (event.name == "config" || event.name == "loading" || event.name == "ready") {
      history_->series.Pause(0);
      run_begins_ = true;
      preemptions_before_ = 0;
    } else if (event.name == "stopped") {
      history_->series.Pause(time_ms);
      run_begins_ = true;
    } else if (event.name == "request_finished") {
      ++history_->requests_finished;
      by_request_ += event.preemptions.value_or(0);
    } else if (event.name == "window") {
      ++history_->windows;
    }
    if (event.name == "ready" && history_->model.empty()) {
      history_->model = event.model;
    }
    if (event.memory.has_value()) TakeSample(event, time_ms);
    return true;
  }

  void Finish() {
    history_->preemptions = preemptions_told_ ? history_->series.preemptions() : by_request_;
  }

 private:
  // Time since the first line, forward only; below 0 when it leads too far.
  int64_t Straighten(int64_t time_ms) {
    if (!begun_) offset_ms_ = -time_ms;
    begun_ = true;
    const int64_t straight_ms = time_ms + offset_ms_;
    if (straight_ms > kSpanMsMax) return -1;
    if (straight_ms <= latest_ms_ - kStepBackMs) {
      ++history_->steps_back;
      offset_ms_ = latest_ms_ - time_ms;
    }
    latest_ms_ = std::max(latest_ms_, straight_ms);
    return latest_ms_;
  }

  void TakeSample(const LogEvent& event, int64_t time_ms) {
    if (history_->series.samples() == 0) history_->first_time_ms = event.time_ms;
    if (run_begins_) ++history_->server_runs;
    run_begins_ = false;
    int64_t preemptions = 0;
    if (event.preemptions_total.has_value()) {
      preemptions_told_ = true;
      // A count that goes down, or a log that begins in the middle: from here on, then.
      const int64_t total = *event.preemptions_total;
      if (preemptions_before_ >= 0) preemptions = std::max(int64_t{0}, total - preemptions_before_);
      preemptions_before_ = total;
    }
    history_->series.Add(time_ms, *event.memory, preemptions);
  }

  MemoryHistory* const history_;
  bool begun_ = false;
  int64_t latest_ms_ = 0;
  int64_t offset_ms_ = 0;
  bool run_begins_ = true;
  bool preemptions_told_ = false;
  int64_t preemptions_before_ = -1;  // Not known.
  int64_t by_request_ = 0;
};

}  // namespace

MemoryHistory ReadMemoryHistory(std::istream* in) {
  MemoryHistory history;
  HistoryBuilder builder(&history);
  LineReader reader(in);
  std::string line;
  for (;;) {
    const LineReader::Result result = reader.Next(&line);
    if (result == LineReader::Result::kEnd) break;
    if (result == LineReader::Result::kTooLong) {
      ++history.lines_too_long;
      continue;
    }
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    const std::optional<LogEvent> event = ParseLogLine(line);
    if (!event.has_value() || !builder.Take(*event)) ++history.lines_foreign;
  }
  builder.Finish();
  return history;
}

}  // namespace ebb::cli

#include "base/log.h"

#include <optional>
#include <utility>

#include "absl/time/time.h"

namespace ebb::base {

StreamLog::StreamLog(std::FILE* out, const Clock* clock, size_t queue_lines_max)
    : out_(out), clock_(clock), lines_(queue_lines_max), writer_([this] { WriteLines(); }) {}

StreamLog::~StreamLog() {
  lines_.Close();
  writer_.join();
}

void StreamLog::Write(absl::string_view event, nlohmann::ordered_json fields) {
  nlohmann::ordered_json line;
  line["time"] = absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", clock_->Now(), absl::UTCTimeZone());
  line["event"] = std::string(event);
  if (const int64_t dropped = dropped_count_.exchange(0); dropped > 0) {
    line["lines_dropped_before"] = dropped;
  }
  line.update(fields);
  std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.push_back('\n');
  if (!lines_.TryPush(std::move(text))) dropped_count_.fetch_add(1);
}

void StreamLog::WriteLines() {
  while (std::optional<std::string> line = lines_.Pop()) {
    std::fwrite(line->data(), 1, line->size(), out_);
    if (lines_.size() == 0) std::fflush(out_);
  }
}

}  // namespace ebb::base

#include "base/log.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/time/time.h"

namespace ebb::base {

StreamLog::StreamLog(std::FILE* out, const Clock* clock, size_t queue_lines_max)
    : fd_(fileno(out)), clock_(clock), lines_(queue_lines_max), writer_([this] { WriteLines(); }) {}

StreamLog::~StreamLog() {
  closing_ = true;
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
  // ASCII alone: what is not could turn a terminal's line about, or command it (C1 controls).
  std::string text =
      line.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  text.push_back('\n');
  if (!lines_.TryPush(std::move(text))) dropped_count_.fetch_add(1);
}

void StreamLog::WriteLines() {
  bool written = true;
  while (std::optional<std::string> line = lines_.Pop()) {
    written = written && WriteText(*line);
  }
}

bool StreamLog::WriteText(absl::string_view text) {
  constexpr int kPollMs = 100;
  constexpr int kPollsMax = 10;
  int poll_count = 0;  // In a row, without anything written, since the log is closing.
  while (!text.empty()) {
    pollfd out = {fd_, POLLOUT, 0};
    if (poll(&out, 1, kPollMs) <= 0) {
      if (closing_ && ++poll_count >= kPollsMax) return false;
      continue;
    }
    // A pipe that polls as writable takes so many bytes without blocking.
    const ssize_t count = write(fd_, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0) return true;  // Nobody to tell: the line is lost, the next one may do better.
    text.remove_prefix(static_cast<size_t>(count));
    poll_count = 0;
  }
  return true;
}

}  // namespace ebb::base

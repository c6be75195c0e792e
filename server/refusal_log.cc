#include "server/refusal_log.h"

#include <string>

namespace ebb::server {

void RefusalLog::Write(const absl::Status& status) {
  const absl::Time now = clock_->Now();
  int64_t unlogged_count = 0;
  {
    base::MutexLock lock(&mutex_);
    PerCode& code = codes_[static_cast<size_t>(status.code())];
    ++code.total_count;
    if (now - code.last_line < absl::Seconds(1)) {
      ++code.unlogged_count;
      return;
    }
    code.last_line = now;
    unlogged_count = code.unlogged_count;
    code.unlogged_count = 0;
  }
  log_->Write("request_refused", {{"status", absl::StatusCodeToString(status.code())},
                                  {"reason", std::string(status.message())},
                                  {"more_since_last_line", unlogged_count}});
}

RefusalLog::Counts RefusalLog::counts() const {
  base::MutexLock lock(&mutex_);
  Counts counts{};
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = codes_[i].total_count;
  return counts;
}

}  // namespace ebb::server

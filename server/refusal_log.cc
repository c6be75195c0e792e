#include "server/refusal_log.h"

#include <utility>

#include "server/client_text.h"

namespace ebb::server {

void RefusalLog::Write(const absl::Status& status, const std::string& request_id) {
  const bool our_fault = IsOurFault(status);
  const absl::Time now = clock_->Now();
  int64_t unlogged_count = 0;
  {
    base::MutexLock lock(&mutex_);
    PerCode& code = codes_[static_cast<size_t>(status.code())];
    ++code.total_count;
    if (!our_fault && now - code.last_line < absl::Seconds(1)) {
      ++code.unlogged_count;
      return;
    }
    code.last_line = now;
    unlogged_count = code.unlogged_count;
    code.unlogged_count = 0;
  }
  nlohmann::ordered_json line = {{"status", absl::StatusCodeToString(status.code())},
                                 {"reason", std::string(status.message())},
                                 {"more_since_last_line", unlogged_count}};
  if (our_fault && !request_id.empty()) line["label"] = request_id;
  log_->Write("request_refused", std::move(line));
}

RefusalLog::Counts RefusalLog::counts() const {
  base::MutexLock lock(&mutex_);
  Counts counts{};
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = codes_[i].total_count;
  return counts;
}

}  // namespace ebb::server

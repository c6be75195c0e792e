// KeepLog: a Log for tests that look at what was written.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"

namespace ebb::server {

// Thread-safe.
class KeepLog final : public base::Log {
 public:
  void Write(absl::string_view event, nlohmann::ordered_json fields) override {
    base::MutexLock lock(&mutex_);
    lines_.emplace_back(std::string(event), std::move(fields));
  }
  std::vector<nlohmann::ordered_json> Of(const std::string& event) const {
    base::MutexLock lock(&mutex_);
    std::vector<nlohmann::ordered_json> found;
    for (const auto& [name, fields] : lines_) {
      if (name == event) found.push_back(fields);
    }
    return found;
  }

 private:
  mutable base::Mutex mutex_;
  std::vector<std::pair<std::string, nlohmann::ordered_json>> lines_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb::server

// ServiceRate: how long tokens take, prefilled or made, while the engine works; lately, not always.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/time/time.h"

namespace ebb::engine {

// Thread-compatible.
class ServiceRate {
 public:
  // A step that ended. Steps of two lanes may overlap: time counts once.
  void Add(int64_t tokens, absl::Time started, absl::Time ended) {
    const absl::Duration busy =
        std::max(absl::ZeroDuration(), ended - std::max(started, last_ended_));
    last_ended_ = std::max(last_ended_, ended);
    const double kept = std::exp(-absl::FDivDuration(busy, kMemory));
    tokens_ = tokens_ * kept + static_cast<double>(tokens);
    busy_ = busy_ * kept + busy;
  }

  // Of so many tokens, were they all that is to be done; zero before anything has been measured.
  absl::Duration TimeFor(int64_t tokens) const {
    return tokens_ > 0 ? busy_ * (static_cast<double>(tokens) / tokens_) : absl::ZeroDuration();
  }

 private:
  static constexpr absl::Duration kMemory = absl::Seconds(10);  // Of work.

  double tokens_ = 0;
  absl::Duration busy_;
  absl::Time last_ended_ = absl::InfinitePast();
};

}  // namespace ebb::engine

// A refusal that says when to try again: it travels in the status from whoever knows it to whoever
// tells the client.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace ebb::base {

inline constexpr char kRetryAfterMark[] = "ebb/retry-after-seconds";

// Whole seconds, rounded up, at least 1. REQUIRES: the status is not OK.
inline absl::Status WithRetryAfter(absl::Status status, absl::Duration after) {
  const int64_t seconds = absl::ToInt64Seconds(absl::Ceil(after, absl::Seconds(1)));
  status.SetPayload(kRetryAfterMark, absl::Cord(absl::StrCat(seconds < 1 ? 1 : seconds)));
  return status;
}

// Nothing where the status does not say.
inline std::optional<int64_t> RetryAfterSeconds(const absl::Status& status) {
  const auto text = status.GetPayload(kRetryAfterMark);
  int64_t seconds = 0;
  if (!text.has_value() || !absl::SimpleAtoi(std::string(*text), &seconds)) return std::nullopt;
  return seconds;
}

}  // namespace ebb::base

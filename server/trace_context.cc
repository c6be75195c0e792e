#include "server/trace_context.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace ebb::server {
namespace {

constexpr size_t kLength = 55;
constexpr size_t kTraceAt = 3;
constexpr size_t kTraceDigits = 32;
constexpr size_t kParentAt = kTraceAt + kTraceDigits + 1;
constexpr size_t kParentDigits = 16;
constexpr size_t kFlagsAt = kParentAt + kParentDigits + 1;

// The standard knows small letters only.
bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(absl::string_view digits) {
  return digits.find_first_not_of('0') == absl::string_view::npos;
}

}  // namespace

std::string TraceIdOf(absl::string_view traceparent) {
  if (traceparent.size() != kLength || !absl::StartsWith(traceparent, "00-")) return "";
  if (traceparent[kParentAt - 1] != '-' || traceparent[kFlagsAt - 1] != '-') return "";
  const absl::string_view trace = traceparent.substr(kTraceAt, kTraceDigits);
  const absl::string_view parent = traceparent.substr(kParentAt, kParentDigits);
  if (!IsHex(trace) || !IsHex(parent) || !IsHex(traceparent.substr(kFlagsAt))) return "";
  if (IsZero(trace) || IsZero(parent)) return "";
  return std::string(trace);
}

}  // namespace ebb::server

#include "server/trace_context.h"

#include <algorithm>

namespace ebb::server {
namespace {

constexpr size_t kTraceAt = 3;
constexpr size_t kTraceDigits = 32;
constexpr size_t kParentAt = kTraceAt + kTraceDigits + 1;
constexpr size_t kParentDigits = 16;
constexpr size_t kFlagsAt = kParentAt + kParentDigits + 1;
constexpr size_t kFlagDigits = 2;
constexpr size_t kLength = kFlagsAt + kFlagDigits;

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
  if (traceparent.size() < kLength) return "";
  const absl::string_view version = traceparent.substr(0, kTraceAt - 1);
  if (!IsHex(version) || version == "ff") return "";
  const absl::string_view more = traceparent.substr(kLength);
  if (!more.empty() && (version == "00" || more[0] != '-')) return "";
  for (const size_t dash : {kTraceAt - 1, kParentAt - 1, kFlagsAt - 1}) {
    if (traceparent[dash] != '-') return "";
  }
  const absl::string_view trace = traceparent.substr(kTraceAt, kTraceDigits);
  const absl::string_view parent = traceparent.substr(kParentAt, kParentDigits);
  if (!IsHex(trace) || !IsHex(parent) || !IsHex(traceparent.substr(kFlagsAt, kFlagDigits)))
    return "";
  if (IsZero(trace) || IsZero(parent)) return "";
  return std::string(trace);
}

std::string TraceIdOf(absl::Span<const absl::string_view> traceparents) {
  return traceparents.size() == 1 ? TraceIdOf(traceparents[0]) : "";
}

}  // namespace ebb::server

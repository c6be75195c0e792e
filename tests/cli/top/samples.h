// Samples as a server would give them.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/top/sample.h"
#include "cli/top/styled_line.h"

namespace ebb::cli {

inline constexpr int64_t kMebibyte = 1 << 20;

// The moment so many seconds after a start that is the same for all tests, a whole hour.
inline absl::Time At(double seconds) {
  return absl::FromUnixSeconds(3600 * 490'000) + absl::Seconds(seconds);
}

inline v1::Window MakeWindow(v1::Window::Queue queue, int64_t number, v1::Window::Reason reason) {
  v1::Window window;
  window.set_queue(queue);
  window.set_number(number);
  window.set_age_seconds(0.25 * static_cast<double>(20 - number));
  window.set_length_seconds(0.035 * static_cast<double>(number));
  window.set_steps(16);
  window.set_sequences(number);
  window.set_static_blocks(number * 10);
  window.set_dynamic_blocks(number);
  window.set_slack_blocks(1);
  window.set_demand_blocks(number * 11 + 1);
  window.set_grant_blocks(reason == v1::Window::REASON_LIMIT ? number * 10 : number * 11 + 1);
  window.set_pages_before(number);
  window.set_pages_after(reason == v1::Window::REASON_GROW ? number + 2 : number);
  window.set_reason(reason);
  return window;
}

// A busy server that has been up for `seconds`: each second it finishes 2 requests, and computes
// 100 tokens of prompts and 40 of answers.
inline Sample BusySample(double seconds) {
  Sample sample;
  sample.time = At(seconds);
  const auto total = static_cast<int64_t>(seconds * 100);
  sample.model.set_name("tiny-model");
  sample.server.set_uptime_seconds(seconds);
  sample.server.set_state(v1::SERVER_STATE_READY);
  sample.server.set_running_requests(12);
  sample.server.set_waiting_requests(3);
  sample.server.set_finished_total(total / 50);
  sample.server.set_preemptions_total(4);
  sample.server.set_prefilled_tokens_total(total);
  sample.server.set_completion_tokens_total(total * 2 / 5);
  sample.memory.set_held_bytes(96 * kMebibyte);
  sample.memory.set_needed_bytes(60 * kMebibyte);
  sample.memory.set_cached_bytes(0);
  sample.memory.set_limit_bytes(128 * kMebibyte);
  sample.memory.set_pages_mapped(16);
  sample.memory.set_flips_per_minute(1);
  v1::GetWindowsResponse& windows = sample.windows.emplace();
  *windows.add_windows() = MakeWindow(v1::Window::QUEUE_PREFILL, 8, v1::Window::REASON_GROW);
  *windows.add_windows() = MakeWindow(v1::Window::QUEUE_PREFILL, 9, v1::Window::REASON_STEADY);
  for (int64_t number = 12; number < 18; ++number) {
    *windows.add_windows() =
        MakeWindow(v1::Window::QUEUE_DECODE, number,
                   number == 16 ? v1::Window::REASON_LIMIT : v1::Window::REASON_STEADY);
  }
  return sample;
}

inline Sample SilentSample(double seconds) {
  Sample sample;
  sample.time = At(seconds);
  sample.status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  sample.error = "no server answers at 127.0.0.1:1";
  return sample;
}

// The lines as plain text, each with its end.
inline std::string TextOf(const std::vector<StyledLine>& lines) {
  return absl::StrJoin(lines, "", [](std::string* out, const StyledLine& line) {
    absl::StrAppend(out, line.Plain(), "\n");
  });
}

}  // namespace ebb::cli

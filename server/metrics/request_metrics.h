// RequestMetrics: what is counted where requests are served. No lock and no memory is taken: tokens
// are observed on the engine's threads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "engine/request.h"
#include "server/metrics/families.h"
#include "server/metrics/histogram.h"

namespace ebb::server {

// What a request's metrics rest on. It belongs to the request's call, and is used by one thread at
// a time, as the engine's sink is.
struct RequestTimes {
  absl::Time received;                           // When the call began.
  absl::Time last_token = absl::InfinitePast();  // None yet.
};

// Why a request ended before its time.
enum class CancelCause {
  kClient,    // It left.
  kDeadline,  // Its deadline passed.
  kShutdown,  // The server drained, or lost its device.
  kMemory,    // A memory limit had no room for it.
  kFailure,   // Anything else: ours, or the device's.
};

// Thread-safe.
class RequestMetrics {
 public:
  RequestMetrics();

  // The engine has taken the request.
  void OnAccepted(int64_t prompt_tokens);
  void OnToken(RequestTimes* times, absl::Time now);
  void OnFinish(const RequestTimes& times, const engine::Finish& finish, absl::Time now);

  void Collect(Families* families) const;

 private:
  static constexpr size_t kReasons = std::size(engine::kFinishReasons);
  static constexpr size_t kCauses = static_cast<size_t>(CancelCause::kFailure) + 1;

  std::array<std::atomic<int64_t>, kReasons> finished_{};
  std::array<std::atomic<int64_t>, kCauses> cancelled_{};
  std::atomic<int64_t> prompt_tokens_ = 0;
  Histogram first_token_;
  Histogram inter_token_;
  Histogram per_output_token_;
  Histogram duration_;
  Histogram queue_;
  Histogram prefill_;
  Histogram decode_;
  Histogram inference_;
  Histogram prompt_length_;
  Histogram generation_length_;
};

}  // namespace ebb::server

// PrefixReplay: a trace whose prompts begin alike, sent to a simulated server with a real engine.
#pragma once

#include <cstdint>
#include <optional>

#include "bench/memory/prefix_trace.h"
#include "bench/memory/step_times.h"
#include "engine/options.h"

namespace ebb::bench {

struct PrefixReplayOptions {
  int64_t blocks = 0;        // Room for so many, a whole number of pages.
  int32_t running_max = 64;  // Requests at once.
  std::optional<engine::PrefixCacheOptions> prefix_cache;  // None: off.
};

struct PrefixReplayResult {
  double hit_rate = 0;  // Of all prompts' tokens.
  double answers_per_second = 0;
  // First token within 10 s, no later one 2 s after the one before.
  double good_per_second = 0;
  double first_token_mean_s = 0;
  double first_token_p50_s = 0;
  double first_token_p99_s = 0;
  int64_t prefilled_tokens = 0;
  int64_t preemptions = 0;
  double mean_held_bytes = 0;
};

// A page of the simulated server.
inline constexpr int64_t kPrefixPageBlocks = 16;
inline constexpr int64_t kPrefixPageBytes = int64_t{6} << 20;

PrefixReplayResult ReplayPrefixes(const PrefixTrace& trace, const PrefixReplayOptions& options,
                                  const StepTimes& times);

}  // namespace ebb::bench

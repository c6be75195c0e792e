// LocalEngineOptions: every setting of the engine, with its default. config/ fills it from JSON.
//
// A plain value, copied into the engine when it is made; nothing here changes afterwards except the
// memory limit, through Engine::SetMemoryLimit.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace ebb::engine {

// How many queues of executing requests there are, each with its windows, its account and its loop.
enum class Queues {
  kSeparate,  // Prefill and decode apart: two lanes, side by side.
  kOne,  // One for both: a step makes a token for each decoding sequence and takes prompts too.
};

// Who waits, who runs.
struct QueueOptions {
  Queues queues = Queues::kSeparate;
  // Requests that wait for their first prefill step, at most. Submit answers RESOURCE_EXHAUSTED
  // past it.
  int32_t queue_requests_max = 256;
  // Prompt tokens that these have to be prefilled for, at most; 0: no bound. It bounds the time to
  // a first token, which a count of requests does not.
  int32_t queue_prompt_tokens_max = 0;
  // Sequences that hold blocks, in all lanes together, at most.
  int32_t running_sequences_max = 64;
  // A waiting request moves up one priority level each time it has waited this long.
  absl::Duration ageing = absl::Seconds(10);
  // A sequence that was preempted is not chosen again before it has made this many new tokens.
  int32_t resume_immunity_tokens = 16;
  // A request is expected to make min(max_tokens, this) tokens while nothing better is known.
  int32_t growth_prior_tokens = 256;
  // Requests start while mean and so many hundredths of the standard deviation of what will be held
  // fit.
  int32_t growth_deviations_percent = 150;
};

// The shape of a step.
struct StepOptions {
  // Prompt tokens in one step, over all its sequences, at most.
  int32_t chunk_tokens_max = 512;
  // Prompt rows whose logits one step computes for prompt log-probabilities, at most: a row of
  // logits is as large as the vocabulary.
  int32_t logits_rows_max = 64;
  // While prompts are being prefilled, the time between two tokens of a decoding sequence is kept
  // under this (as far as one decode step allows).
  absl::Duration max_gap = absl::Milliseconds(200);
};

// The windows for which memory is planned.
struct WindowOptions {
  // A prefill window lasts as long as the executing prompts are predicted to need, within these.
  // The one queue has no such windows.
  absl::Duration prefill_min = absl::Milliseconds(50);
  absl::Duration prefill_max = absl::Milliseconds(500);
  // A decode window, as one of the one queue, ends by step count; not before decode_min when it
  // closes early because somebody waits for its boundary, and no later than decode_max.
  int32_t decode_steps = 16;
  absl::Duration decode_min = absl::Milliseconds(50);
  absl::Duration decode_max = absl::Seconds(2);
};

// How the static part of a window's demand is estimated.
enum class StaticEstimator {
  kByTokens,  // Token counts times bytes per token, rounded up to blocks.
  kByUsage,   // What the accounts show.
};

// The KV memory.
struct MemoryOptions {
  // KV pages and workspaces held, at most; Engine::SetMemoryLimit changes it.
  int64_t limit_bytes = int64_t{1} << 30;
  // Address space reserved once for KV pages: the limit can never be raised above it.
  int64_t ceiling_bytes = int64_t{4} << 30;
  // Left free on the device for others.
  int64_t headroom_bytes = int64_t{256} << 20;
  // KV pages up to this are mapped at the start and stay mapped, within the limit and what other
  // servers leave. With the limit's value: a static pool.
  int64_t keep_bytes = 0;
  // Tokens in a block: a power of two, or 0 for 16.
  int32_t block_tokens = 0;
  // Pages granted to a window beyond what it needs.
  int32_t slack_pages = 0;
  // Pages made ready ahead of a boundary, counted as held.
  int32_t prepared_pages = 0;
  // Nothing running for this long: every page is unmapped.
  absl::Duration idle = absl::Seconds(5);
  // Shrinking goes down to the largest demand of the last `shrink_windows` windows, once there has
  // been too much for `shrink_after`, at most `shrink_pages_max` pages at a time.
  int32_t shrink_windows = 4;
  absl::Duration shrink_after = absl::Milliseconds(200);
  int32_t shrink_pages_max = 16;
  // Compaction: blocks of running sequences move together so that pages can be given back, when so
  // many percent of the pages that they would fill are mapped (0: never), or the limit asks for it.
  int32_t compact_above_percent = 110;
  // Bytes that are copied for it in one window of a queue, at most.
  int64_t compact_bytes_max = int64_t{32} << 20;
  // Keys and values of preempted sequences that are kept elsewhere, at most: in pinned host memory
  // for a CUDA device, else in a file. 0: none.
  int64_t swap_bytes_max = 0;
  std::string swap_directory = "/var/tmp";  // The file's.
  // So long running requests go on in what they are expected to need while other servers lack only
  // what is theirs by weight.
  absl::Duration sharing_grace = absl::Seconds(5);
  StaticEstimator static_estimator = StaticEstimator::kByTokens;
};

// Prefixes that were computed before are found again (memory/prefix_cache.h).
struct PrefixCacheOptions {
  bool enabled = true;
  // What nobody uses is kept so long after its last use, and so much longer each time its uses
  // double; not at all when the memory is wanted.
  absl::Duration idle = absl::Seconds(60);
  // Of it, this much stays until the memory is wanted.
  int64_t floor_bytes = 0;
  // A waiting request whose prompt's beginning is there may start before others whose turn comes
  // up to so much earlier.
  absl::Duration ahead = absl::Seconds(1);
};

// Which events are logged. State changes and refusals always are.
struct LogOptions {
  bool windows = true;
  bool requests = true;
};

struct LocalEngineOptions {
  QueueOptions queue;
  StepOptions step;
  WindowOptions window;
  MemoryOptions memory;
  PrefixCacheOptions prefix_cache;
  LogOptions log;
};

// INVALID_ARGUMENT naming the first field that is out of range, and the range.
absl::Status Validate(const LocalEngineOptions& options);

}  // namespace ebb::engine

#include "engine/options.h"

#include "absl/strings/str_cat.h"

namespace ebb::engine {
namespace {

// One condition of one field. `range` says what is allowed.
struct Rule {
  bool holds;
  absl::string_view field;
  absl::string_view range;
};

bool IsPowerOfTwo(int64_t x) { return x > 0 && (x & (x - 1)) == 0; }

}  // namespace

absl::Status Validate(const LocalEngineOptions& options) {
  const QueueOptions& queue = options.queue;
  const StepOptions& step = options.step;
  const WindowOptions& window = options.window;
  const MemoryOptions& memory = options.memory;
  const PrefixCacheOptions& prefix_cache = options.prefix_cache;
  const absl::Duration zero = absl::ZeroDuration();
  const Rule rules[] = {
      {queue.queue_requests_max >= 1, "queue_requests_max", "at least 1"},
      {queue.queue_prompt_tokens_max >= 0, "queue_prompt_tokens_max", "0 or more"},
      {queue.running_sequences_max >= 1, "running_sequences_max", "at least 1"},
      {queue.ageing > zero, "ageing", "above 0"},
      {queue.resume_immunity_tokens >= 0, "resume_immunity_tokens", "at least 0"},
      {queue.growth_prior_tokens >= 1, "growth_prior_tokens", "at least 1"},
      {queue.growth_deviations_percent >= 0, "growth_deviations_percent", "at least 0"},
      {step.chunk_tokens_max >= 1, "chunk_tokens_max", "at least 1"},
      {step.logits_rows_max >= 1, "logits_rows_max", "at least 1"},
      {step.max_gap > zero, "max_gap", "above 0"},
      {window.prefill_min > zero, "prefill_min", "above 0"},
      {window.prefill_max >= window.prefill_min, "prefill_max", "at least prefill_min"},
      {window.decode_steps >= 1, "decode_steps", "at least 1"},
      {window.decode_min > zero, "decode_min", "above 0"},
      {window.decode_max >= window.decode_min, "decode_max", "at least decode_min"},
      {memory.ceiling_bytes > 0, "ceiling_bytes", "above 0"},
      {memory.limit_bytes > 0 && memory.limit_bytes <= memory.ceiling_bytes, "limit_bytes",
       "above 0 and at most ceiling_bytes"},
      {memory.headroom_bytes >= 0, "headroom_bytes", "at least 0"},
      {memory.keep_bytes >= 0, "keep_bytes", "at least 0"},
      {memory.block_tokens == 0 ||
           (IsPowerOfTwo(memory.block_tokens) && memory.block_tokens <= 1024),
       "block_tokens", "0 or a power of two up to 1024"},
      {memory.slack_pages >= 0, "slack_pages", "at least 0"},
      {memory.prepared_pages >= 0, "prepared_pages", "at least 0"},
      {memory.idle > zero, "idle", "above 0"},
      {memory.shrink_windows >= 1, "shrink_windows", "at least 1"},
      {memory.shrink_after >= absl::ZeroDuration(), "shrink_after", "at least 0"},
      {memory.shrink_pages_max >= 1, "shrink_pages_max", "at least 1"},
      {memory.compact_above_percent >= 0, "compact_above_percent", "at least 0"},
      {memory.compact_bytes_max >= 0, "compact_bytes_max", "at least 0"},
      {prefix_cache.idle >= zero, "prefix_cache.idle", "at least 0"},
      {prefix_cache.floor_bytes >= 0, "prefix_cache.floor_bytes", "at least 0"},
      {prefix_cache.ahead >= zero, "prefix_cache.ahead", "at least 0"},
      {memory.swap_bytes_max >= 0, "swap_bytes_max", "at least 0"},
  };
  for (const Rule& rule : rules) {
    if (rule.holds) continue;
    return absl::InvalidArgumentError(absl::StrCat(rule.field, " must be ", rule.range));
  }
  return absl::OkStatus();
}

}  // namespace ebb::engine

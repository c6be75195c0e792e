#include "tests/sim/sim_options.h"

#include <algorithm>

#include "kernels/paged_kv.h"

namespace ebb::sim {

namespace {

void AddSwap(uint64_t seed, SimOptions* made) {
  base::Rng rng(seed + 10);
  made->swap.prior_bytes_per_s = rng.Chance(0.1) ? 1e6 : 1e12;
  made->swap.chunk_slots = static_cast<int32_t>(rng.Between(1, 8));
  made->swap.piece_slots = static_cast<int32_t>(rng.Between(1, 6));
  if (rng.Chance(0.15)) return;
  made->engine.memory.swap_bytes_max =
      rng.Between(1, rng.Chance(0.3) ? 10 : 200) * kLayers *
      kernels::PagedKv::LayerBlockBytes(kernels::DType::kF32, 1, 2, kBlockTokens);
}

}  // namespace

SimOptions MakeSimOptions(uint64_t seed, engine::Queues queues, base::Rng* rng) {
  SimOptions made;
  engine::LocalEngineOptions& options = made.engine;
  options.queue.queues = queues;
  base::Rng compaction(seed + 4);  // Of its own, as the loss's.
  options.memory.compact_above_percent =
      compaction.Chance(0.2) ? 0 : static_cast<int32_t>(compaction.Between(1, 150));
  made.shrinks_eagerly = compaction.Chance(0.5);
  options.memory.compact_bytes_max =
      compaction.Between(1, 40) * kLayers *
      kernels::PagedKv::LayerBlockBytes(kernels::DType::kF32, 1, 2, kBlockTokens);
  options.queue.queue_requests_max = static_cast<int32_t>(rng->Between(1, 16));
  options.queue.running_sequences_max = static_cast<int32_t>(rng->Between(1, 8));
  options.queue.ageing = absl::Milliseconds(rng->Between(1, 2000));
  options.queue.resume_immunity_tokens = static_cast<int32_t>(rng->Between(0, 8));
  options.queue.growth_prior_tokens = static_cast<int32_t>(rng->Between(1, 32));
  options.step.chunk_tokens_max = static_cast<int32_t>(rng->Between(1, 40));
  options.step.logits_rows_max = static_cast<int32_t>(rng->Between(1, 12));
  options.step.max_gap = absl::Milliseconds(rng->Between(1, 200));
  options.window.prefill_min = absl::Milliseconds(rng->Between(1, 20));
  options.window.prefill_max = options.window.prefill_min + absl::Milliseconds(100);
  options.window.decode_min = absl::Milliseconds(rng->Between(1, 20));
  options.window.decode_max = options.window.decode_min + absl::Milliseconds(100);
  options.window.decode_steps = static_cast<int32_t>(rng->Between(1, 12));
  options.memory.slack_pages = static_cast<int32_t>(rng->Between(0, 2));
  options.memory.prepared_pages = static_cast<int32_t>(rng->Between(0, 2));
  options.memory.idle = absl::Milliseconds(500);
  options.memory.headroom_bytes = rng->Between(0, 2) * kGranularity;
  options.memory.static_estimator =
      rng->Chance(0.5) ? engine::StaticEstimator::kByTokens : engine::StaticEstimator::kByUsage;
  // From barely one request to several at once; a page is 16 tokens.
  made.ceiling_pages = rng->Between(8, 40);
  options.memory.ceiling_bytes = made.ceiling_pages * kGranularity;
  options.memory.limit_bytes = rng->Between(8, made.ceiling_pages) * kGranularity;
  const int64_t keep_pages =
      base::Rng(seed + 5).Between(-3 * made.ceiling_pages, made.ceiling_pages);
  options.memory.keep_bytes = std::max<int64_t>(0, keep_pages) * kGranularity;
  base::Rng prefixes(seed + 12);
  options.prefix_cache.enabled = prefixes.Chance(0.6);
  options.prefix_cache.idle = absl::Milliseconds(prefixes.Between(0, 2000));
  options.prefix_cache.ahead = absl::Milliseconds(prefixes.Between(0, 500));
  if (prefixes.Chance(0.2)) {
    options.prefix_cache.floor_bytes = prefixes.Between(1, 4) * kGranularity;
  }
  AddSwap(seed, &made);
  return made;
}

}  // namespace ebb::sim

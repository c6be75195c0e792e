#include "server/metrics/engine_metrics.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace ebb::server {
namespace {

std::string LaneName(const engine::LaneView& lane) {
  return std::string(memory::WindowQueueName(lane.queue));
}

prometheus::ClientMetric::Histogram StepTokens(const engine::StepTotals& totals) {
  prometheus::ClientMetric::Histogram histogram;
  for (size_t i = 0; i < engine::StepTotals::kClasses; ++i) {
    histogram.sample_count += static_cast<uint64_t>(totals.steps_by_tokens[i]);
    // The last class has no upper bound: it is the one that the format adds by itself.
    if (i + 1 == engine::StepTotals::kClasses) break;
    histogram.bucket.push_back(
        {histogram.sample_count, static_cast<double>(engine::StepTotals::ClassBound(i))});
  }
  histogram.sample_sum = static_cast<double>(totals.tokens);
  return histogram;
}

prometheus::ClientMetric::Histogram Ranks(const engine::LengthRanks& ranks) {
  prometheus::ClientMetric::Histogram histogram;
  // Answers may count at several ranks in part; the format has whole numbers.
  constexpr double kRounding = 1e-6;
  double count = 0;
  for (size_t i = 0; i < ranks.counts.size(); ++i) {
    count += ranks.counts[i];
    histogram.sample_count = static_cast<uint64_t>(count + kRounding);
    if (i == ranks.kBounds.size()) break;
    histogram.bucket.push_back({histogram.sample_count, ranks.kBounds[i]});
  }
  histogram.sample_sum = ranks.sum;
  return histogram;
}

}  // namespace

void AddLoad(const engine::LoadView& load, Families* out) {
  out->Gauge("ebb_requests_running", "Requests that hold memory and are being computed.",
             static_cast<double>(load.running_requests));
  out->Gauge("ebb_requests_waiting",
             "Requests in the queue, and those that gave their memory up and wait to go on.",
             static_cast<double>(load.waiting_requests));
  out->Counter("ebb_preemptions_total", "Times that an answer had to give its memory up.",
               static_cast<double>(load.preemptions_total));
  out->Counter("ebb_prefilled_tokens_total",
               "Tokens that prefill has computed, those computed again too.",
               static_cast<double>(load.prefilled_tokens_total));
  out->Counter("ebb_recomputed_tokens_total", "Tokens computed again after a preemption.",
               static_cast<double>(load.recomputed_tokens_total));
  out->Counter("ebb_generation_tokens_total", "Tokens of answers.",
               static_cast<double>(load.completion_tokens_total));
  out->Gauge("ebb_last_step_age_seconds",
             "Time without a completed step while anything runs; else 0.",
             absl::ToDoubleSeconds(load.last_step_age));
}

void AddLengths(const engine::LengthScores& lengths, Families* out) {
  constexpr const char* kLevels[engine::kLengthLevels] = {"class", "all", "prior"};
  for (size_t i = 0; i < engine::kLengthLevels; ++i) {
    out->Histogram("ebb_length_rank",
                   "Where in its predicted distribution an answer's length fell, from 0 to 1.",
                   Ranks(lengths.ranks[i]), {{"level", kLevels[i]}});
  }
}

void AddLanes(const std::vector<engine::LaneView>& lanes, Families* out) {
  for (const engine::LaneView& lane : lanes) {
    out->Counter("ebb_step_seconds_total", "Time in which a lane's steps ran.",
                 absl::ToDoubleSeconds(lane.done.busy), {{"lane", LaneName(lane)}});
  }
  for (const engine::LaneView& lane : lanes) {
    out->Histogram("ebb_step_tokens", "Tokens of a step; its count is the number of steps.",
                   StepTokens(lane.done), {{"lane", LaneName(lane)}});
  }
}

void AddMemory(const engine::MemoryView& memory, Families* out) {
  out->Gauge("ebb_memory_held_bytes", "KV pages and workspaces that are held.",
             static_cast<double>(memory.held_bytes));
  out->Gauge("ebb_memory_needed_bytes", "Keys and values of the tokens that requests have.",
             static_cast<double>(memory.needed_bytes));
  out->Gauge("ebb_memory_cached_bytes", "Of the held bytes, kept for prefixes that nobody uses.",
             static_cast<double>(memory.cached_bytes));
  out->Gauge("ebb_memory_limit_bytes", "The memory limit in force.",
             static_cast<double>(memory.limit_bytes));
  if (memory.share_bytes.has_value()) {
    out->Gauge("ebb_memory_share_bytes",
               "What the ledger between servers lets this one hold; only where there is one.",
               static_cast<double>(*memory.share_bytes));
  }
  out->Gauge("ebb_memory_page_bytes", "Size of a KV page.", static_cast<double>(memory.page_bytes));
  out->Gauge("ebb_memory_pages_mapped", "KV pages that are mapped now.",
             static_cast<double>(memory.pages_mapped));
  out->Counter("ebb_memory_page_maps_total", "KV pages that were mapped.",
               static_cast<double>(memory.page_maps_total));
  out->Counter("ebb_memory_page_unmaps_total", "KV pages that were unmapped.",
               static_cast<double>(memory.page_unmaps_total));
  out->Counter("ebb_memory_moved_bytes_total", "Bytes that compaction has moved.",
               static_cast<double>(memory.moved_bytes_total));
  out->Counter("ebb_memory_page_flips_total",
               "KV pages mapped again within a minute of being unmapped.",
               static_cast<double>(memory.flips_total));
}

void AddPrefixCache(const memory::PrefixCacheTotals& totals, Families* out) {
  out->Counter("ebb_prefix_cache_queried_tokens_total", "Tokens looked up in the prefix cache.",
               static_cast<double>(totals.queried_tokens));
  out->Counter("ebb_prefix_cache_hit_tokens_total", "Of these, found there.",
               static_cast<double>(totals.hit_tokens));
  for (const auto& [reason, blocks] :
       {std::pair("wanted", totals.evicted_blocks), std::pair("expired", totals.expired_blocks)}) {
    out->Counter("ebb_prefix_cache_evicted_blocks_total",
                 "Cached blocks that were given up, by reason.", static_cast<double>(blocks),
                 {{"reason", reason}});
  }
}

void AddSwap(const engine::SwapView& swap, Families* out) {
  const auto value = [](int64_t count) { return static_cast<double>(count); };
  out->Gauge("ebb_swap_limit_bytes", "What the swap space may hold; 0: there is none.",
             value(swap.bytes_max));
  out->Gauge("ebb_swap_held_bytes", "What the swap space holds of the host's memory or disk.",
             value(swap.held_bytes));
  out->Gauge("ebb_swap_used_bytes", "Keys and values in it.", value(swap.used_bytes));
  out->Counter("ebb_swap_sequences_total", "Sequences whose keys and values were copied.",
               value(swap.out_sequences_total), {{"direction", "out"}});
  out->Counter("ebb_swap_sequences_total", "Sequences whose keys and values were copied.",
               value(swap.in_sequences_total), {{"direction", "in"}});
  out->Counter("ebb_swap_bytes_total", "Bytes that were copied for it, in vain too.",
               value(swap.out_bytes_total), {{"direction", "out"}});
  out->Counter("ebb_swap_bytes_total", "Bytes that were copied for it, in vain too.",
               value(swap.in_bytes_total), {{"direction", "in"}});
  static constexpr const char* kReasons[engine::kSwapFallbackCount] = {"full", "failed", "limit"};
  for (size_t i = 0; i < engine::kSwapFallbackCount; ++i) {
    out->Counter("ebb_swap_fallbacks_total",
                 "Sequences that were to be swapped and are recomputed.", value(swap.fallbacks[i]),
                 {{"reason", kReasons[i]}});
  }
}

void AddWindows(const std::vector<engine::WindowView>& windows,
                const std::vector<engine::LaneView>& lanes, int64_t block_bytes, Families* out) {
  // Of number 0 where none was opened yet.
  std::vector<std::pair<std::string, engine::WindowView>> lasts;
  for (const engine::LaneView& lane : lanes) {
    lasts.emplace_back(LaneName(lane), engine::WindowView());
    for (const engine::WindowView& window : windows) {
      if (window.plan.queue == lane.queue) lasts.back().second = window;  // The oldest comes first.
    }
  }
  const auto bytes = [block_bytes](int64_t blocks) {
    return static_cast<double>(blocks * block_bytes);
  };
  for (const auto& [lane, last] : lasts) {
    out->Counter("ebb_windows_total", "Windows that a lane has opened.",
                 static_cast<double>(last.number), {{"lane", lane}});
  }
  for (const auto& [lane, last] : lasts) {
    out->Gauge("ebb_window_length_seconds", "Planned length of a lane's last window.",
               absl::ToDoubleSeconds(last.plan.length), {{"lane", lane}});
  }
  for (const auto& [lane, last] : lasts) {
    out->Gauge("ebb_window_demand_bytes", "Memory that a lane's last window asked for.",
               bytes(last.plan.demand_blocks), {{"lane", lane}});
  }
  for (const auto& [lane, last] : lasts) {
    out->Gauge("ebb_window_grant_bytes", "Memory that a lane's last window was granted.",
               bytes(last.plan.grant_blocks), {{"lane", lane}});
  }
  const struct {
    const char* name;
    const char* help;
    int64_t engine::WindowTotals::*blocks;
  } totals[] = {
      {"ebb_window_predicted_bytes_total",
       "Keys and values that windows predicted for their ends, summed over windows.",
       &engine::WindowTotals::predicted_blocks},
      {"ebb_window_used_bytes_total", "Keys and values that there were at the ends of windows.",
       &engine::WindowTotals::used_blocks},
      {"ebb_window_error_bytes_total", "By how much windows predicted too much or too little.",
       &engine::WindowTotals::error_blocks},
  };
  for (const auto& [name, help, blocks] : totals) {
    for (const engine::LaneView& lane : lanes) {
      out->Counter(name, help, bytes(lane.windows.*blocks), {{"lane", LaneName(lane)}});
    }
  }
}

}  // namespace ebb::server

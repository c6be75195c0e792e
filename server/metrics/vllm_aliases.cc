#include "server/metrics/vllm_aliases.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace ebb::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;

struct Alias {
  const char* ours;
  const char* theirs;
};
constexpr Alias kAliases[] = {
    {"ebb_requests_running", "vllm:num_requests_running"},
    {"ebb_requests_waiting", "vllm:num_requests_waiting"},
    {"ebb_prompt_tokens_total", "vllm:prompt_tokens_total"},
    {"ebb_generation_tokens_total", "vllm:generation_tokens_total"},
    {"ebb_preemptions_total", "vllm:num_preemptions_total"},
    {"ebb_prefix_cache_queried_tokens_total", "vllm:prefix_cache_queries_total"},
    {"ebb_prefix_cache_hit_tokens_total", "vllm:prefix_cache_hits_total"},
    {"ebb_time_to_first_token_seconds", "vllm:time_to_first_token_seconds"},
    {"ebb_inter_token_latency_seconds", "vllm:inter_token_latency_seconds"},
    {"ebb_time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds"},
    {"ebb_request_duration_seconds", "vllm:e2e_request_latency_seconds"},
    {"ebb_request_queue_seconds", "vllm:request_queue_time_seconds"},
    {"ebb_request_prefill_seconds", "vllm:request_prefill_time_seconds"},
    {"ebb_request_decode_seconds", "vllm:request_decode_time_seconds"},
    {"ebb_request_inference_seconds", "vllm:request_inference_time_seconds"},
    {"ebb_request_prompt_tokens", "vllm:request_prompt_tokens"},
    {"ebb_request_generation_tokens", "vllm:request_generation_tokens"},
};

const MetricFamily* Find(const std::vector<MetricFamily>& families, const char* name) {
  for (const MetricFamily& family : families) {
    if (family.name == name) return &family;
  }
  return nullptr;
}

// The reasons that vLLM knows.
const char* TheirReason(const std::string& outcome) {
  if (outcome == "stop") return "stop";
  if (outcome == "length") return "length";
  return outcome == "error" ? "error" : "abort";
}

void AddSuccess(const MetricFamily& finished, const Families::Labels& labels, Families* out) {
  std::vector<std::pair<std::string, double>> counts = {
      {"stop", 0}, {"length", 0}, {"abort", 0}, {"error", 0}};
  for (const ClientMetric& sample : finished.metric) {
    for (auto& [reason, count] : counts) {
      if (reason == TheirReason(sample.label[0].value)) count += sample.counter.value;
    }
  }
  for (const auto& [reason, count] : counts) {
    Families::Labels all = labels;
    all.push_back({"finished_reason", reason});
    out->Counter("vllm:request_success_total", finished.help, count, all);
  }
}

// Of all lanes together.
void AddIterationTokens(const MetricFamily& steps, const Families::Labels& labels, Families* out) {
  ClientMetric::Histogram sum;
  for (const ClientMetric& sample : steps.metric) {
    sum.bucket.resize(std::max(sum.bucket.size(), sample.histogram.bucket.size()));
    for (size_t i = 0; i < sample.histogram.bucket.size(); ++i) {
      sum.bucket[i].upper_bound = sample.histogram.bucket[i].upper_bound;
      sum.bucket[i].cumulative_count += sample.histogram.bucket[i].cumulative_count;
    }
    sum.sample_count += sample.histogram.sample_count;
    sum.sample_sum += sample.histogram.sample_sum;
  }
  out->Histogram("vllm:iteration_tokens_total", steps.help, sum, labels);
}

void AddMemory(const VllmAliasOptions& options, const engine::MemoryView& memory,
               const Families::Labels& labels, Families* out) {
  const double limit = static_cast<double>(memory.limit_bytes);
  const double used = limit <= 0 ? 1 : static_cast<double>(memory.needed_bytes) / limit;
  out->Gauge("vllm:kv_cache_usage_perc", "Share of the KV memory that requests use, 0 to 1.",
             std::min(used, 1.0), labels);
  const int64_t blocks = options.block_bytes > 0 ? memory.limit_bytes / options.block_bytes : 0;
  Families::Labels sizes = labels;
  sizes.push_back({"block_size", absl::StrCat(memory.block_tokens)});
  sizes.push_back({"num_gpu_blocks", absl::StrCat(blocks)});
  out->Gauge("vllm:cache_config_info", "Size of the KV memory, by the limit in force.", 1, sizes);
}

}  // namespace

void AddVllmAliases(const VllmAliasOptions& options, const engine::MemoryView& memory,
                    Families* families) {
  const Families::Labels labels = {{"model_name", options.model_name}, {"engine", "0"}};
  Families aliases;
  for (const Alias& alias : kAliases) {
    const MetricFamily* const ours = Find(families->all(), alias.ours);
    if (ours == nullptr) continue;
    MetricFamily theirs = *ours;
    theirs.name = alias.theirs;
    for (ClientMetric& sample : theirs.metric) sample.label = labels;
    aliases.all().push_back(std::move(theirs));
  }
  if (const MetricFamily* const ours = Find(families->all(), "ebb_requests_finished_total")) {
    AddSuccess(*ours, labels, &aliases);
  }
  if (const MetricFamily* const ours = Find(families->all(), "ebb_step_tokens")) {
    AddIterationTokens(*ours, labels, &aliases);
  }
  AddMemory(options, memory, labels, &aliases);
  for (MetricFamily& family : aliases.all()) families->all().push_back(std::move(family));
}

}  // namespace ebb::server

#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "base/status_macros.h"

namespace ebb::model {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
// Below this many, the most likely tokens are kept in a heap during one pass over the logits, which
// hardly ever touches the heap; above it, selection in place is faster.
constexpr size_t kHeapSelectMax = 256;

// The largest of `logits` (-infinity when empty), and whether there is a NaN. This runs over the
// whole vocabulary for each token of each sequence, so the maximum is kept in independent lanes of
// the width that every x86-64 has.
float MaxOf(absl::Span<const float> logits, bool* has_nan) {
  typedef float Lanes __attribute__((vector_size(16)));
  typedef int32_t Masks __attribute__((vector_size(16)));
  constexpr size_t kVectors = 4;
  constexpr size_t kLanes = 4;
  Lanes best[kVectors];
  Masks unordered[kVectors];
  for (size_t v = 0; v < kVectors; ++v) {
    best[v] = Lanes{} + kMinusInfinity;
    unordered[v] = Masks{};
  }
  size_t i = 0;
  for (; i + kVectors * kLanes <= logits.size(); i += kVectors * kLanes) {
    for (size_t v = 0; v < kVectors; ++v) {
      Lanes x;
      __builtin_memcpy(&x, logits.data() + i + v * kLanes, sizeof(x));
      best[v] = x > best[v] ? x : best[v];
      unordered[v] |= x != x;
    }
  }
  float max = kMinusInfinity;
  for (size_t v = 0; v < kVectors; ++v) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      max = std::max(max, best[v][lane]);
      *has_nan |= unordered[v][lane] != 0;
    }
  }
  for (; i < logits.size(); ++i) {
    *has_nan |= std::isnan(logits[i]);
    max = logits[i] > max ? logits[i] : max;
  }
  return max;
}

// The largest logit's id, the lowest among equals.
absl::StatusOr<int32_t> ArgMax(absl::Span<const float> logits) {
  // In stretches, so that only one is searched for the place.
  constexpr size_t kStretch = 1024;
  bool has_nan = false;
  float max = kMinusInfinity;
  size_t best_begin = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kStretch) {
    const float stretch_max = MaxOf(logits.subspan(begin, kStretch), &has_nan);
    if (stretch_max <= max) continue;
    max = stretch_max;
    best_begin = begin;
  }
  if (has_nan) {
    const auto at = std::find_if(logits.begin(), logits.end(), [](float x) { return x != x; });
    return absl::InternalError(absl::StrCat("logit of token ", at - logits.begin(), " is NaN"));
  }
  if (max == -kMinusInfinity) return absl::InternalError("a logit is +infinity");
  if (max == kMinusInfinity) return absl::InternalError("no token is left to choose");
  const auto stretch = logits.subspan(best_begin);
  return static_cast<int32_t>(best_begin) +
         static_cast<int32_t>(std::find(stretch.begin(), stretch.end(), max) - stretch.begin());
}

// The `count` most likely ids into `ids`, most likely first and the lowest id first among equals.
// REQUIRES: no logit is NaN.
void SelectTop(absl::Span<const float> logits, size_t count, std::vector<int32_t>* ids) {
  const auto before = [logits](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  count = std::min(count, logits.size());
  ids->clear();
  if (count == 0) return;
  if (count > kHeapSelectMax) {
    ids->resize(logits.size());
    std::iota(ids->begin(), ids->end(), 0);
    std::nth_element(ids->begin(), ids->begin() + (count - 1), ids->end(), before);
    ids->resize(count);
    std::sort(ids->begin(), ids->end(), before);
    return;
  }
  for (size_t i = 0; i < count; ++i) ids->push_back(static_cast<int32_t>(i));
  std::make_heap(ids->begin(), ids->end(), before);
  float least = logits[ids->front()];
  for (size_t i = count; i < logits.size(); ++i) {
    // An equal logit has a higher id than any in the heap, so it stays out.
    if (logits[i] <= least) continue;
    std::pop_heap(ids->begin(), ids->end(), before);
    ids->back() = static_cast<int32_t>(i);
    std::push_heap(ids->begin(), ids->end(), before);
    least = logits[ids->front()];
  }
  std::sort_heap(ids->begin(), ids->end(), before);
}

// Cuts `ids` (most likely first) to the shortest prefix whose share of `total_weight` reaches
// `top_p`; at least one stays.
void CutToTopP(const std::vector<double>& weights, double top_p, double total_weight,
               std::vector<int32_t>* ids) {
  double sum = 0;
  for (size_t i = 0; i < ids->size(); ++i) {
    sum += weights[(*ids)[i]];
    if (sum >= top_p * total_weight) {
      ids->resize(i + 1);
      return;
    }
  }
}

// top_p over the whole vocabulary: the most likely ids are selected in growing numbers until their
// share is reached, since it mostly takes a few.
void SelectTopP(absl::Span<const float> logits, const std::vector<double>& weights, double top_p,
                double total_weight, std::vector<int32_t>* ids) {
  for (size_t count = kHeapSelectMax / 4;; count *= 8) {
    SelectTop(logits, count, ids);
    double sum = 0;
    for (int32_t id : *ids) sum += weights[id];
    if (sum >= top_p * total_weight || ids->size() == logits.size()) break;
  }
  CutToTopP(weights, top_p, total_weight, ids);
}

// The token of `kept` (in the order of ids) at which the cumulated weight passes the draw.
int32_t Draw(const std::vector<int32_t>& kept, const std::vector<double>& weights, uint64_t bits) {
  double total = 0;
  for (int32_t id : kept) total += weights[id];
  const double target = base::ToUnit(bits) * total;
  double sum = 0;
  int32_t last = kept.front();
  for (int32_t id : kept) {
    if (weights[id] == 0) continue;
    sum += weights[id];
    last = id;
    if (sum > target) break;
  }
  return last;
}

// REQUIRES: params.temperature > 0 and logits[best] is the largest.
int32_t SampleFiltered(absl::Span<const float> logits, int32_t best, const SamplingParams& params,
                       int32_t index, SamplerScratch* scratch) {
  std::vector<int32_t>& kept = scratch->ids;
  std::vector<double>& weights = scratch->weights;
  weights.resize(logits.size());
  // The most likely token weighs 1, so no exponential overflows and min_p compares with itself.
  const double max = logits[best];
  const auto weigh = [&](int32_t id) {
    weights[id] = std::exp((static_cast<double>(logits[id]) - max) / params.temperature);
    return weights[id];
  };
  const bool top_k_on = params.top_k > 0 && static_cast<size_t>(params.top_k) < logits.size();
  double total = 0;
  if (top_k_on) {
    SelectTop(logits, params.top_k, &kept);
    for (int32_t id : kept) total += weigh(id);
    if (params.top_p < 1) CutToTopP(weights, params.top_p, total, &kept);
  } else {
    for (size_t i = 0; i < logits.size(); ++i) total += weigh(static_cast<int32_t>(i));
    if (params.top_p < 1) {
      SelectTopP(logits, weights, params.top_p, total, &kept);
    } else {
      kept.resize(logits.size());
      std::iota(kept.begin(), kept.end(), 0);
    }
  }
  if (params.min_p > 0) {
    kept.erase(std::remove_if(kept.begin(), kept.end(),
                              [&](int32_t id) { return weights[id] < params.min_p; }),
               kept.end());
  }
  if (top_k_on || params.top_p < 1) std::sort(kept.begin(), kept.end());
  return Draw(kept, weights,
              base::RandomBits(params.seed, static_cast<uint64_t>(static_cast<uint32_t>(index))));
}

// REQUIRES: logits[best] is the largest and finite; token_id and top_count are valid.
LogProbsResult LogProbsKnowingMax(absl::Span<const float> logits, int32_t best, int32_t token_id,
                                  int32_t top_count, SamplerScratch* scratch) {
  const double max = logits[best];
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  const double log_total = max + std::log(sum);
  LogProbsResult result;
  result.logprob = static_cast<float>(logits[token_id] - log_total);
  SelectTop(logits, static_cast<size_t>(top_count), &scratch->ids);
  result.top.reserve(scratch->ids.size());
  for (int32_t id : scratch->ids) {
    result.top.push_back({id, static_cast<float>(logits[id] - log_total)});
  }
  return result;
}

}  // namespace

absl::Status CheckSamplingParams(const SamplingParams& params) {
  // Written so that NaN fails.
  if (!(params.temperature >= 0) || std::isinf(params.temperature)) {
    return absl::InvalidArgumentError(
        absl::StrCat("temperature must be finite and at least 0, is ", params.temperature));
  }
  if (!(params.top_p > 0 && params.top_p <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("top_p must be in (0, 1], is ", params.top_p));
  }
  if (!(params.min_p >= 0 && params.min_p <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("min_p must be in [0, 1], is ", params.min_p));
  }
  if (params.top_k < 0) {
    return absl::InvalidArgumentError(absl::StrCat("top_k must be at least 0, is ", params.top_k));
  }
  if (!(params.repetition_penalty > 0) || std::isinf(params.repetition_penalty)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "repetition_penalty must be finite and above 0, is ", params.repetition_penalty));
  }
  if (!std::isfinite(params.presence_penalty) || !std::isfinite(params.frequency_penalty)) {
    return absl::InvalidArgumentError(
        absl::StrCat("presence_penalty and frequency_penalty must be finite, are ",
                     params.presence_penalty, " and ", params.frequency_penalty));
  }
  return absl::OkStatus();
}

absl::StatusOr<SampledToken> Sample(absl::Span<const float> logits, const SamplingParams& params,
                                    int32_t index, absl::Span<const int32_t> banned,
                                    SamplerScratch* scratch,
                                    absl::Span<const LogitAdjustment> adjustments) {
  RETURN_IF_ERROR(CheckSamplingParams(params));
  ASSIGN_OR_RETURN(const int32_t raw_best, ArgMax(logits));
  absl::Span<const float> allowed = logits;
  int32_t best = raw_best;
  if (!banned.empty() || !adjustments.empty()) {
    std::vector<float>& changed = scratch->logits;
    changed.assign(logits.begin(), logits.end());
    const auto is_known = [&](int32_t id) {
      return id >= 0 && static_cast<size_t>(id) < logits.size();
    };
    for (const LogitAdjustment& by : adjustments) {
      if (is_known(by.token_id)) changed[by.token_id] = Adjusted(changed[by.token_id], by);
    }
    for (int32_t id : banned) {
      if (is_known(id)) changed[id] = kMinusInfinity;
    }
    allowed = scratch->logits;
    ASSIGN_OR_RETURN(best, ArgMax(allowed));
  }
  SampledToken sampled;
  sampled.token_id =
      params.temperature == 0 ? best : SampleFiltered(allowed, best, params, index, scratch);
  if (params.logprobs >= 0) {
    LogProbsResult logprobs =
        LogProbsKnowingMax(logits, raw_best, sampled.token_id, params.logprobs, scratch);
    sampled.logprob = logprobs.logprob;
    sampled.top = std::move(logprobs.top);
  }
  return sampled;
}

absl::StatusOr<LogProbsResult> LogProbs(absl::Span<const float> logits, int32_t token_id,
                                        int32_t top_count, SamplerScratch* scratch) {
  if (token_id < 0 || static_cast<size_t>(token_id) >= logits.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("token id ", token_id, " is outside the vocabulary of ", logits.size()));
  }
  if (top_count < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the number of alternatives must be at least 0, is ", top_count));
  }
  ASSIGN_OR_RETURN(const int32_t best, ArgMax(logits));
  return LogProbsKnowingMax(logits, best, token_id, top_count, scratch);
}

}  // namespace ebb::model

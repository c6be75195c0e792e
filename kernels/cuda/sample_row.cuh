// A row of logits as the sampling kernels see it: what it wants, how blocks share it, and where
// they leave what they found for the next kernel.
//
//   ids:       0 ................................................. vocabulary
//   segments:  |  |  |  |  |  |  |  |  |  |  |  |  |  |  |     256 tokens each, one warp's work
//   splits:    |           |           |           |           segments of one block
//
// The number of splits changes no result.
#pragma once

#include <cstddef>
#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "kernels/cuda/sample_block.cuh"

namespace ebb::kernels::cuda {

constexpr int kSplitThreads = 128;
constexpr int kSplitWarps = kSplitThreads / kWarpLanes;
constexpr int kSplitsMax = kSplitThreads;  // One thread for each, where they are merged.
constexpr int kSegmentLoads = 8;           // A lane's, all under way at once.
constexpr int kSegmentTokens = kSegmentLoads * kWarpLanes;
constexpr int kBins = 1024;  // At most.
constexpr int kGroupLanes = 8;
constexpr int kGroups = kSplitThreads / kGroupLanes;
constexpr int kCutPlaces = 2048;  // Of a list, at most.
constexpr int kTopPlaces = 1024;

// The most likely tokens of a part of a row, as RankOf. With a NaN in it the raw one's key is
// kKeyOfNan.
struct SampleBest {
  Mass raw;
  Mass allowed;  // Of those that are not banned.
  float lowest;  // The least finite logit that is not banned.
};

// How far the cut of a row is known before the tokens of one or two bins have been looked at one by
// one; see sample_bins.cuh.
struct SampleCutPlan {
  Mass mass_before_k;  // Of the tokens in bins before k_bin.
  Mass mass_before_p;  // And before p_first.
  int32_t k_bin;       // Where the top_k-th token is; kBins: no bin needs to be cut for it.
  int32_t k_needed;    // How many tokens of that bin stay.
  int32_t p_first;     // The first and the last bin in which the mass of top_p may be reached.
  int32_t p_last;
  int32_t sure;  // What lies in bins before this one stays.

  __device__ bool Undecided(int bin) const {
    return bin >= 0 && ((bin >= p_first && bin <= p_last) || bin == k_bin);
  }
};

// What the kernels of one row tell each other, beside the arrays of SamplePlace.
struct SampleScratch {
  // Of the weighing.
  SampleBest best;
  int32_t status;
  uint32_t top_bound;  // A raw key that at least top_count tokens reach, and few more.
  Mass mass_past_bins;
  // Of the cut.
  SampleCutPlan plan;
  int32_t cut_count;  // Also those for which the list has no place.
  int32_t top_count;
};

// How many of everything the scratch memory of a row has; the vocabulary alone decides.
struct SampleSizes {
  int32_t segments;
  int32_t splits_max;
  int32_t bins;
  int32_t cut_places;
  int32_t top_places;
};

struct SampleParams {
  EbbCudaSample op;
  SampleSizes sizes;
  int64_t row_bytes;  // Of scratch.
  int32_t splits;
  int32_t split_segments;
};

// What a row wants.
struct SampleWants {
  bool token;
  bool drawn;  // The token is not just the most likely one.
  bool token_logprob;
  bool target_logprob;
  bool top_p;
  int32_t top_k;  // 0: off.
  int32_t top_count;

  __device__ SampleWants(const EbbCudaSampling& sampling, int32_t vocabulary)
      : token(sampling.sample != 0),
        drawn(token && sampling.temperature > 0),
        token_logprob(token && sampling.top_count >= 0),
        target_logprob(sampling.target_id >= 0 && sampling.target_id < vocabulary),
        top_p(drawn && sampling.top_p < 1),
        top_k(drawn && sampling.top_k > 0 && sampling.top_k < vocabulary ? sampling.top_k : 0) {
    top_count =
        max(token_logprob ? sampling.top_count : 0, target_logprob ? sampling.target_top_count : 0);
    top_count = min(top_count, min(EBB_CUDA_TOP_MAX, vocabulary));
  }

  __device__ bool any() const { return token || target_logprob; }
  __device__ bool logprobs() const { return token_logprob || target_logprob; }
  __device__ bool cut() const { return top_p || top_k > 0; }
};

// One row: its logits, and one bit for each id that may not be chosen (null: all may).
struct SampleRow {
  const float* logits;
  int32_t vocabulary;
  uint32_t* banned_words;
};

// Where a block works: the row, and its arrays in the scratch memory.
struct SamplePlace {
  const EbbCudaSampling& sampling;
  SampleWants wants;
  SampleSizes sizes;
  SampleScratch* scratch;
  Mass* segment_masses;
  // Of the scan.
  SampleBest* bests;     // [splits_max]
  uint32_t* group_keys;  // [splits_max, kGroups]: the largest raw key that some lanes saw.
  // Of the weighing.
  Mass* raw_masses;  // [splits_max], of the raw distribution.
  Mass* bin_masses;
  uint32_t* bin_counts;
  // Of the cut.
  Mass* cut_list;  // The undecided tokens' ranks.
  Mass* top_list;  // The ranks of the tokens that reach top_bound.
  SampleRow row;

  __device__ SamplePlace(const SampleParams& params, int32_t index)
      : sampling(params.op.sampling[index]),
        wants(sampling, params.op.vocabulary),
        sizes(params.sizes),
        scratch(reinterpret_cast<SampleScratch*>(params.op.scratch + index * params.row_bytes)) {
    bests = reinterpret_cast<SampleBest*>(scratch + 1);
    raw_masses = reinterpret_cast<Mass*>(bests + sizes.splits_max);
    segment_masses = raw_masses + sizes.splits_max;
    bin_masses = segment_masses + sizes.segments;
    cut_list = bin_masses + sizes.bins;
    top_list = cut_list + sizes.cut_places;
    bin_counts = reinterpret_cast<uint32_t*>(top_list + sizes.top_places);
    group_keys = bin_counts + sizes.bins;
    uint32_t* const banned_words = group_keys + sizes.splits_max * kGroups;
    row.logits = params.op.logits + static_cast<int64_t>(index) * params.op.vocabulary;
    row.vocabulary = params.op.vocabulary;
    row.banned_words = wants.token && sampling.banned_count > 0 ? banned_words : nullptr;
  }
};

// The bytes of all that.
inline int64_t SampleRowBytes(const SampleSizes& sizes) {
  constexpr int64_t kAlignment = 256;
  const int64_t masses =
      int64_t{sizes.splits_max} + sizes.segments + sizes.bins + sizes.cut_places + sizes.top_places;
  const int64_t words = int64_t{sizes.bins} + int64_t{sizes.splits_max} * kGroups +
                        int64_t{sizes.segments} * kSegmentLoads;
  const int64_t bytes = static_cast<int64_t>(sizeof(SampleScratch)) +
                        sizes.splits_max * static_cast<int64_t>(sizeof(SampleBest)) +
                        masses * static_cast<int64_t>(sizeof(Mass)) +
                        words * static_cast<int64_t>(sizeof(uint32_t));
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

__device__ inline Softmax RawSoftmax(const SampleBest& best) {
  return Softmax(LogitOfRank(best.raw), 1.0, 0);
}

__device__ inline Softmax AllowedSoftmax(const SampleBest& best, const EbbCudaSampling& sampling) {
  return Softmax(LogitOfRank(best.allowed), sampling.temperature, sampling.min_p);
}

// A warp's view of 256 adjacent tokens: each lane has every 32nd of them.
struct SampleSegment {
  float logits[kSegmentLoads];  // -infinity past the row's end.
  int32_t first_id;
  uint32_t banned;  // Bit i: token i of this lane may not be chosen.

  __device__ __forceinline__ SampleSegment(const SampleRow& row, int32_t segment)
      : first_id(segment * kSegmentTokens + LaneOfThread()), banned(0) {
    const float* const from = row.logits + first_id;
    const int32_t left = row.vocabulary - first_id;
#pragma unroll
    for (int i = 0; i < kSegmentLoads; ++i) {
      logits[i] = i * kWarpLanes < left ? from[i * kWarpLanes] : MinusInfinity();
    }
    if (row.banned_words == nullptr) return;
    static_assert(kWarpLanes == 32);  // The tokens of one load share a word.
    const int word = LaneOfThread() % kSegmentLoads;
    const uint32_t own = row.banned_words[segment * kSegmentLoads + word];
#pragma unroll
    for (int i = 0; i < kSegmentLoads; ++i) {
      const uint32_t bit = __shfl_sync(kWholeWarp, own, i) >> LaneOfThread() & 1u;
      banned |= bit << i;
    }
  }

  __device__ int32_t id(int i) const { return first_id + i * kWarpLanes; }
  // The logit by which a token is chosen.
  __device__ float allowed(int i) const {
    return (banned >> i & 1u) != 0 ? MinusInfinity() : logits[i];
  }
};

// The segments of the split that this block works on.
struct SplitSegments {
  int32_t begin;
  int32_t end;

  __device__ explicit SplitSegments(const SampleParams& params) {
    begin = static_cast<int32_t>(blockIdx.x) * params.split_segments;
    end = min(begin + params.split_segments, params.sizes.segments);
  }
};

}  // namespace ebb::kernels::cuda

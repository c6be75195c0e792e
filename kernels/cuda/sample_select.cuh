// Choosing among a row's tokens: the k most likely, those that make up a share of the probability,
// and the one at which the probability summed in the order of ids passes a number.
//
// A cut says which tokens stay without a list of them:
//
//   most likely first:  9.1  8.7  8.7  7.2  7.2  7.2  5.0  ...
//                       |-- above key --|     |
//                                       key = 7.2, of which the `ties` lowest ids stay
//
// It is found digit by digit of the key (radix selection), over a short list of candidates where
// one fits, else over the row.
#pragma once

#include <cstdint>

#include "kernels/cuda/sample_block.cuh"

namespace ebb::kernels::cuda {

// The tokens that stay: those with a larger key, and of those with this key the `ties` lowest ids
// out of `tie_count`.
struct SampleCut {
  uint32_t key;
  Mass ties;
  Mass tie_count;
};

// Where a digit-by-digit search ended.
struct FoundKey {
  uint32_t key;
  Mass needed;  // Of the mass of the tokens with this key, what reaches the target.
  Mass mass;    // Their whole mass.
};

// The largest key such that the tokens with it or a larger one have at least `target` mass.
// each(visit) calls visit(key, copies) for all candidates, in whatever thread; weigh(key) is the
// mass of one. REQUIRES: 1 <= target <= the mass of all candidates.
template <typename Each, typename Weigh>
__device__ inline FoundKey FindKey(SampleShared* shared, Mass target, const Each& each,
                                   const Weigh& weigh) {
  const int thread = static_cast<int>(threadIdx.x);
  FoundKey found = {0, target, 0};
  uint32_t known_bits = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = thread; i < 256; i += static_cast<int>(blockDim.x)) shared->bins[i] = 0;
    __syncthreads();
    each([&](uint32_t key, Mass copies) {
      if ((key & known_bits) != found.key) return;
      atomicAdd(&shared->bins[key >> shift & 255u], weigh(key) * copies);
    });
    __syncthreads();
    if (thread < kWarpLanes) {
      // Eight digits a lane, the largest in lane 0.
      const int top_digit = 255 - 8 * thread;
      Mass own = 0;
      for (int i = 0; i < 8; ++i) own += shared->bins[top_digit - i];
      const Mass reached = WarpScan(own);
      Mass before = reached - own;
      if (before < found.needed && found.needed <= reached) {
        int digit = top_digit;
        while (before + shared->bins[digit] < found.needed) before += shared->bins[digit--];
        shared->found_at = digit;
        shared->found_needed = found.needed - before;
        shared->found_mass = shared->bins[digit];
      }
    }
    __syncthreads();
    found.key |= static_cast<uint32_t>(shared->found_at) << shift;
    found.needed = shared->found_needed;
    found.mass = shared->found_mass;
    known_bits |= 255u << shift;
  }
  return found;
}

// Tokens with a key of at least `bound`: in the shared list where they fit.
struct Candidates {
  uint32_t bound;
  int32_t count;

  __device__ bool listed() const { return count <= kSampleListMax; }
};

// Collects the tokens whose key (key_of(id, logit)) is at least `bound`, in no order.
template <typename KeyOfToken>
__device__ inline Candidates Gather(SampleShared* shared, const SampleRow& row, uint32_t bound,
                                    const KeyOfToken& key_of) {
  if (threadIdx.x == 0) shared->list_count = 0;
  __syncthreads();
  ForEachLogit(row, [&](int32_t id, float logit) {
    const uint32_t key = key_of(id, logit);
    if (key < bound) return;
    const int32_t slot = atomicAdd(&shared->list_count, 1);
    if (slot < kSampleListMax) shared->list[slot] = RankOf(key, id);
  });
  __syncthreads();
  const Candidates candidates = {bound, shared->list_count};
  __syncthreads();
  return candidates;
}

// A key that at least `count` tokens reach, and few more as a rule: the count-th largest of the
// threads' best keys (`which` of SampleShared::thread_best). 0, which all reach, for large counts.
__device__ inline uint32_t BoundOfTop(SampleShared* shared, int which, int32_t count) {
  if (count > static_cast<int32_t>(blockDim.x)) return 0;
  const uint32_t own = shared->thread_best[which][threadIdx.x];
  return FindKey(
             shared, static_cast<Mass>(count), [&](const auto& visit) { visit(own, 1); },
             [](uint32_t) { return Mass{1}; })
      .key;
}

// The id at which the mass summed in the order of ids passes pick(total mass), a number below the
// total. mass_of(id, logit) is a token's mass. REQUIRES: the total is above 0.
template <typename MassOfToken, typename Pick>
__device__ inline int32_t FindInOrder(SampleShared* shared, const SampleRow& row,
                                      const MassOfToken& mass_of, const Pick& pick) {
  constexpr int kLoads = kSampleSegmentAlign / kWarpLanes;
  const int lane = LaneOfThread();
  const int32_t unit = kSampleSegmentsMax * kSampleSegmentAlign;
  const int32_t segment_tokens = (row.vocabulary + unit - 1) / unit * kSampleSegmentAlign;
  const int32_t segment_count = (row.vocabulary + segment_tokens - 1) / segment_tokens;
  const int32_t warps = static_cast<int32_t>(blockDim.x) / kWarpLanes;
  for (int32_t s = WarpOfThread(); s < segment_count; s += warps) {
    const int32_t end = min((s + 1) * segment_tokens, row.vocabulary);
    Mass sum = 0;
    for (int32_t id = s * segment_tokens + lane; id < end; id += kSampleSegmentAlign) {
      float loaded[kLoads];
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        if (id + i * kWarpLanes < end) loaded[i] = row.logits[id + i * kWarpLanes];
      }
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        if (id + i * kWarpLanes < end) sum += mass_of(id + i * kWarpLanes, loaded[i]);
      }
    }
    sum = WarpSum(sum);
    if (lane == 0) shared->segments[s] = sum;
  }
  __syncthreads();
  if (WarpOfThread() == 0) {
    // Which segment: adjacent ones in each lane.
    const int32_t per_lane = (segment_count + kWarpLanes - 1) / kWarpLanes;
    const int32_t first = min(lane * per_lane, segment_count);
    const int32_t last = min(first + per_lane, segment_count);
    Mass own = 0;
    for (int32_t s = first; s < last; ++s) own += shared->segments[s];
    const Mass reached = WarpScan(own);
    const Mass target = pick(__shfl_sync(kWholeWarp, reached, kWarpLanes - 1));
    Mass before = reached - own;
    if (before <= target && target < reached) {
      int32_t s = first;
      while (before + shared->segments[s] <= target) before += shared->segments[s++];
      shared->found_at = s;
      shared->found_needed = target - before;
    }
    __syncwarp();
    // Which of its tokens.
    const Mass needed = shared->found_needed;
    const int32_t begin = shared->found_at * segment_tokens;
    const int32_t end = min(begin + segment_tokens, row.vocabulary);
    __syncwarp();
    Mass summed = 0;
    for (int32_t base = begin; base < end; base += kWarpLanes) {
      const int32_t id = base + lane;
      const Mass mass = id < end ? mass_of(id, row.logits[id]) : 0;
      const Mass upto = summed + WarpScan(mass);
      const unsigned passed = __ballot_sync(kWholeWarp, upto > needed);
      if (passed != 0) {
        if (lane == 0) shared->found_at = base + __ffs(static_cast<int>(passed)) - 1;
        break;
      }
      summed = __shfl_sync(kWholeWarp, upto, kWarpLanes - 1);
    }
  }
  __syncthreads();
  const int32_t id = shared->found_at;
  __syncthreads();
  return id;
}

}  // namespace ebb::kernels::cuda

// How few tokens need a close look: a row's tokens by how far they are below the most likely one.
//
//   bin:    0    1    2    3    4    5    6   ....   1023
//          [..][....][....][....][....][....][...          counts and masses, of the whole row
//          |-- sure: stay --|undecided|-- sure: go --|
//
// The bins are of equal width and reach as far as the cut may be. It falls in one of them, and only
// the tokens of that one are then compared one by one: a few, but where thousands of logits are
// (nearly) equal. With both filters on, what top_p takes a share of depends on the tokens that
// top_k keeps of its bin; so the bin of top_p's cut is then known as a narrow range.
#pragma once

#include <cstdint>

#include "kernels/cuda/sample_row.cuh"

namespace ebb::kernels::cuda {

// Which bin a logit is in. Every step is monotone, so that bins are in the order of logits, and
// spelled out, so that all kernels agree bit for bit. Halves, because a difference may overflow.
struct SampleBins {
  float half_max;
  float half_span;
  float scale;

  __device__ SampleBins(const SampleBest& best, const SamplePlace& place) {
    const EbbCudaSampling& sampling = place.sampling;
    // exp(-reach) * kMassOfOne is less than 1: further down no token has any mass.
    float reach = 31.0f;
    if (place.wants.top_k == 0) {
      // Tokens of at most (1 - top_p) / vocabulary of the best one's weight together weigh less
      // than what top_p drops. A hundredth of a nat for all that is rounded, in floats or up.
      const float tail = logf(static_cast<float>(place.row.vocabulary) / (1.0f - sampling.top_p));
      reach = fminf(reach, tail + 0.01f);
    }
    half_max = 0.5f * LogitOfRank(best.allowed);
    const float lowest = fmaf(best.lowest, -0.5f, half_max);
    half_span = fmaxf(fminf(0.5f * reach * sampling.temperature, lowest), 1e-30f);
    scale = static_cast<float>(place.sizes.bins - 1) / half_span;
  }

  // -1: past the bins.
  __device__ __forceinline__ int BinOf(float logit) const {
    const float half_distance = fmaf(logit, -0.5f, half_max);
    if (!(half_distance <= half_span)) return -1;
    // The sum's last bits are the rounded product, less than the number of bins.
    const float rounded = fmaf(half_distance, scale, 0x1p23f);
    return static_cast<int>(__float_as_uint(rounded) & 0x7FFFFFu);
  }
};

// A block's part of a row's bins.
struct SampleHistogram {
  uint32_t mass_words[2 * kBins];
  uint32_t counts[kBins];

  __device__ MassSums masses() { return {mass_words, kBins}; }
  __device__ void Clear() {
    for (int bin = Thread(); bin < kBins; bin += kSplitThreads) {
      masses().Set(bin, 0);
      counts[bin] = 0;
    }
  }
  __device__ void AddTo(const SamplePlace& place) {
    for (int bin = Thread(); bin < place.sizes.bins; bin += kSplitThreads) {
      const Mass mass = masses().at(bin);
      if (mass != 0) atomicAdd(&place.bin_masses[bin], mass);
      if (counts[bin] != 0) atomicAdd(&place.bin_counts[bin], counts[bin]);
    }
  }
};

// Finds the plan of a row's cut from its bins: for a block of kSplitThreads threads, all together.
class SampleCutFinder {
 public:
  struct Shared {
    BlockExchange exchange;
    SampleCutPlan plan;
    Mass mass_of_k_bin;
  };

  __device__ SampleCutFinder(Shared* shared, const SamplePlace& place)
      : shared_(shared),
        place_(place),
        begin_(min(Thread() * kOwn, place.sizes.bins)),
        end_(min(begin_ + kOwn, place.sizes.bins)) {
    own_mass_ = 0;
    own_count_ = 0;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      if (begin_ + i >= end_) continue;
      own_mass_ += place.bin_masses[begin_ + i];
      own_count_ += place.bin_counts[begin_ + i];
    }
    mass_ = BlockScan(&shared->exchange, own_mass_);
    count_ = BlockScan(&shared->exchange, own_count_);
  }

  __device__ SampleCutPlan Find() {
    const SampleWants& wants = place_.wants;
    SampleCutPlan* const plan = &shared_->plan;
    if (threadIdx.x == 0) {
      *plan = {mass_.total + place_.scratch->mass_past_bins, 0, kBins, 0, kBins, -1, kBins};
      shared_->mass_of_k_bin = 0;
    }
    __syncthreads();
    if (wants.top_k > 0) FindTopK(static_cast<Mass>(wants.top_k));
    __syncthreads();
    if (wants.top_p) {
      const Mass least = plan->mass_before_k;
      const Mass most = least + shared_->mass_of_k_bin;
      const float top_p = place_.sampling.top_p;
      FindFirstOfTopP(ShareOf(top_p, least));
      FindLastOfTopP(ShareOf(top_p, most));
    }
    __syncthreads();
    SampleCutPlan found = *plan;
    found.sure = wants.top_p ? found.p_first : found.k_bin;
    return found;
  }

 private:
  static constexpr int kOwn = kBins / kSplitThreads;  // Adjacent bins.

  // Whether the mass is reached in this thread's bins.
  __device__ bool Reaches(Mass target) const {
    return mass_.before < target && target <= mass_.before + own_mass_;
  }

  // REQUIRES: Reaches(target). *before becomes the mass before the bin that it gives.
  __device__ int BinThatReaches(Mass target, Mass* before) const {
    *before = mass_.before;
    int bin = begin_;
    while (*before + place_.bin_masses[bin] < target) *before += place_.bin_masses[bin++];
    return bin;
  }

  __device__ void FindTopK(Mass target) {
    if (target <= count_.before || target > count_.before + own_count_) return;
    Mass mass = mass_.before;
    Mass count = count_.before;
    int bin = begin_;
    while (count + place_.bin_counts[bin] < target) {
      count += place_.bin_counts[bin];
      mass += place_.bin_masses[bin++];
    }
    shared_->plan.k_bin = bin;
    shared_->plan.k_needed = static_cast<int32_t>(target - count);
    shared_->plan.mass_before_k = mass;
    shared_->mass_of_k_bin = place_.bin_masses[bin];
  }

  __device__ void FindFirstOfTopP(Mass target) {
    if (!Reaches(target)) return;
    Mass before;
    shared_->plan.p_first = BinThatReaches(target, &before);
    shared_->plan.mass_before_p = before;
  }

  __device__ void FindLastOfTopP(Mass target) {
    Mass before;
    if (Reaches(target)) shared_->plan.p_last = BinThatReaches(target, &before);
  }

  Shared* const shared_;
  const SamplePlace& place_;
  const int begin_;
  const int end_;
  Mass own_mass_;
  Mass own_count_;
  Scanned mass_;
  Scanned count_;
};

}  // namespace ebb::kernels::cuda

// Choosing among a row's tokens, one block for a row: which of the undecided ones stay, the token
// at which the mass summed in the order of ids passes a number, and the most likely ones.
//
// The undecided tokens are in a list, where it has a place for each of them; else the row is read
// again and again. What is found is the same. All functions are for the whole block together.
#pragma once

#include <cstdint>

#include "kernels/cuda/sample_bins.cuh"

namespace ebb::kernels::cuda {

constexpr int kChooseThreads = 512;
constexpr int kDigits = 256;
static_assert(kChooseThreads >= kDigits && kChooseThreads >= kSegmentTokens);

// A block's shared memory; the masses of all segments follow it.
struct ChooseShared {
  Mass list[kCutPlaces];  // Ranks.
  uint32_t digit_words[2 * kDigits];
  BlockExchange exchange;
  // Found by one thread for all.
  Mass found_needed;
  int32_t found_at;
  int32_t list_count;

  __device__ MassSums digits() { return {digit_words, kDigits}; }
  __device__ MassSums segments(int32_t count) {
    return {reinterpret_cast<uint32_t*>(this + 1), count};
  }
};

// Tokens in the shared list. Calls visit(rank, true) once for each of them, and visit(0, false)
// where a warp has a lane to spare, so that the lanes of a warp are together in each call.
struct ListedTokens {
  const ChooseShared* shared;
  int32_t count;

  template <typename Visit>
  __device__ void ForEach(const Visit& visit) const {
    for (int32_t begin = 0; begin < count; begin += kChooseThreads) {
      const int32_t i = begin + Thread();
      visit(i < count ? shared->list[i] : 0, i < count);
    }
  }
};

// All tokens of a row.
struct RowTokens {
  SampleRow row;
  int32_t segments;

  // Calls visit(id, logit, allowed logit) for each token, the lanes of a warp together; past the
  // row's end both are -infinity.
  template <typename Visit>
  __device__ void ForEach(const Visit& visit) const {
    for (int32_t s = WarpOfThread(); s < segments; s += WarpsOfBlock()) {
      const SampleSegment segment(row, s);
#pragma unroll
      for (int i = 0; i < kSegmentLoads; ++i) {
        visit(segment.id(i), segment.logits[i], segment.allowed(i));
      }
    }
  }
};

// The largest rank such that the tokens with it or a larger one have at least `target` mass.
// for_each(visit) calls visit(rank, mass) for the tokens, the lanes of a warp together.
// REQUIRES: 1 <= target <= the mass of all tokens.
template <typename ForEach>
__device__ inline Mass FindRank(ChooseShared* shared, Mass target, const ForEach& for_each) {
  const int thread = Thread();
  Mass found = 0;
  Mass known_bits = 0;
  for (int shift = 56; shift >= 0; shift -= 8) {
    const Mass digit_bits = Mass{kDigits - 1} << shift;
    if (shift == 24) {  // The same in all ranks: ids have fewer bits.
      found |= digit_bits;
      known_bits |= digit_bits;
      continue;
    }
    if (thread < kDigits) shared->digits().Set(thread, 0);
    __syncthreads();
    bool crowded = true;
    for_each([&](Mass rank, Mass mass) {
      const bool counts = mass != 0 && (rank & known_bits) == found;
      WarpAdd(counts ? static_cast<int>(rank >> shift & (kDigits - 1)) : -1, mass, &crowded,
              [&](int digit, Mass sum, int) { shared->digits().Add(digit, sum); });
    });
    __syncthreads();
    // The largest digit in thread 0.
    const int digit = kDigits - 1 - thread;
    const Mass own = thread < kDigits ? shared->digits().at(digit) : 0;
    const Mass before = BlockScan(&shared->exchange, own).before;
    if (before < target && target <= before + own) {
      shared->found_at = digit;
      shared->found_needed = target - before;
    }
    __syncthreads();
    found |= static_cast<Mass>(shared->found_at) << shift;
    target = shared->found_needed;
    known_bits |= digit_bits;
  }
  return found;
}

// The cut of a row: only tokens with `rank` or a larger one stay. 0: all.
//
// undecided(visit) calls visit(rank, wanted) for the undecided tokens of the plan, the lanes of a
// warp together.
template <typename Undecided>
__device__ inline Mass FindCut(ChooseShared* shared, const SampleCutPlan& plan,
                               const SampleWants& wants, float top_p, const SampleBins& bins,
                               const Softmax& softmax, const Undecided& undecided) {
  Mass cut = 0;
  Mass total = plan.mass_before_k;
  const auto in_k_bin = [&](Mass rank) { return bins.BinOf(LogitOfRank(rank)) == plan.k_bin; };
  if (plan.k_bin < kBins) {
    cut = FindRank(shared, static_cast<Mass>(plan.k_needed), [&](const auto& visit) {
      undecided([&](Mass rank, bool wanted) { visit(rank, wanted && in_k_bin(rank) ? 1 : 0); });
    });
  }
  if (!wants.top_p) return cut;
  const auto mass_of = [&](Mass rank, bool wanted) {
    return wanted && rank >= cut ? softmax.MassOf(LogitOfRank(rank)) : 0;
  };
  if (plan.k_bin < kBins) {
    Mass own = 0;
    undecided([&](Mass rank, bool wanted) { own += mass_of(rank, wanted && in_k_bin(rank)); });
    total += BlockSum(&shared->exchange, own);
  }
  // Undecided tokens of k_bin have the smallest ranks, so they do not disturb where the share is
  // reached before that bin.
  return FindRank(shared, ShareOf(top_p, total) - plan.mass_before_p, [&](const auto& visit) {
    undecided([&](Mass rank, bool wanted) { visit(rank, mass_of(rank, wanted)); });
  });
}

// Draws by walking the tokens that stay in the order of ids: the one at which the sum of their
// masses passes unit * their whole mass. `segments` has the masses of all segments;
// mass_of(id, allowed logit) is that of one token.
template <typename MassOfToken>
__device__ inline int32_t DrawInOrder(ChooseShared* shared, const SampleRow& row,
                                      int32_t segment_count, double unit,
                                      const MassOfToken& mass_of) {
  const int32_t thread = Thread();
  const MassSums segments = shared->segments(segment_count);
  const int32_t each = (segment_count + kChooseThreads - 1) / kChooseThreads;
  const int32_t first = min(thread * each, segment_count);
  const int32_t last = min(first + each, segment_count);
  Mass own = 0;
  for (int32_t s = first; s < last; ++s) own += segments.at(s);
  const Scanned scanned = BlockScan(&shared->exchange, own);
  const Mass target =
      min(static_cast<Mass>(unit * static_cast<double>(scanned.total)), scanned.total - 1);
  if (scanned.before <= target && target < scanned.before + own) {
    Mass before = scanned.before;
    int32_t s = first;
    while (before + segments.at(s) <= target) before += segments.at(s++);
    shared->found_at = s;
    shared->found_needed = target - before;
  }
  __syncthreads();
  const int32_t id = shared->found_at * kSegmentTokens + thread;
  const Mass needed = shared->found_needed;
  Mass mass = 0;
  if (thread < kSegmentTokens && id < row.vocabulary) {
    const bool banned = row.banned_words != nullptr &&
                        (row.banned_words[id / kWarpLanes] >> (id % kWarpLanes) & 1u) != 0;
    mass = mass_of(id, banned ? MinusInfinity() : row.logits[id]);
  }
  const Mass before = BlockScan(&shared->exchange, mass).before;
  if (before <= needed && needed < before + mass) shared->found_at = id;
  __syncthreads();
  return shared->found_at;
}

// Calls write(place, rank) for the `count` largest ranks of the shared list.
template <typename Write>
__device__ inline void WriteLargest(const ChooseShared* shared, int32_t list_count, int32_t count,
                                    const Write& write) {
  for (int32_t i = Thread(); i < list_count; i += kChooseThreads) {
    const Mass own = shared->list[i];
    int32_t place = 0;
    for (int32_t j = 0; j < list_count && place < count; ++j) {
      place += shared->list[j] > own ? 1 : 0;
    }
    if (place < count) write(place, own);
  }
}

}  // namespace ebb::kernels::cuda

// The last of the sampling kernels, for a row that the others have made ready: the exact cut, the
// draw, the most likely tokens. One block for a row, all of it together.
#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "kernels/cuda/sample_select.cuh"

namespace ebb::kernels::cuda {

// The list of the scratch memory, in shared memory, as far as it fits.
__device__ inline void LoadList(ChooseShared* shared, const Mass* list, int32_t count) {
  for (int32_t i = Thread(); i < count; i += kChooseThreads) shared->list[i] = list[i];
  __syncthreads();
}

// Decides which of the undecided tokens stay, adds them to the segments, and gives the cut.
template <typename Undecided>
__device__ inline Mass CutAndAdd(ChooseShared* shared, const SamplePlace& place,
                                 int32_t segment_count, const SampleBins& bins,
                                 const Softmax& softmax, const Undecided& undecided) {
  const Mass cut = FindCut(shared, place.scratch->plan, place.wants, place.sampling.top_p, bins,
                           softmax, undecided);
  const MassSums segments = shared->segments(segment_count);
  undecided([&](Mass rank, bool wanted) {
    const bool stays = wanted && rank >= cut;
    bool crowded = true;
    WarpAdd(stays ? IdOfRank(rank) / kSegmentTokens : -1,
            stays ? softmax.KeptMassOf(LogitOfRank(rank)) : 0, &crowded,
            [&](int segment, Mass sum, int) { segments.Add(segment, sum); });
  });
  __syncthreads();
  return cut;
}

__device__ inline Mass CutRow(ChooseShared* shared, const SamplePlace& place,
                              const Softmax& softmax) {
  const SampleScratch* const scratch = place.scratch;
  const SampleBins bins(scratch->best, place);
  if (scratch->cut_count <= place.sizes.cut_places) {
    LoadList(shared, place.cut_list, scratch->cut_count);
    const ListedTokens listed = {shared, scratch->cut_count};
    return CutAndAdd(shared, place, place.sizes.segments, bins, softmax,
                     [&](const auto& visit) { listed.ForEach(visit); });
  }
  const SampleCutPlan& plan = scratch->plan;
  const RowTokens tokens = {place.row, place.sizes.segments};
  return CutAndAdd(shared, place, place.sizes.segments, bins, softmax, [&](const auto& visit) {
    tokens.ForEach([&](int32_t id, float, float allowed) {
      visit(RankOf(KeyOf(allowed), id), plan.Undecided(bins.BinOf(allowed)));
    });
  });
}

__device__ inline int32_t DrawToken(ChooseShared* shared, const SamplePlace& place) {
  for (int32_t s = Thread(); s < place.sizes.segments; s += kChooseThreads) {
    shared->segments(place.sizes.segments).Set(s, place.segment_masses[s]);
  }
  __syncthreads();
  const Softmax softmax = AllowedSoftmax(place.scratch->best, place.sampling);
  const Mass cut = place.wants.cut() ? CutRow(shared, place, softmax) : 0;
  return DrawInOrder(shared, place.row, place.sizes.segments, place.sampling.unit,
                     [&](int32_t id, float logit) {
                       if (RankOf(KeyOf(logit), id) < cut) return Mass{0};
                       return softmax.KeptMassOf(logit);
                     });
}

// The most likely tokens of the raw logits.
__device__ inline void WriteTop(ChooseShared* shared, const SamplePlace& place, double log_total,
                                EbbCudaSampled* out) {
  const SampleScratch* const scratch = place.scratch;
  const int32_t count = place.wants.top_count;
  __syncthreads();  // The list has served.
  int32_t listed = scratch->top_count;
  if (listed <= place.sizes.top_places) {
    LoadList(shared, place.top_list, listed);
  } else {
    // Of more than a thousand nearly equal logits, exactly those that are wanted.
    const RowTokens tokens = {place.row, place.sizes.segments};
    const Mass cut = FindRank(shared, static_cast<Mass>(count), [&](const auto& visit) {
      tokens.ForEach([&](int32_t id, float logit, float) {
        const uint32_t key = KeyOf(logit);
        visit(RankOf(key, id), key >= scratch->top_bound && id < place.row.vocabulary ? 1 : 0);
      });
    });
    if (Thread() == 0) shared->list_count = 0;
    __syncthreads();
    tokens.ForEach([&](int32_t id, float logit, float) {
      const Mass rank = RankOf(KeyOf(logit), id);
      if (rank < cut) return;
      if (id < place.row.vocabulary) shared->list[atomicAdd(&shared->list_count, 1)] = rank;
    });
    __syncthreads();
    listed = count;
  }
  WriteLargest(shared, listed, count, [&](int32_t at, Mass rank) {
    out->top_ids[at] = IdOfRank(rank);
    out->top_logprobs[at] = static_cast<float>(LogitOfRank(rank) - log_total);
  });
}

}  // namespace ebb::kernels::cuda

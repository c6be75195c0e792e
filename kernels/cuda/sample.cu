// Logits to sampled tokens: four kernels, of which a row takes those that it needs.
//
//   scan     splits x rows   the most likely token, NaN?, where the rest lies
//   weigh    splits x rows   the masses of the raw distribution, of segments; or the row's bins
//   cut      splits x rows   top_k, top_p: segments of what surely stays, the undecided in a list
//   choose   rows            the exact cut, the draw, log-probabilities
//
// The semantics are model/sampler.h's. Blocks of a row hand over through scratch memory between
// kernels, never within one: a kernel writes there what only later kernels read, or adds to it.
//
// Floor: scan reads the logits from memory, once: 4 bytes a token, 11 us for 64 rows of 128k tokens
// at an H100's 3 TB/s. Weigh and cut read them from the L2 cache, where that many just fit, and are
// bound by instructions: a weight takes 17 in double precision, of which a multiprocessor does 64
// per clock (9 us for those tokens on 132 of them), among 37 in all, of which it issues 128 per
// clock (10 us); with the additions to bins about 65 (18 us). Cut weighs only where a warp has
// tokens that stay. For few rows the time is that of four launches, each a chain of loads and
// barriers: 1 to 2 us where a row does not need a kernel, 3 to 5 us where it does, 8 us for choose
// after a cut.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "device/cuda/cuda_error.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/prelude.cuh"
#include "kernels/cuda/sample_bins.cuh"
#include "kernels/cuda/sample_block.cuh"
#include "kernels/cuda/sample_choose.cuh"
#include "kernels/cuda/sample_row.cuh"
#include "kernels/cuda/sample_select.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int32_t kVocabularyMax = 1 << 20;
// Rows that the kernels work on at a time: what bounds the scratch memory.
constexpr int32_t kRowsMax = 64;
// Blocks of a launch, in so far as there is work for them: 8 for each of an H100's multiprocessors.
constexpr int32_t kSplitBlocks = 1024;
constexpr int kSplitBlocksPerSm = 8;
constexpr float kFloatInfinity = __builtin_huge_valf();

__device__ int32_t RowStatus(const SampleWants& wants, const SampleBest& best) {
  const uint32_t raw = KeyOfRank(best.raw);
  if (raw == kKeyOfNan) return EBB_CUDA_ROW_NAN;
  if (raw == kKeyOfInfinity) return EBB_CUDA_ROW_INFINITE;
  if (raw == kKeyOfMinusInfinity) return EBB_CUDA_ROW_EMPTY;
  if (wants.token && KeyOfRank(best.allowed) == kKeyOfMinusInfinity) return EBB_CUDA_ROW_EMPTY;
  return EBB_CUDA_ROW_OK;
}

// Merged over the block's warps.
__device__ SampleBest BlockBest(SampleBest* warps, SampleBest best) {
  best.raw = WarpMax(best.raw);
  best.allowed = WarpMax(best.allowed);
  best.lowest = WarpMin(best.lowest);
  if (LaneOfThread() == 0) warps[WarpOfThread()] = best;
  __syncthreads();
  for (int w = 0; w < kSplitWarps; ++w) {
    best.raw = max(best.raw, warps[w].raw);
    best.allowed = max(best.allowed, warps[w].allowed);
    best.lowest = fminf(best.lowest, warps[w].lowest);
  }
  return best;
}

// ---- scan

// Sets the bits of the split's banned ids.
__device__ void MarkBanned(const EbbCudaSample& op, const SamplePlace& place,
                           const SplitSegments& segments) {
  uint32_t* const words = place.row.banned_words;
  for (int32_t w = segments.begin * kSegmentLoads + Thread(); w < segments.end * kSegmentLoads;
       w += kSplitThreads) {
    words[w] = 0;
  }
  __syncthreads();
  const int32_t end = min(segments.end * kSegmentTokens, place.row.vocabulary);
  for (int32_t i = Thread(); i < place.sampling.banned_count; i += kSplitThreads) {
    const int32_t id = op.banned[place.sampling.banned_begin + i];
    if (id < segments.begin * kSegmentTokens || id >= end) continue;
    atomicOr(&words[id / kWarpLanes], 1u << (id % kWarpLanes));
  }
  __syncthreads();
}

// Makes ready what later kernels add to.
__device__ void ClearSums(const SampleParams& params, const SamplePlace& place) {
  const int32_t split = static_cast<int32_t>(blockIdx.x);
  if (split == 0 && Thread() == 0) {
    place.scratch->cut_count = 0;
    place.scratch->top_count = 0;
    place.scratch->mass_past_bins = 0;
  }
  if (!place.wants.cut()) return;
  for (int32_t bin = split * kSplitThreads + Thread(); bin < place.sizes.bins;
       bin += params.splits * kSplitThreads) {
    place.bin_masses[bin] = 0;
    place.bin_counts[bin] = 0;
  }
}

EBB_LAUNCH_BOUNDS(kSplitThreads, kSplitBlocksPerSm)
__global__ void ScanKernel(const SampleParams params) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  EBB_DYNAMIC_SHARED(memory);
  const SamplePlace place(params, static_cast<int32_t>(blockIdx.y));
  if (!place.wants.any()) return;
  const SplitSegments segments(params);
  const bool bans = place.row.banned_words != nullptr;
  if (bans) MarkBanned(params.op, place, segments);
  ClearSums(params, place);

  // Ids ascend in a thread, so the first of equals is kept.
  float raw = MinusInfinity();
  float allowed = MinusInfinity();
  float lowest = kFloatInfinity;
  int32_t raw_id = 0;
  int32_t allowed_id = 0;
  bool nan = false;
  for (int32_t s = segments.begin + WarpOfThread(); s < segments.end; s += kSplitWarps) {
    const SampleSegment segment(place.row, s);
#pragma unroll
    for (int i = 0; i < kSegmentLoads; ++i) {
      const float logit = segment.logits[i];
      nan |= logit != logit;
      if (logit > raw) {
        raw = logit;
        raw_id = segment.id(i);
      }
      const float choosable = segment.allowed(i);
      if (bans && choosable > allowed) {
        allowed = choosable;
        allowed_id = segment.id(i);
      }
      if (choosable > MinusInfinity() && choosable < lowest) lowest = choosable;
    }
  }
  if (!bans) {
    allowed = raw;
    allowed_id = raw_id;
  }
  const int32_t split = static_cast<int32_t>(blockIdx.x);
  if (place.wants.top_count > 0) {
    float group = raw;
    for (int offset = 1; offset < kGroupLanes; offset *= 2) {
      group = fmaxf(group, __shfl_xor_sync(kWholeWarp, group, offset));
    }
    if (Thread() % kGroupLanes == 0) {
      place.group_keys[split * kGroups + Thread() / kGroupLanes] = KeyOf(group);
    }
  }
  const SampleBest best = BlockBest(
      reinterpret_cast<SampleBest*>(memory),
      {RankOf(nan ? kKeyOfNan : KeyOf(raw), raw_id), RankOf(KeyOf(allowed), allowed_id), lowest});
  if (Thread() == 0) place.bests[split] = best;
}

// ---- weigh

struct WeighShared {
  SampleBest warps[kSplitWarps];
  BlockExchange exchange;
  uint32_t group_keys[kSplitThreads];
  SampleHistogram histogram;
};

// A raw key that at least top_count tokens reach, and few more as a rule: the top_count-th of the
// largest keys of disjoint parts of the row.
__device__ void FindTopBound(WeighShared* shared, const SampleParams& params,
                             const SamplePlace& place) {
  // Parts without a token have a key of -infinity, which all tokens reach.
  uint32_t own = kKeyOfMinusInfinity;
  constexpr int kStride = kSplitThreads / kGroups;
  for (int32_t s = Thread() / kGroups; s < params.splits; s += kStride) {
    own = max(own, place.group_keys[s * kGroups + Thread() % kGroups]);
  }
  shared->group_keys[Thread()] = own;
  __syncthreads();
  int32_t before = 0;
  for (int32_t t = 0; t < kSplitThreads; ++t) {
    const uint32_t other = shared->group_keys[t];
    before += other > own || (other == own && t < Thread()) ? 1 : 0;
  }
  if (before == place.wants.top_count - 1) place.scratch->top_bound = own;
}

// The masses of the split's segments, where all tokens stay that min_p keeps.
__device__ void WeighSegments(const SamplePlace& place, const SplitSegments& segments,
                              const Softmax& softmax) {
  for (int32_t s = segments.begin + WarpOfThread(); s < segments.end; s += kSplitWarps) {
    const SampleSegment segment(place.row, s);
    Mass sum = 0;
#pragma unroll
    for (int i = 0; i < kSegmentLoads; ++i) sum += softmax.KeptMassOf(segment.allowed(i));
    sum = WarpSum(sum);
    if (LaneOfThread() == 0) place.segment_masses[s] = sum;
  }
}

__device__ void FillBins(WeighShared* shared, const SamplePlace& place,
                         const SplitSegments& segments, const SampleBins& bins,
                         const Softmax& softmax) {
  SampleHistogram* const histogram = &shared->histogram;
  histogram->Clear();
  __syncthreads();
  const MassSums sums = histogram->masses();
  const bool counts = place.wants.top_k > 0;
  const bool weighs = place.wants.top_p;
  Mass past_bins = 0;
  for (int32_t s = segments.begin + WarpOfThread(); s < segments.end; s += kSplitWarps) {
    const SampleSegment segment(place.row, s);
    Mass masses[kSegmentLoads] = {};
    if (weighs) {
#pragma unroll
      for (int i = 0; i < kSegmentLoads; ++i) masses[i] = softmax.MassOf(segment.allowed(i));
    }
    bool crowded = true;
#pragma unroll
    for (int i = 0; i < kSegmentLoads; ++i) {
      const int bin = bins.BinOf(segment.allowed(i));
      if (bin < 0) past_bins += masses[i];
      WarpAdd(bin, masses[i], &crowded, [&](int common, Mass sum, int tokens) {
        if (counts) atomicAdd(&histogram->counts[common], static_cast<uint32_t>(tokens));
        if (weighs) sums.Add(common, sum);
      });
    }
  }
  past_bins = BlockSum(&shared->exchange, past_bins);
  if (Thread() == 0 && past_bins != 0) atomicAdd(&place.scratch->mass_past_bins, past_bins);
  histogram->AddTo(place);
}

__device__ Mass RawMassOfThread(const SamplePlace& place, const SplitSegments& segments,
                                const Softmax& softmax) {
  Mass sum = 0;
  for (int32_t s = segments.begin + WarpOfThread(); s < segments.end; s += kSplitWarps) {
    const SampleSegment segment(place.row, s);
#pragma unroll
    for (int i = 0; i < kSegmentLoads; ++i) sum += softmax.MassOf(segment.logits[i]);
  }
  return sum;
}

EBB_LAUNCH_BOUNDS(kSplitThreads, kSplitBlocksPerSm)
__global__ void WeighKernel(const SampleParams params) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  EBB_DYNAMIC_SHARED(memory);
  WeighShared* const shared = reinterpret_cast<WeighShared*>(memory);
  const SamplePlace place(params, static_cast<int32_t>(blockIdx.y));
  const SampleWants& wants = place.wants;
  SampleScratch* const scratch = place.scratch;
  const int32_t split = static_cast<int32_t>(blockIdx.x);
  if (!wants.any()) return;
  const bool weighs = wants.drawn || wants.logprobs();
  if (!weighs && split != 0) return;

  SampleBest best = {0, 0, kFloatInfinity};
  if (Thread() < params.splits) best = place.bests[Thread()];
  best = BlockBest(shared->warps, best);
  const int32_t status = RowStatus(wants, best);
  if (split == 0) {
    if (Thread() == 0) {
      scratch->best = best;
      scratch->status = status;
    }
    if (wants.top_count > 0) FindTopBound(shared, params, place);
  }
  if (!weighs || status != EBB_CUDA_ROW_OK) return;

  const SplitSegments segments(params);
  if (wants.cut()) {
    FillBins(shared, place, segments, SampleBins(best, place),
             AllowedSoftmax(best, place.sampling));
  } else if (wants.drawn) {
    WeighSegments(place, segments, AllowedSoftmax(best, place.sampling));
  }
  if (wants.logprobs()) {
    const Mass sum =
        BlockSum(&shared->exchange, RawMassOfThread(place, segments, RawSoftmax(best)));
    if (Thread() == 0) place.raw_masses[split] = sum;
  }
}

// ---- cut

// The masses of the split's segments, of the tokens that surely stay; the undecided go in a list.
__device__ void CutSegments(const SamplePlace& place, const SplitSegments& segments,
                            const SampleCutPlan& plan) {
  SampleScratch* const scratch = place.scratch;
  const SampleBins bins(scratch->best, place);
  const Softmax softmax = AllowedSoftmax(scratch->best, place.sampling);
  const auto is_sure = [&](float logit) {
    const int bin = bins.BinOf(logit);
    return bin >= 0 && bin < plan.sure;
  };
  for (int32_t s = segments.begin + WarpOfThread(); s < segments.end; s += kSplitWarps) {
    const SampleSegment segment(place.row, s);
    bool any_sure = false;
#pragma unroll
    for (int i = 0; i < kSegmentLoads; ++i) {
      const float logit = segment.allowed(i);
      any_sure |= is_sure(logit);
      WarpAppend(place.cut_list, place.sizes.cut_places, &scratch->cut_count,
                 RankOf(KeyOf(logit), segment.id(i)), plan.Undecided(bins.BinOf(logit)));
    }
    Mass sum = 0;
    if (__any_sync(kWholeWarp, any_sure ? 1 : 0) != 0) {
#pragma unroll
      for (int i = 0; i < kSegmentLoads; ++i) {
        const Mass mass = softmax.KeptMassOf(segment.allowed(i));
        if (is_sure(segment.allowed(i))) sum += mass;
      }
      sum = WarpSum(sum);
    }
    if (LaneOfThread() == 0) place.segment_masses[s] = sum;
  }
}

__device__ void ListTop(const SamplePlace& place, const SplitSegments& segments) {
  SampleScratch* const scratch = place.scratch;
  const uint32_t bound = scratch->top_bound;
  for (int32_t s = segments.begin + WarpOfThread(); s < segments.end; s += kSplitWarps) {
    const SampleSegment segment(place.row, s);
#pragma unroll
    for (int i = 0; i < kSegmentLoads; ++i) {
      const uint32_t key = KeyOf(segment.logits[i]);
      WarpAppend(place.top_list, place.sizes.top_places, &scratch->top_count,
                 RankOf(key, segment.id(i)), key >= bound && segment.id(i) < place.row.vocabulary);
    }
  }
}

EBB_LAUNCH_BOUNDS(kSplitThreads, kSplitBlocksPerSm)
__global__ void CutKernel(const SampleParams params) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  EBB_DYNAMIC_SHARED(memory);
  auto* const shared = reinterpret_cast<SampleCutFinder::Shared*>(memory);
  const SamplePlace place(params, static_cast<int32_t>(blockIdx.y));
  const SampleWants& wants = place.wants;
  if (!wants.cut() && wants.top_count <= 0) return;
  if (place.scratch->status != EBB_CUDA_ROW_OK) return;
  const SplitSegments segments(params);
  if (wants.cut()) {
    const SampleCutPlan plan = SampleCutFinder(shared, place).Find();
    if (blockIdx.x == 0 && Thread() == 0) place.scratch->plan = plan;
    CutSegments(place, segments, plan);
  }
  if (wants.top_count > 0) ListTop(place, segments);
}

// ---- choose

EBB_LAUNCH_BOUNDS(kChooseThreads, 1)
__global__ void ChooseKernel(const SampleParams params) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  EBB_DYNAMIC_SHARED(memory);
  ChooseShared* const shared = reinterpret_cast<ChooseShared*>(memory);
  const SamplePlace place(params, static_cast<int32_t>(blockIdx.x));
  const SampleWants& wants = place.wants;
  const SampleScratch* const scratch = place.scratch;
  if (!wants.any()) return;
  EbbCudaSampled* const out = &params.op.out[blockIdx.x];
  if (Thread() == 0) {
    out->status = scratch->status;
    out->log_total = 0;
    out->token_id = -1;
    out->logit = 0;
    out->logprob = 0;
    out->target_logprob = 0;
    out->top_count = 0;
  }
  if (scratch->status != EBB_CUDA_ROW_OK) return;

  int32_t token = -1;
  if (wants.token) {
    token = wants.drawn ? DrawToken(shared, place) : IdOfRank(scratch->best.allowed);
    if (Thread() == 0) out->token_id = token;
  }
  if (!wants.logprobs()) return;
  const Mass own = Thread() < params.splits ? place.raw_masses[Thread()] : 0;
  const double total = static_cast<double>(BlockSum(&shared->exchange, own)) / kMassOfOne;
  const double log_total = static_cast<double>(LogitOfRank(scratch->best.raw)) + log(total);
  if (Thread() == 0) {
    const float* const logits = place.row.logits;
    out->log_total = log_total;
    if (wants.token_logprob) {
      out->logit = logits[token];
      out->logprob = static_cast<float>(out->logit - log_total);
    }
    if (wants.target_logprob) {
      out->target_logprob = static_cast<float>(logits[place.sampling.target_id] - log_total);
    }
    out->top_count = wants.top_count;
  }
  if (wants.top_count > 0) WriteTop(shared, place, log_total, out);
}

// ---- host

SampleSizes SizesOf(int32_t vocabulary) {
  SampleSizes sizes;
  sizes.segments = (vocabulary + kSegmentTokens - 1) / kSegmentTokens;
  // A segment for each warp, if there are as many.
  sizes.splits_max = std::min((sizes.segments + kSplitWarps - 1) / kSplitWarps, kSplitsMax);
  // A short row is soon read again, where a list has no place.
  sizes.bins = std::min(sizes.segments * 32, kBins);
  sizes.cut_places = std::clamp(vocabulary / 4, 64, kCutPlaces);
  sizes.top_places = std::clamp(vocabulary / 4, 64, kTopPlaces);
  return sizes;
}

bool IsVocabulary(int32_t vocabulary) { return vocabulary >= 1 && vocabulary <= kVocabularyMax; }

int32_t Refuse(const char* text) { return device::SetError(EBB_CUDA_INVALID_ARGUMENT, text); }

// At most kRowsMax rows.
int32_t LaunchRows(EbbCudaStream* stream, const EbbCudaSample& op) {
  const SampleSizes sizes = SizesOf(op.vocabulary);
  SampleParams params = {op, sizes, SampleRowBytes(sizes), 0, 0};
  const int32_t splits = std::min(sizes.splits_max, std::max(1, kSplitBlocks / op.rows));
  params.split_segments = (sizes.segments + splits - 1) / splits;
  params.splits = (sizes.segments + params.split_segments - 1) / params.split_segments;

  const dim3 grid(static_cast<unsigned>(params.splits), static_cast<unsigned>(op.rows));
  const dim3 block(kSplitThreads);
  int32_t code =
      LaunchKernel(ScanKernel, grid, block, kSplitWarps * sizeof(SampleBest), stream, params);
  if (code != EBB_CUDA_OK) return code;
  code = LaunchKernel(WeighKernel, grid, block, sizeof(WeighShared), stream, params);
  if (code != EBB_CUDA_OK) return code;
  code = LaunchKernel(CutKernel, grid, block, sizeof(SampleCutFinder::Shared), stream, params);
  if (code != EBB_CUDA_OK) return code;
  const size_t choose_bytes =
      sizeof(ChooseShared) + static_cast<size_t>(sizes.segments) * sizeof(Mass);
  return LaunchKernel(ChooseKernel, dim3(static_cast<unsigned>(op.rows)), dim3(kChooseThreads),
                      choose_bytes, stream, params);
}

}  // namespace

int64_t SampleScratchBytes(int32_t rows, int32_t vocabulary) {
  if (rows <= 0 || !IsVocabulary(vocabulary)) return 0;
  return std::min(rows, kRowsMax) * SampleRowBytes(SizesOf(vocabulary));
}

int32_t LaunchSample(EbbCudaStream* stream, const EbbCudaSample* op) {
  if (op == nullptr || op->rows < 0 || !IsVocabulary(op->vocabulary)) {
    return Refuse("sample: rows must be at least 0 and the vocabulary 1 to 1048576");
  }
  if (op->rows == 0) return EBB_CUDA_OK;
  if (op->logits == nullptr || op->sampling == nullptr || op->out == nullptr) {
    return Refuse("sample: a pointer is null");
  }
  if (op->scratch == nullptr || reinterpret_cast<uintptr_t>(op->scratch) % 16 != 0 ||
      op->scratch_bytes < SampleScratchBytes(op->rows, op->vocabulary)) {
    return Refuse("sample: the scratch memory is too small, or not aligned to 16");
  }
  for (int32_t first = 0; first < op->rows; first += kRowsMax) {
    EbbCudaSample part = *op;
    part.logits += int64_t{first} * op->vocabulary;
    part.sampling += first;
    part.out += first;
    part.rows = std::min(op->rows - first, kRowsMax);
    const int32_t code = LaunchRows(stream, part);
    if (code != EBB_CUDA_OK) return code;
  }
  return EBB_CUDA_OK;
}

}  // namespace ebb::kernels::cuda

// Logits to sampled tokens: one block for a row, shared memory only.
//
//   logits --> best, NaN? --> masses --> top_k cut --> top_p cut --> walk in id order --> token
//                 |             |                                                           |
//                 +- greedy ----|-----------------------------------------------------------+
//                               +--> log-probabilities, of the raw logits
//
// The semantics are model/sampler.h's. A greedy row without log-probabilities reads its logits
// once; each further arrow costs one more reading, mostly out of the L2 cache.
#include <cstddef>
#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "device/cuda/cuda_error.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/prelude.cuh"
#include "kernels/cuda/sample_block.cuh"
#include "kernels/cuda/sample_select.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kSmallVocabulary = 4096;
constexpr int kSmallThreads = 256;
constexpr double kFloatMax = 3.4028234663852886e38;
constexpr int kRaw = 0;
constexpr int kAllowed = 1;

// What a row wants beside a token.
struct Wants {
  bool token;
  bool token_logprob;
  bool target_logprob;
  int32_t top_count;

  __device__ bool logprobs() const { return token_logprob || target_logprob; }
};

__device__ Wants WantsOf(const EbbCudaSampling& sampling, int32_t vocabulary) {
  Wants wants;
  wants.token = sampling.sample != 0;
  wants.token_logprob = wants.token && sampling.top_count >= 0;
  wants.target_logprob = sampling.target_id >= 0 && sampling.target_id < vocabulary;
  wants.top_count = max(wants.token_logprob ? sampling.top_count : 0,
                        wants.target_logprob ? sampling.target_top_count : 0);
  wants.top_count = min(wants.top_count, min(EBB_CUDA_TOP_MAX, vocabulary));
  return wants;
}

// Sets the bits of the row's banned ids; null when it has none.
__device__ const uint32_t* MarkBanned(const EbbCudaSample& params, const EbbCudaSampling& sampling,
                                      uint32_t* words) {
  if (sampling.sample == 0 || sampling.banned_count <= 0) return nullptr;
  const int32_t thread = static_cast<int32_t>(threadIdx.x);
  const int32_t threads = static_cast<int32_t>(blockDim.x);
  for (int32_t w = thread; w < (params.vocabulary + 31) / 32; w += threads) words[w] = 0;
  __syncthreads();
  for (int32_t i = thread; i < sampling.banned_count; i += threads) {
    const int32_t id = params.banned[sampling.banned_begin + i];
    if (id >= 0 && id < params.vocabulary) atomicOr(&words[id >> 5], 1u << (id & 31));
  }
  __syncthreads();
  return words;
}

// The most likely tokens, as RankOf. With a NaN in the row the raw one's key is kKeyOfNan.
struct Best {
  Mass raw;
  Mass allowed;
};

__device__ Best FindBest(SampleShared* shared, const SampleRow& row) {
  // Ids ascend in a thread, so the first of equals is kept; no key is 0.
  uint32_t keys[2] = {0, 0};
  int32_t ids[2] = {0, 0};
  bool nan = false;
  ForEachLogit(row, [&](int32_t id, float logit) {
    nan |= logit != logit;
    const uint32_t key = KeyOf(logit);
    if (key > keys[kRaw]) {
      keys[kRaw] = key;
      ids[kRaw] = id;
    }
    if (row.banned_words == nullptr) return;
    const uint32_t allowed = AllowedKey(row, id, logit);
    if (allowed > keys[kAllowed]) {
      keys[kAllowed] = allowed;
      ids[kAllowed] = id;
    }
  });
  if (row.banned_words == nullptr) {
    keys[kAllowed] = keys[kRaw];
    ids[kAllowed] = ids[kRaw];
  }
  shared->thread_best[kRaw][threadIdx.x] = keys[kRaw];
  shared->thread_best[kAllowed][threadIdx.x] = keys[kAllowed];
  const MassPair best = BlockMax(shared, RankOf(nan ? kKeyOfNan : keys[kRaw], ids[kRaw]),
                                 RankOf(keys[kAllowed], ids[kAllowed]));
  return {best.first, best.second};
}

__device__ int32_t RowStatus(const Wants& wants, const Best& best) {
  const uint32_t raw = KeyOfRank(best.raw);
  if (raw == kKeyOfNan) return EBB_CUDA_ROW_NAN;
  if (raw == kKeyOfInfinity) return EBB_CUDA_ROW_INFINITE;
  if (raw == kKeyOfMinusInfinity) return EBB_CUDA_ROW_EMPTY;
  if (wants.token && KeyOfRank(best.allowed) == kKeyOfMinusInfinity) return EBB_CUDA_ROW_EMPTY;
  return EBB_CUDA_ROW_OK;
}

// Whole masses: of the raw distribution for log-probabilities, of the allowed one for top_p.
__device__ MassPair SumMasses(SampleShared* shared, const SampleRow& row, const Softmax& raw,
                              const Softmax& allowed, bool want_raw, bool want_allowed) {
  MassPair sums = {0, 0};
  if (!want_raw && !want_allowed) return sums;
  ForEachLogit(row, [&](int32_t id, float logit) {
    if (want_raw) sums.first += raw.MassOf(logit);
    if (want_allowed) sums.second += allowed.MassOf(LogitOf(AllowedKey(row, id, logit)));
  });
  return BlockSum(shared, sums.first, sums.second);
}

// Calls visit(key) for each candidate.
template <typename Visit>
__device__ void ForEachCandidate(SampleShared* shared, const SampleRow& row,
                                 const Candidates& candidates, const Visit& visit) {
  if (candidates.listed()) {
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < candidates.count;
         i += static_cast<int32_t>(blockDim.x)) {
      visit(KeyOfRank(shared->list[i]));
    }
    return;
  }
  ForEachLogit(row, [&](int32_t id, float logit) {
    const uint32_t key = AllowedKey(row, id, logit);
    if (key >= candidates.bound) visit(key);
  });
}

__device__ SampleCut CutToTopK(SampleShared* shared, const SampleRow& row,
                               const Candidates& candidates, int32_t count) {
  const FoundKey found = FindKey(
      shared, static_cast<Mass>(count),
      [&](const auto& visit) {
        ForEachCandidate(shared, row, candidates, [&](uint32_t key) { visit(key, 1); });
      },
      [](uint32_t) { return Mass{1}; });
  return {found.key, found.needed, found.mass};
}

// The mass that reaches `share` of `total`.
__device__ Mass ShareOf(float share, Mass total) {
  const double wanted = ceil(static_cast<double>(share) * static_cast<double>(total));
  const Mass mass = static_cast<Mass>(wanted);
  return mass < 1 ? 1 : min(mass, total);
}

// The most likely of what `cut` keeps, until they have `target` mass.
__device__ SampleCut CutToTopP(SampleShared* shared, const SampleRow& row,
                               const Candidates& candidates, const Softmax& softmax,
                               const SampleCut& cut, Mass target) {
  const auto mass_of = [&](uint32_t key) { return softmax.MassOf(LogitOf(key)); };
  const FoundKey found = FindKey(
      shared, target,
      [&](const auto& visit) {
        ForEachCandidate(shared, row, candidates, [&](uint32_t key) {
          if (key > cut.key) visit(key, 1);
        });
        if (threadIdx.x == 0 && cut.ties > 0) visit(cut.key, cut.ties);
      },
      mass_of);
  // Equal logits weigh the same, so their number follows from their mass.
  const Mass one = mass_of(found.key);
  const Mass ties = (found.needed + one - 1) / one;
  return {found.key, ties, found.key == cut.key ? cut.tie_count : found.mass / one};
}

// A logit such that all tokens below it together weigh less than `mass`: each weighs at most
// mass / vocabulary. Rounded down by far more than float rounds.
__device__ uint32_t BoundOfTail(const Softmax& softmax, Mass mass, int32_t vocabulary) {
  const double each = static_cast<double>(mass / static_cast<Mass>(vocabulary));
  const double weight = (each < 1 ? 0.5 : each) / kMassOfOne;
  const double logit = softmax.max + log(weight) / softmax.inverse_temperature;
  const double slack = 1e-6 * (fabs(softmax.max) + fabs(logit)) + 1e-30;
  return KeyOf(static_cast<float>(fmax(logit - slack, -kFloatMax)));
}

// The sum of the masses of what `cut` keeps. REQUIRES: the cut has a key.
__device__ Mass MassOfCut(SampleShared* shared, const SampleRow& row, const Candidates& candidates,
                          const Softmax& softmax, const SampleCut& cut) {
  Mass own = threadIdx.x == 0 ? softmax.MassOf(LogitOf(cut.key)) * cut.ties : 0;
  ForEachCandidate(shared, row, candidates, [&](uint32_t key) {
    if (key > cut.key) own += softmax.MassOf(LogitOf(key));
  });
  return BlockSum(shared, own, 0).first;
}

// top_k and top_p. `allowed_mass` is the whole mass where top_p alone is on.
__device__ SampleCut FindCut(SampleShared* shared, const SampleRow& row,
                             const EbbCudaSampling& sampling, const Softmax& softmax,
                             Mass allowed_mass) {
  SampleCut cut = {0, 0, 0};
  const auto key_of = [&](int32_t id, float logit) { return AllowedKey(row, id, logit); };
  if (sampling.top_k > 0 && sampling.top_k < row.vocabulary) {
    const uint32_t bound = BoundOfTop(shared, kAllowed, sampling.top_k);
    const Candidates candidates = Gather(shared, row, bound, key_of);
    cut = CutToTopK(shared, row, candidates, sampling.top_k);
    if (sampling.top_p < 1) {
      const Mass total = MassOfCut(shared, row, candidates, softmax, cut);
      const Mass target = ShareOf(sampling.top_p, total);
      cut = CutToTopP(shared, row, candidates, softmax, cut, target);
    }
  } else if (sampling.top_p < 1) {
    const Mass target = ShareOf(sampling.top_p, allowed_mass);
    const uint32_t bound = BoundOfTail(softmax, allowed_mass - target, row.vocabulary);
    const Candidates candidates = Gather(shared, row, bound, key_of);
    cut = CutToTopP(shared, row, candidates, softmax, cut, target);
  }
  return cut;
}

// Draws by walking what is left in the order of ids.
__device__ int32_t Draw(SampleShared* shared, const SampleRow& row, const EbbCudaSampling& sampling,
                        const Softmax& softmax, const SampleCut& cut) {
  int32_t last_tie = row.vocabulary;
  if (cut.ties < cut.tie_count) {
    last_tie = FindInOrder(
        shared, row,
        [&](int32_t id, float logit) {
          return static_cast<Mass>(AllowedKey(row, id, logit) == cut.key ? 1 : 0);
        },
        [&](Mass) { return cut.ties - 1; });
  }
  const double min_weight = static_cast<double>(sampling.min_p);
  return FindInOrder(
      shared, row,
      [&](int32_t id, float logit) {
        const uint32_t key = AllowedKey(row, id, logit);
        if (key < cut.key || (key == cut.key && id > last_tie)) return Mass{0};
        const double weight = softmax.WeightOf(LogitOf(key));
        return weight < min_weight ? Mass{0} : static_cast<Mass>(weight * kMassOfOne);
      },
      [&](Mass total) {
        const Mass target = static_cast<Mass>(sampling.unit * static_cast<double>(total));
        return min(target, total - 1);
      });
}

// The `count` most likely tokens of the raw logits into `out`.
__device__ void WriteTop(SampleShared* shared, const SampleRow& row, int32_t count,
                         double log_total, EbbCudaSampled* out) {
  const auto write = [&](int32_t place, Mass rank) {
    out->top_ids[place] = IdOfRank(rank);
    out->top_logprobs[place] = static_cast<float>(LogitOf(KeyOfRank(rank)) - log_total);
  };
  const auto raw_key = [](int32_t, float logit) { return KeyOf(logit); };
  const uint32_t bound = BoundOfTop(shared, kRaw, count);
  const Candidates candidates = Gather(shared, row, bound, raw_key);
  if (candidates.listed()) {
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < candidates.count;
         i += static_cast<int32_t>(blockDim.x)) {
      const Mass own = shared->list[i];
      int32_t place = 0;
      for (int32_t j = 0; j < candidates.count && place < count; ++j) {
        place += shared->list[j] > own ? 1 : 0;
      }
      if (place < count) write(place, own);
    }
    return;
  }
  // Thousands of equal logits: one after the other.
  Mass previous = ~Mass{0};
  for (int32_t place = 0; place < count; ++place) {
    Mass best = 0;
    ForEachLogit(row, [&](int32_t id, float logit) {
      const Mass rank = RankOf(KeyOf(logit), id);
      if (rank < previous && rank > best) best = rank;
    });
    previous = BlockMax(shared, best, 0).first;
    if (threadIdx.x == 0) write(place, previous);
  }
}

__device__ int32_t ChooseToken(SampleShared* shared, const SampleRow& row,
                               const EbbCudaSampling& sampling, const Softmax& softmax, Mass best,
                               Mass allowed_mass) {
  if (sampling.temperature == 0) return IdOfRank(best);
  const SampleCut cut = FindCut(shared, row, sampling, softmax, allowed_mass);
  return Draw(shared, row, sampling, softmax, cut);
}

EBB_LAUNCH_BOUNDS(kSampleThreadsMax, 1)
__global__ void SampleKernel(const EbbCudaSample params) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  EBB_DYNAMIC_SHARED(memory);
  SampleShared* shared = reinterpret_cast<SampleShared*>(memory);
  const int64_t index = static_cast<int64_t>(blockIdx.x);
  const EbbCudaSampling& sampling = params.sampling[index];
  const Wants wants = WantsOf(sampling, params.vocabulary);
  if (!wants.token && !wants.target_logprob) return;
  SampleRow row = {params.logits + index * params.vocabulary, params.vocabulary, nullptr};
  row.banned_words =
      MarkBanned(params, sampling, reinterpret_cast<uint32_t*>(memory + sizeof(SampleShared)));

  const Best best = FindBest(shared, row);
  const int32_t status = RowStatus(wants, best);
  EbbCudaSampled* out = &params.out[index];
  if (threadIdx.x == 0) {
    out->status = status;
    out->token_id = -1;
    out->logprob = 0;
    out->target_logprob = 0;
    out->top_count = 0;
  }
  if (status != EBB_CUDA_ROW_OK) return;

  const bool sampled = wants.token && sampling.temperature > 0;
  const Softmax raw = {LogitOf(KeyOfRank(best.raw)), 1.0};
  const Softmax allowed = {LogitOf(KeyOfRank(best.allowed)),
                           sampled ? 1.0 / static_cast<double>(sampling.temperature) : 1.0};
  const bool top_k_on = sampling.top_k > 0 && sampling.top_k < params.vocabulary;
  const MassPair masses = SumMasses(shared, row, raw, allowed, wants.logprobs(),
                                    sampled && !top_k_on && sampling.top_p < 1);
  int32_t token = -1;
  if (wants.token) {
    token = ChooseToken(shared, row, sampling, allowed, best.allowed, masses.second);
    if (threadIdx.x == 0) out->token_id = token;
  }
  if (!wants.logprobs()) return;
  const double log_total = raw.max + log(static_cast<double>(masses.first) / kMassOfOne);
  if (threadIdx.x == 0) {
    if (wants.token_logprob) out->logprob = static_cast<float>(row.logits[token] - log_total);
    if (wants.target_logprob) {
      out->target_logprob = static_cast<float>(row.logits[sampling.target_id] - log_total);
    }
    out->top_count = wants.top_count;
  }
  if (wants.top_count > 0) WriteTop(shared, row, wants.top_count, log_total, out);
}

}  // namespace

int32_t LaunchSample(EbbCudaStream* stream, const EbbCudaSample* op) {
  if (op == nullptr || op->rows < 0 || op->vocabulary < 1 ||
      op->vocabulary > kSampleVocabularyMax) {
    return device::SetError(EBB_CUDA_INVALID_ARGUMENT,
                            "sample: rows must be at least 0 and the vocabulary 1 to 1048576");
  }
  if (op->rows == 0) return EBB_CUDA_OK;
  if (op->logits == nullptr || op->sampling == nullptr || op->out == nullptr) {
    return device::SetError(EBB_CUDA_INVALID_ARGUMENT, "sample: a pointer is null");
  }
  // The number of threads changes no result.
  const unsigned threads = op->vocabulary <= kSmallVocabulary ? kSmallThreads : kSampleThreadsMax;
  const size_t banned_words = (static_cast<size_t>(op->vocabulary) + 31) / 32;
  const size_t shared_bytes = sizeof(SampleShared) + banned_words * sizeof(uint32_t);
  return LaunchKernel(SampleKernel, dim3(static_cast<unsigned>(op->rows)), dim3(threads),
                      shared_bytes, stream, *op);
}

}  // namespace ebb::kernels::cuda

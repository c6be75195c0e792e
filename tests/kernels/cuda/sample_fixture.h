// What the tests of the sampling kernels share: rows and what they ask for, the kernels run on
// them, and model/sampler.h as the oracle.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "base/rng.h"
#include "device/cuda/cuda_api.h"
#include "gtest/gtest.h"
#include "model/sampler.h"
#include "tests/kernels/cuda/op_fixture.h"

namespace ebb::kernels::cuda {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
// What an output that the kernel did not write holds.
inline constexpr int kPoison = 0xA5;

// What one row asks for.
struct RowRequest {
  model::SamplingParams params;
  int32_t index = 0;
  bool sample = true;
  int32_t target_id = -1;
  std::vector<int32_t> banned;
};

inline double UnitOf(const RowRequest& request) {
  return base::ToUnit(base::RandomBits(request.params.seed, static_cast<uint64_t>(request.index)));
}

// Runs the kernel on rows of the same length. `shift` floats lie before the first row, so that
// rows start at every place between the boundaries of 16 bytes.
class SampleTest : public OpFixture {
 protected:
  std::vector<EbbCudaSampled> Run(const std::vector<std::vector<float>>& rows,
                                  const std::vector<RowRequest>& requests, int shift = 0) {
    const int32_t vocabulary = static_cast<int32_t>(rows[0].size());
    std::vector<float> logits(static_cast<size_t>(shift), kNan);
    std::vector<EbbCudaSampling> sampling;
    std::vector<int32_t> banned = {0};
    for (size_t r = 0; r < rows.size(); ++r) {
      logits.insert(logits.end(), rows[r].begin(), rows[r].end());
      const RowRequest& request = requests[r];
      EbbCudaSampling row = {};
      row.unit = UnitOf(request);
      row.temperature = static_cast<float>(request.params.temperature);
      row.top_p = static_cast<float>(request.params.top_p);
      row.min_p = static_cast<float>(request.params.min_p);
      row.top_k = request.params.top_k;
      row.top_count = request.params.logprobs;
      row.target_id = request.target_id;
      row.target_top_count = request.params.prompt_logprobs;
      row.sample = request.sample ? 1 : 0;
      row.banned_begin = static_cast<int32_t>(banned.size());
      row.banned_count = static_cast<int32_t>(request.banned.size());
      banned.insert(banned.end(), request.banned.begin(), request.banned.end());
      sampling.push_back(row);
    }
    logits.insert(logits.end(), 4, kNan);  // Read by nobody.
    const std::vector<EbbCudaSampled> poison = Poison(rows.size());
    DeviceArray<float> device_logits = Upload(logits);
    DeviceArray<EbbCudaSampling> device_sampling = Upload(sampling);
    DeviceArray<int32_t> device_banned = Upload(banned);
    DeviceArray<EbbCudaSampled> out = Upload(poison);
    const int64_t scratch_bytes =
        api()->sample_scratch_bytes(static_cast<int32_t>(rows.size()), vocabulary);
    const DeviceArray<uint8_t> scratch = Poisoned<uint8_t>(static_cast<size_t>(scratch_bytes));
    EbbCudaSample op = {};
    op.logits = device_logits.data() + shift;
    op.sampling = device_sampling.data();
    op.banned = device_banned.data();
    op.out = out.data();
    op.scratch = scratch.data();
    op.scratch_bytes = scratch_bytes;
    op.rows = static_cast<int32_t>(rows.size());
    op.vocabulary = vocabulary;
    Expect(api()->sample(stream(), &op));
    return Download(out);
  }

  EbbCudaSampled RunOne(const std::vector<float>& row, const RowRequest& request, int shift = 0) {
    return Run({row}, {request}, shift)[0];
  }

  static std::vector<EbbCudaSampled> Poison(size_t count) {
    std::vector<EbbCudaSampled> poison(count);
    std::memset(poison.data(), kPoison, count * sizeof(EbbCudaSampled));
    return poison;
  }
};

// ---- the oracle's borders

// How near a row comes, in probability, to a place where rounding decides.
inline double DistanceToBorder(std::vector<float> logits, const RowRequest& request) {
  const model::SamplingParams& params = request.params;
  for (const int32_t id : request.banned) {
    if (id >= 0 && id < static_cast<int32_t>(logits.size())) logits[id] = -kInfinity;
  }
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  const auto weight = [&](int32_t id) {
    return std::exp((double{logits[id]} - logits[ids[0]]) / params.temperature);
  };
  const auto total_of = [&] {
    return std::accumulate(ids.begin(), ids.end(), 0.0,
                           [&](double sum, int32_t id) { return sum + weight(id); });
  };
  double nearest = 1;
  if (params.top_k > 0 && params.top_k < static_cast<int32_t>(ids.size())) {
    ids.resize(static_cast<size_t>(params.top_k));
  }
  if (params.top_p < 1) {
    const double total = total_of();
    double sum = 0;
    size_t kept = ids.size();
    for (size_t i = 0; i < ids.size(); ++i) {
      sum += weight(ids[i]) / total;
      nearest = std::min(nearest, std::abs(sum - params.top_p));
      if (sum >= params.top_p) kept = std::min(kept, i + 1);
    }
    ids.resize(kept);
  }
  std::vector<int32_t> left;
  for (const int32_t id : ids) {
    if (weight(id) >= params.min_p) left.push_back(id);
    if (params.min_p > 0) nearest = std::min(nearest, std::abs(weight(id) - params.min_p));
  }
  ids = left;
  std::sort(ids.begin(), ids.end());
  const double total = total_of();
  double sum = 0;
  for (const int32_t id : ids) {
    sum += weight(id) / total;
    nearest = std::min(nearest, std::abs(sum - UnitOf(request)));
  }
  return nearest;
}

// A token's weight is rounded down by up to 2^-43 of the best token's, and so a sum of `count` of
// them by count * 2^-43 of the best one's weight, which is at most the total.
inline double BorderTolerance(size_t count) {
  return static_cast<double>(count) * 0x1.0p-43 + 1e-13;
}

// The kernel's sum may be less by that share, the logarithm off by as much; then float32 rounds.
inline void ExpectLogprob(float got, float want, size_t count) {
  if (std::isinf(want)) {
    EXPECT_EQ(got, want);
    return;
  }
  EXPECT_NEAR(got, want, BorderTolerance(count) + std::abs(want) * 1.2e-7);
}

inline void ExpectTop(const EbbCudaSampled& got, const std::vector<model::TokenLogprob>& want,
                      size_t count) {
  ASSERT_LE(want.size(), static_cast<size_t>(got.top_count));
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got.top_ids[i], want[i].token_id) << "place " << i;
    ExpectLogprob(got.top_logprobs[i], want[i].logprob, count);
  }
}

inline EbbCudaRowStatus StatusOf(const absl::Status& status) {
  if (status.ok()) return EBB_CUDA_ROW_OK;
  const std::string text(status.message());
  if (text.find("NaN") != std::string::npos) return EBB_CUDA_ROW_NAN;
  if (text.find("+infinity") != std::string::npos) return EBB_CUDA_ROW_INFINITE;
  EXPECT_NE(text.find("no token is left"), std::string::npos) << text;
  return EBB_CUDA_ROW_EMPTY;
}

// Checks one row against model::Sample and model::LogProbs. True when rounding decided.
inline bool ExpectAsTheModelSamples(const std::vector<float>& logits, const RowRequest& request,
                                    const EbbCudaSampled& got) {
  model::SamplerScratch scratch;
  if (request.sample) {
    const auto want =
        model::Sample(logits, request.params, request.index, request.banned, &scratch);
    EXPECT_EQ(got.status, StatusOf(want.status()));
    if (!want.ok() || got.status != EBB_CUDA_ROW_OK) return false;
    if (got.token_id != want->token_id) {
      EXPECT_GT(request.params.temperature, 0);
      EXPECT_LT(DistanceToBorder(logits, request), BorderTolerance(logits.size()))
          << "token " << got.token_id << " instead of " << want->token_id;
      return true;
    }
    if (request.params.logprobs >= 0) {
      ExpectLogprob(got.logprob, want->logprob, logits.size());
      ExpectTop(got, want->top, logits.size());
    }
  }
  if (request.target_id >= 0) {
    const auto want = model::LogProbs(logits, request.target_id,
                                      std::max(0, request.params.prompt_logprobs), &scratch);
    EXPECT_EQ(got.status, StatusOf(want.status()));
    if (!want.ok() || got.status != EBB_CUDA_ROW_OK) return false;
    ExpectLogprob(got.target_logprob, want->logprob, logits.size());
    ExpectTop(got, want->top, logits.size());
  }
  return false;
}

// ---- random rows

template <typename T>
T OneOf(base::Rng* rng, const std::vector<T>& choices) {
  return choices[static_cast<size_t>(rng->Between(0, static_cast<int64_t>(choices.size()) - 1))];
}

inline std::vector<float> RandomLogits(base::Rng* rng, int32_t vocabulary) {
  std::vector<float> logits(static_cast<size_t>(vocabulary));
  const float scale = OneOf<float>(rng, {0, 1e-3f, 1, 5, 20, 1e30f});
  const bool ties = rng->Chance(0.3);
  const bool holes = rng->Chance(0.2);
  for (float& logit : logits) {
    // About normal.
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += rng->Unit() - 0.5;
    logit = static_cast<float>(sum) * scale;
    if (ties) logit = std::round(logit * 4) / 4;
    if (holes && rng->Chance(0.5)) logit = -kInfinity;
    if (rng->Chance(0.001)) logit = rng->Chance(0.5) ? 0.0f : -0.0f;
  }
  if (rng->Chance(0.3)) logits[static_cast<size_t>(rng->Between(0, vocabulary - 1))] += 8 * scale;
  return logits;
}

inline RowRequest RandomRequest(base::Rng* rng, const std::vector<float>& logits) {
  const int32_t vocabulary = static_cast<int32_t>(logits.size());
  const int32_t best =
      static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  RowRequest request;
  request.index = static_cast<int32_t>(rng->Between(0, 1000));
  model::SamplingParams& params = request.params;
  params.seed = rng->Bits();
  params.temperature = OneOf<float>(rng, {0, 1, 1, 0.7f, 0.1f, 3, 100, 1e-30f, 1e-6f, 1e30f});
  params.top_k = OneOf<int32_t>(
      rng, {0, 0, 0, 1, 2, 40, 300, std::max(1, vocabulary - 1), vocabulary, vocabulary + 7});
  params.top_p = OneOf<float>(rng, {1, 1, 0.99999994f, 0.999f, 0.9f, 0.5f, 1e-6f});
  params.min_p = OneOf<float>(rng, {0, 0, 0, 0.01f, 0.3f, 1});
  params.logprobs = OneOf<int32_t>(rng, {-1, -1, 0, 5, EBB_CUDA_TOP_MAX});
  if (rng->Chance(0.3)) {
    request.target_id = static_cast<int32_t>(rng->Between(0, vocabulary - 1));
    params.prompt_logprobs = OneOf<int32_t>(rng, {0, 1, 20});
    request.sample = rng->Chance(0.5);
  }
  if (rng->Chance(0.4)) request.banned = {best, best, -4, vocabulary + 9};
  if (rng->Chance(0.2)) {
    for (int i = 0; i < 50; ++i) {
      request.banned.push_back(static_cast<int32_t>(rng->Between(-5, vocabulary + 5)));
    }
  }
  return request;
}

}  // namespace ebb::kernels::cuda

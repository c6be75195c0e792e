// The sampling kernel against model/sampler.h.
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
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
// What an output that the kernel did not write holds.
constexpr int kPoison = 0xA5;

// What one row asks for.
struct RowRequest {
  model::SamplingParams params;
  int32_t index = 0;
  bool sample = true;
  int32_t target_id = -1;
  std::vector<int32_t> banned;
};

double UnitOf(const RowRequest& request) {
  return base::ToUnit(base::RandomBits(request.params.seed, static_cast<uint64_t>(request.index)));
}

// Runs the kernel on rows of the same length. `shift` floats lie before the first row, so that
// rows start at every place between the boundaries of vector loads.
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
double DistanceToBorder(std::vector<float> logits, const RowRequest& request) {
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
double BorderTolerance(size_t count) { return static_cast<double>(count) * 0x1.0p-43 + 1e-13; }

// The kernel's sum may be less by that share, the logarithm off by as much; then float32 rounds.
void ExpectLogprob(float got, float want, size_t count) {
  if (std::isinf(want)) {
    EXPECT_EQ(got, want);
    return;
  }
  EXPECT_NEAR(got, want, BorderTolerance(count) + std::abs(want) * 1.2e-7);
}

void ExpectTop(const EbbCudaSampled& got, const std::vector<model::TokenLogprob>& want,
               size_t count) {
  ASSERT_LE(want.size(), static_cast<size_t>(got.top_count));
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got.top_ids[i], want[i].token_id) << "place " << i;
    ExpectLogprob(got.top_logprobs[i], want[i].logprob, count);
  }
}

EbbCudaRowStatus StatusOf(const absl::Status& status) {
  if (status.ok()) return EBB_CUDA_ROW_OK;
  const std::string text(status.message());
  if (text.find("NaN") != std::string::npos) return EBB_CUDA_ROW_NAN;
  if (text.find("+infinity") != std::string::npos) return EBB_CUDA_ROW_INFINITE;
  EXPECT_NE(text.find("no token is left"), std::string::npos) << text;
  return EBB_CUDA_ROW_EMPTY;
}

// Checks one row against model::Sample and model::LogProbs. True when rounding decided.
bool ExpectAsTheModelSamples(const std::vector<float>& logits, const RowRequest& request,
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

std::vector<float> RandomLogits(base::Rng* rng, int32_t vocabulary) {
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

RowRequest RandomRequest(base::Rng* rng, const std::vector<float>& logits) {
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

TEST_F(SampleTest, RandomRowsAreAsTheModelSamples) {
  const uint64_t seed = TestSeed(20261);
  base::Rng rng(seed);
  int decided_by_rounding = 0;
  // Beside others, those around the borders of segments (256 tokens) and splits (1024 and more).
  for (const int32_t vocabulary : {1, 2, 7, 32, 33, 250, 255, 256, 257, 1000, 1003, 1024, 1025,
                                   2047, 2049, 3072, 4096, 5001, 9217}) {
    const int rows = vocabulary < 100 ? 60 : 20;
    std::vector<std::vector<float>> logits;
    std::vector<RowRequest> requests;
    for (int r = 0; r < rows; ++r) {
      logits.push_back(RandomLogits(&rng, vocabulary));
      requests.push_back(RandomRequest(&rng, logits.back()));
    }
    const std::vector<EbbCudaSampled> got =
        Run(logits, requests, static_cast<int>(rng.Between(0, 3)));
    for (int r = 0; r < rows; ++r) {
      SCOPED_TRACE(testing::Message() << "vocabulary " << vocabulary << " row " << r);
      decided_by_rounding += ExpectAsTheModelSamples(logits[r], requests[r], got[r]);
    }
  }
  // Of about 500 draws; each has a chance in the order of 1e-9, but for exact ties with a border.
  EXPECT_LE(decided_by_rounding, 4);
}

TEST_F(SampleTest, ALargeVocabulary) {
  base::Rng rng(TestSeed(7));
  const int32_t vocabulary = 50257;
  for (const bool flat : {false, true}) {
    std::vector<float> logits(vocabulary, 0.5f);
    if (!flat) {
      for (float& logit : logits) logit = static_cast<float>(rng.Unit() * 20);
    }
    std::vector<RowRequest> requests(4);
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].params.seed = rng.Bits();
      requests[i].params.logprobs = 8;
    }
    requests[1].params.top_k = 50;
    requests[1].params.top_p = 0.9f;
    requests[2].params.top_p = 0.95f;
    requests[3].params.temperature = 0;
    const std::vector<std::vector<float>> rows(requests.size(), logits);
    const std::vector<EbbCudaSampled> got = Run(rows, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "flat " << flat << " row " << i);
      ExpectAsTheModelSamples(logits, requests[i], got[i]);
    }
  }
}

// More equal logits than the kernel lists: every selection goes over the row.
TEST_F(SampleTest, ThousandsOfEqualLogits) {
  std::vector<float> logits(5003, 1.0f);
  logits[4000] = 2;
  logits[17] = -kInfinity;
  std::vector<RowRequest> requests(6);
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].params.seed = 100 + i;
    requests[i].params.logprobs = EBB_CUDA_TOP_MAX;
  }
  requests[0].params.top_k = 3000;
  requests[1].params.top_p = 0.5f;
  requests[2].params.top_k = 20;
  requests[2].params.top_p = 0.3f;
  requests[3].params.top_k = 4990;
  requests[3].params.top_p = 0.99f;
  requests[4].params.min_p = 0.5f;  // Only the best is likely enough.
  requests[5].params.temperature = 1e30f;
  const std::vector<std::vector<float>> rows(requests.size(), logits);
  const std::vector<EbbCudaSampled> got = Run(rows, requests, 1);
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "row " << i);
    ExpectAsTheModelSamples(logits, requests[i], got[i]);
  }
  EXPECT_EQ(got[4].token_id, 4000);
}

// More logits than the kernel lists in one of its bins, no two of them equal: one far below makes
// the bins wide, and at this temperature even that one has mass.
TEST_F(SampleTest, ThousandsOfNearlyEqualLogits) {
  base::Rng rng(TestSeed(31));
  std::vector<float> logits(6001);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = 1 + 0x1p-23f * static_cast<float>(i * 1237 % logits.size());
  }
  logits[3] = -1e30f;
  std::vector<RowRequest> requests(8);
  for (size_t i = 0; i < requests.size(); ++i) {
    model::SamplingParams& params = requests[i].params;
    params.seed = rng.Bits();
    params.temperature = 1e30f;
    params.logprobs = i % 2 == 0 ? EBB_CUDA_TOP_MAX : -1;
    params.top_k = OneOf<int32_t>(&rng, {0, 0, 3, 2500, 6000});
    params.top_p = OneOf<float>(&rng, {0.1f, 0.5f, 0.95f});
    if (i > 4) requests[i].banned = {4852, 0, 6000};
  }
  const std::vector<std::vector<float>> rows(requests.size(), logits);
  const std::vector<EbbCudaSampled> got = Run(rows, requests, 2);
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "row " << i);
    ExpectAsTheModelSamples(logits, requests[i], got[i]);
  }
}

TEST_F(SampleTest, AVocabularyOfEqualLogits) {
  const std::vector<float> logits(128256, -3.5f);
  std::vector<RowRequest> requests(2);
  requests[0].params.top_p = 0.75f;
  requests[0].params.seed = 1;
  requests[1].params.top_k = 40;
  requests[1].params.logprobs = 3;
  requests[1].params.seed = 2;
  const std::vector<EbbCudaSampled> got = Run({logits, logits}, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "row " << i);
    ExpectAsTheModelSamples(logits, requests[i], got[i]);
  }
}

// Logits at the ends of what a float holds, temperatures at the ends of what is taken.
TEST_F(SampleTest, ExtremeLogitsAndTemperatures) {
  const std::vector<std::vector<float>> rows = {
      {-3.3e38f, -3.35e38f, -3.39e38f, -3.4e38f, -kInfinity},
      {3.4e38f, -3.4e38f, 3.39e38f, 0},
      {1e-45f, 0, -1e-45f, 2e-45f},
      {-1e-38f, -1.5e-38f, -2e-38f, -3e-38f},
  };
  for (size_t r = 0; r < rows.size(); ++r) {
    for (const float temperature : {1e-45f, 1e-38f, 1.0f, 3e38f}) {
      for (const float top_p : {1.0f, 0.9f, 0.1f}) {
        RowRequest request;
        request.params.temperature = temperature;
        request.params.top_p = top_p;
        request.params.top_k = r % 2 == 0 ? 0 : 3;
        request.params.logprobs = 4;
        request.params.seed = 5 + r;
        SCOPED_TRACE(testing::Message()
                     << "row " << r << " temperature " << temperature << " top_p " << top_p);
        EXPECT_FALSE(ExpectAsTheModelSamples(rows[r], request, RunOne(rows[r], request)));
      }
    }
  }
}

// ---- by hand

RowRequest Greedy(std::vector<int32_t> banned = {}) {
  RowRequest request;
  request.params.temperature = 0;
  request.banned = std::move(banned);
  return request;
}

TEST_F(SampleTest, GreedyTakesTheLowestIdOfTheMostLikely) {
  EXPECT_EQ(RunOne({1, 3, 3, 2}, Greedy()).token_id, 1);
  EXPECT_EQ(RunOne({-kInfinity, -5}, Greedy()).token_id, 1);
  EXPECT_EQ(RunOne({7}, Greedy()).token_id, 0);
  EXPECT_EQ(RunOne({1, 3, 3, 2}, Greedy({1, 1, -4, 99})).token_id, 2);
  EXPECT_EQ(RunOne({-1, -0.0f, 0.0f}, Greedy()).token_id, 1);
  EXPECT_EQ(RunOne({-1, 0.0f, -0.0f}, Greedy()).token_id, 1);
  std::vector<float> row(1000, -2);
  row[998] = row[777] = row[901] = 4;
  for (int shift = 0; shift < 4; ++shift) {
    EXPECT_EQ(RunOne(row, Greedy(), shift).token_id, 777);
    EXPECT_EQ(RunOne(row, Greedy({777}), shift).token_id, 901);
  }
}

// Equal logits in different splits: those with the lowest ids are kept, and listed first.
TEST_F(SampleTest, EqualsAreTakenByTheirIdsAcrossSplits) {
  std::vector<float> row(5000, -2);
  const std::vector<int32_t> best = {4999, 1024, 3333, 1023, 70};
  for (const int32_t id : best) row[static_cast<size_t>(id)] = 4;
  std::vector<RowRequest> requests(40);
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].params.top_k = 3;
    requests[i].params.seed = i;
    requests[i].params.logprobs = 6;
    if (i % 2 == 1) requests[i].banned = {70};
  }
  const std::vector<std::vector<float>> rows(requests.size(), row);
  const std::vector<EbbCudaSampled> got = Run(rows, requests);
  std::vector<int32_t> drawn[2];
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(std::vector<int32_t>(got[i].top_ids, got[i].top_ids + 6),
              (std::vector<int32_t>{70, 1023, 1024, 3333, 4999, 0}));
    drawn[i % 2].push_back(got[i].token_id);
  }
  for (std::vector<int32_t>& ids : drawn) {
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  }
  EXPECT_EQ(drawn[0], (std::vector<int32_t>{70, 1023, 1024}));
  EXPECT_EQ(drawn[1], (std::vector<int32_t>{1023, 1024, 3333}));
}

TEST_F(SampleTest, BadRowsSayWhatIsWrong) {
  std::vector<float> good(1000, 1.0f);
  for (const size_t at : {0u, 1u, 3u, 500u, 999u}) {
    std::vector<float> nan = good;
    nan[at] = at % 2 == 0 ? kNan : -kNan;
    std::vector<float> infinite = good;
    infinite[at] = kInfinity;
    std::vector<float> both = nan;
    both[(at + 1) % both.size()] = kInfinity;
    const int32_t id = static_cast<int32_t>(at);
    const std::vector<EbbCudaSampled> got =
        Run({nan, infinite, both, nan, infinite, good},
            {Greedy(), Greedy(), Greedy(), Greedy({id}), Greedy({id}), Greedy({id})}, 3);
    const int32_t want[] = {EBB_CUDA_ROW_NAN, EBB_CUDA_ROW_INFINITE, EBB_CUDA_ROW_NAN,
                            EBB_CUDA_ROW_NAN, EBB_CUDA_ROW_INFINITE, EBB_CUDA_ROW_OK};
    for (size_t r = 0; r < got.size(); ++r) EXPECT_EQ(got[r].status, want[r]) << "row " << r;
  }
  RowRequest drawn;
  drawn.banned = {0, 1, 2};
  EXPECT_EQ(RunOne({1, 2, 3}, drawn).status, EBB_CUDA_ROW_EMPTY);
  EXPECT_EQ(RunOne({1, 2, 3}, Greedy({0, 1, 2})).status, EBB_CUDA_ROW_EMPTY);
  EXPECT_EQ(RunOne({-kInfinity, -kInfinity}, drawn).status, EBB_CUDA_ROW_EMPTY);
  RowRequest target;
  target.sample = false;
  target.target_id = 1;
  EXPECT_EQ(RunOne({-kInfinity, -kInfinity}, target).status, EBB_CUDA_ROW_EMPTY);
  EXPECT_EQ(RunOne({0, kNan}, target).status, EBB_CUDA_ROW_NAN);
}

TEST_F(SampleTest, RowsThatWantNothingAreSkipped) {
  RowRequest nothing;
  nothing.sample = false;
  const std::vector<EbbCudaSampled> got =
      Run({{kNan, 1}, {1, 2}, {kInfinity, 1}}, {nothing, Greedy(), nothing});
  EXPECT_EQ(got[1].token_id, 1);
  const EbbCudaSampled poison = Poison(1)[0];
  EXPECT_EQ(std::memcmp(&got[0], &poison, sizeof(poison)), 0);
  EXPECT_EQ(std::memcmp(&got[2], &poison, sizeof(poison)), 0);
}

TEST_F(SampleTest, LogprobsAreOfTheRawLogits) {
  // Two of four tokens at even odds, the others impossible.
  RowRequest request = Greedy({0});
  request.params.logprobs = 4;
  request.target_id = 3;
  request.params.prompt_logprobs = 2;
  const EbbCudaSampled got = RunOne({1, -kInfinity, 1, -kInfinity}, request);
  EXPECT_EQ(got.token_id, 2);
  EXPECT_FLOAT_EQ(got.logprob, std::log(0.5f));
  EXPECT_EQ(got.target_logprob, -kInfinity);
  ASSERT_EQ(got.top_count, 4);
  EXPECT_EQ(std::vector<int32_t>(got.top_ids, got.top_ids + 4), (std::vector<int32_t>{0, 2, 1, 3}));
  EXPECT_FLOAT_EQ(got.top_logprobs[1], std::log(0.5f));
  EXPECT_EQ(got.top_logprobs[3], -kInfinity);
}

// Half of four equals is two, exactly: those with the lowest ids.
TEST_F(SampleTest, AShareThatEndsBetweenEqualsTakesNoneTooMany) {
  std::vector<RowRequest> requests(60);
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].params.top_p = 0.5;
    requests[i].params.top_k = i % 2 == 0 ? 0 : 4;
    requests[i].params.seed = i;
  }
  const std::vector<std::vector<float>> rows(requests.size(), {3, -40, 3, 3, -40, 3});
  std::vector<int> counts(6);
  for (const EbbCudaSampled& drawn : Run(rows, requests)) ++counts[drawn.token_id];
  EXPECT_GT(counts[0], 0);
  EXPECT_GT(counts[2], 0);
  EXPECT_EQ(counts[0] + counts[2], 60);
}

// Pearson's chi-square of the draws of one distribution, 8 tokens, after top_k = 6.
TEST_F(SampleTest, DrawsFollowTheDistribution) {
  const std::vector<float> logits = {0, 1, -1, 2, 0.5f, 1.5f, -3, 0.25f};
  constexpr int kDraws = 2000;
  std::vector<RowRequest> requests(kDraws);
  for (int i = 0; i < kDraws; ++i) {
    requests[i].params.seed = 4711;
    requests[i].params.temperature = 1.5f;
    requests[i].params.top_k = 6;
    requests[i].index = i;
  }
  const std::vector<std::vector<float>> rows(kDraws, logits);
  std::vector<int> counts(logits.size());
  for (const EbbCudaSampled& drawn : Run(rows, requests)) ++counts[drawn.token_id];
  EXPECT_EQ(counts[2] + counts[6], 0);
  double total = 0;
  for (const int id : {0, 1, 3, 4, 5, 7}) total += std::exp(logits[id] / 1.5);
  double chi_square = 0;
  for (const int id : {0, 1, 3, 4, 5, 7}) {
    const double expected = kDraws * std::exp(logits[id] / 1.5) / total;
    chi_square += (counts[id] - expected) * (counts[id] - expected) / expected;
  }
  EXPECT_LT(chi_square, 20.5);  // 5 degrees of freedom: passed by one seed in a thousand.
}

// ---- promises

bool SameBits(const EbbCudaSampled& a, const EbbCudaSampled& b) {
  return a.status == b.status && a.token_id == b.token_id && a.top_count == b.top_count &&
         std::memcmp(&a.logprob, &b.logprob, sizeof(float)) == 0 &&
         std::memcmp(&a.target_logprob, &b.target_logprob, sizeof(float)) == 0 &&
         std::memcmp(a.top_ids, b.top_ids, sizeof(int32_t) * a.top_count) == 0 &&
         std::memcmp(a.top_logprobs, b.top_logprobs, sizeof(float) * a.top_count) == 0;
}

// Alone or among others, wherever it lies, in whatever order the threads run: the same bits.
TEST_F(SampleTest, ARowsBitsDependOnTheRowAlone) {
  base::Rng rng(TestSeed(99));
  for (const int32_t vocabulary : {1003, 5001}) {
    std::vector<std::vector<float>> logits;
    std::vector<RowRequest> requests;
    for (int r = 0; r < 20; ++r) {
      logits.push_back(RandomLogits(&rng, vocabulary));
      requests.push_back(RandomRequest(&rng, logits.back()));
    }
    const std::vector<EbbCudaSampled> together = Run(logits, requests);
    const std::vector<EbbCudaSampled> again = Run(logits, requests, 3);
    for (size_t r = 0; r < logits.size(); ++r) {
      EXPECT_TRUE(SameBits(together[r], again[r])) << "row " << r;
      const EbbCudaSampled alone = RunOne(logits[r], requests[r], static_cast<int>(r % 4));
      EXPECT_TRUE(SameBits(together[r], alone)) << "row " << r;
    }
  }
}

// The more rows, the fewer splits has each: neither that nor where a part of 64 rows ends shows.
TEST_F(SampleTest, ARowsBitsDoNotDependOnItsSplits) {
  base::Rng rng(TestSeed(100));
  constexpr int32_t kVocabulary = 20011;
  std::vector<std::vector<float>> logits(70, std::vector<float>(kVocabulary, kNan));
  RowRequest nothing;
  nothing.sample = false;
  std::vector<RowRequest> requests(logits.size(), nothing);
  const size_t used[] = {0, 1, 37, 62, 63, 64, 69};
  for (const size_t r : used) {
    logits[r] = RandomLogits(&rng, kVocabulary);
    requests[r] = RandomRequest(&rng, logits[r]);
  }
  const std::vector<EbbCudaSampled> together = Run(logits, requests);
  for (const size_t r : used) {
    EXPECT_TRUE(SameBits(together[r], RunOne(logits[r], requests[r]))) << "row " << r;
  }
}

TEST_F(SampleTest, TellsWhatIsWrongWithTheArguments) {
  float logit = 0;
  EbbCudaSampling sampling = {};
  EbbCudaSampled out = {};
  const int64_t bytes = api()->sample_scratch_bytes(1, 1);
  const DeviceArray<uint8_t> scratch(static_cast<size_t>(bytes));
  const EbbCudaSample good = {&logit, &sampling, nullptr, &out, scratch.data(), bytes, 1, 1};
  EbbCudaSample op = good;
  op.rows = 0;
  EXPECT_EQ(api()->sample(stream(), &op), EBB_CUDA_OK);
  for (const int32_t vocabulary : {0, -1, (1 << 20) + 1}) {
    op = good;
    op.vocabulary = vocabulary;
    EXPECT_EQ(api()->sample(stream(), &op), EBB_CUDA_INVALID_ARGUMENT);
    EXPECT_NE(std::string(api()->error_text()).find("vocabulary"), std::string::npos);
  }
  op = good;
  op.rows = -1;
  EXPECT_EQ(api()->sample(stream(), &op), EBB_CUDA_INVALID_ARGUMENT);
  op = good;
  op.logits = nullptr;
  EXPECT_EQ(api()->sample(stream(), &op), EBB_CUDA_INVALID_ARGUMENT);
  op = good;
  op.out = nullptr;
  EXPECT_EQ(api()->sample(stream(), &op), EBB_CUDA_INVALID_ARGUMENT);
  op = good;
  op.scratch = nullptr;
  EXPECT_EQ(api()->sample(stream(), &op), EBB_CUDA_INVALID_ARGUMENT);
  op = good;
  op.scratch += 8;
  EXPECT_EQ(api()->sample(stream(), &op), EBB_CUDA_INVALID_ARGUMENT);
  op = good;
  --op.scratch_bytes;
  EXPECT_EQ(api()->sample(stream(), &op), EBB_CUDA_INVALID_ARGUMENT);
  EXPECT_NE(std::string(api()->error_text()).find("scratch"), std::string::npos);
  EXPECT_EQ(api()->sample(stream(), nullptr), EBB_CUDA_INVALID_ARGUMENT);
  EXPECT_EQ(api()->sample_scratch_bytes(0, 1000), 0);
  EXPECT_EQ(api()->sample_scratch_bytes(1000, 1000), api()->sample_scratch_bytes(64, 1000));
}

}  // namespace
}  // namespace ebb::kernels::cuda

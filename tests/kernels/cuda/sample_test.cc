// The sampling kernels by hand: rows of which one can tell what must come out.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "device/cuda/cuda_api.h"
#include "gtest/gtest.h"
#include "tests/kernels/cuda/sample_fixture.h"

namespace ebb::kernels::cuda {
namespace {

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

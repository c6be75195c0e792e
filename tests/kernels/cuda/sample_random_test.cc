// The sampling kernels on random rows, and on rows made to be hard, against model/sampler.h.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "device/cuda/cuda_api.h"
#include "gtest/gtest.h"
#include "tests/kernels/cuda/sample_fixture.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

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

// Thousands of unlikely tokens that together weigh as much as the likely ones. The kernels' bins
// end where the rest, of at most (1 - top_p) / vocabulary of the best one's weight each, can weigh
// no more than what top_p drops. With the tokens beyond that bound they still count in what it
// takes a share of: with them two tokens stay, without them one. Before the bound, they are part of
// the cut.
TEST_F(SampleTest, UnlikelyTokensThatWeighMuchTogether) {
  base::Rng rng(TestSeed(57));
  constexpr int32_t kVocabulary = 5000;
  constexpr float kTopP = 0.6f;
  const float bound = std::log(kVocabulary / (1 - kTopP));
  for (const float temperature : {1.0f, 0.5f}) {
    for (const float distance : {bound + 0.07f, bound - 1.0f}) {
      std::vector<float> logits(kVocabulary);
      for (float& logit : logits) {
        logit = 2 - temperature * (distance + 0.01f * static_cast<float>(rng.Unit()));
      }
      logits[4321] = 2;
      logits[17] = 2 + temperature * std::log(0.5f);
      std::vector<RowRequest> requests(16);
      for (RowRequest& request : requests) {
        request.params.seed = rng.Bits();
        request.params.temperature = temperature;
        request.params.top_p = kTopP;
      }
      const std::vector<std::vector<float>> rows(requests.size(), logits);
      const std::vector<EbbCudaSampled> got = Run(rows, requests);
      for (size_t i = 0; i < requests.size(); ++i) {
        SCOPED_TRACE(testing::Message()
                     << "temperature " << temperature << " distance " << distance << " row " << i);
        ExpectAsTheModelSamples(logits, requests[i], got[i]);
      }
    }
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

}  // namespace
}  // namespace ebb::kernels::cuda

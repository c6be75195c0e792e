// What the server's metrics say of its predictions is what //bench/memory:prediction finds, which
// asks the predictor for each length when an answer begins and compares when it ends.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/memory/excerpt.h"
#include "bench/memory/length_rules.h"
#include "bench/memory/simulated_machine.h"
#include "bench/memory/step_times.h"
#include "engine/length_predictor.h"
#include "gtest/gtest.h"

namespace ebb::bench {
namespace {

constexpr int64_t kTokenBytes = 23040;
constexpr int64_t kKvBytes = 8192 * kTokenBytes;

class LengthScoresTest : public testing::TestWithParam<const char*> {
 protected:
  // One server answers the excerpt's requests, all of which have come at once.
  engine::LengthScores Serve(int64_t max_tokens, Calibration* calibration) {
    SimulatedMachine::Options options;
    options.division = Division::kStatic;
    options.kv_bytes = kKvBytes;
    options.part_bytes = {kKvBytes, 0};
    options.map_time = absl::Microseconds(1500);
    options.serving.running_max = 128;
    options.serving.workspace_bytes = int64_t{64} << 20;
    options.serving.max_tokens = max_tokens;
    options.serving.policy = [calibration](const engine::LocalEngineOptions& engine) {
      return std::make_unique<LengthRulePolicy>(scheduler::LocalPolicy::OptionsFrom(engine),
                                                LengthRule::kLearned, calibration);
    };
    const StepTimes times(Machine::kH100);
    SimulatedMachine machine(options, &times);
    SimulatedMachine::Load load;
    for (cli::Arrival arrival : ReadExcerpt(GetParam())) {
      if ((arrival.prompt_tokens + max_tokens) * kTokenBytes >= kKvBytes * 9 / 10) continue;
      arrival.at = absl::ZeroDuration();
      load.arrivals[0].push_back(arrival);
    }
    machine.Run(load, absl::Hours(10));
    return machine.length_scores();
  }

  // Also where a third and more of the answers reach their max_tokens.
  void ExpectSame(int64_t max_tokens) {
    Calibration calibration;
    calibration.learning = 0;
    const engine::LengthScores scores = Serve(max_tokens, &calibration);
    const auto& bounds = engine::LengthRanks::kBounds;
    std::vector<double> at_most(bounds.size() + 1, 0);
    for (const engine::LengthRanks& ranks : scores.ranks) {
      for (size_t i = 0; i <= bounds.size(); ++i) {
        for (size_t j = i; j <= bounds.size(); ++j) at_most[j] += ranks.counts[i];
      }
    }
    const double answers = at_most.back();
    ASSERT_GT(answers, 500);
    EXPECT_NEAR(static_cast<double>(calibration.answers), answers, 1e-6);
    for (int tenth = 1; tenth < 10; ++tenth) {
      size_t bound = 0;
      while (bounds[bound] < tenth / 10.0 - 1e-9) ++bound;
      ASSERT_DOUBLE_EQ(bounds[bound], tenth / 10.0);
      const double by_metric = 100.0 * at_most[bound] / answers;
      const double by_bench = 100.0 * calibration.within[tenth] / answers;
      EXPECT_NEAR(by_metric, by_bench, 1) << "percent within the quantile " << tenth / 10.0;
    }
  }
};

TEST_P(LengthScoresTest, TheMetricSaysWhatTheBenchFinds) { ExpectSame(1024); }

TEST_P(LengthScoresTest, AlsoWhereAnswersAreCutOff) { ExpectSame(128); }

INSTANTIATE_TEST_SUITE_P(Traces, LengthScoresTest,
                         testing::Values("azure_conv", "azure_code", "mooncake_conversation",
                                         "servegen_deepseek_r1"));

}  // namespace
}  // namespace ebb::bench

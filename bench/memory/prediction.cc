// What does it bring to predict how long answers will be? One server, too little memory.
//
//   bazel run //bench/memory:prediction [-- TRACE...]
//
// The excerpts of bench/data, scaled as scaling.json says, are sent to one simulated server (engine
// and memory are the real ones): all at once, and at 90 % of what it then does by the prior rule.
// Step times are those of two cores, with memory for 3k tokens, where computing is dear and memory
// hardly ever lacks; and those of an H100 with an 8B model and memory for 8k, where more sequences
// at once cost little. Requests state a max_tokens of 1,024 and end by themselves at the length
// that the trace has, as clients do that set a cap and forget it. The rules: length_rules.h; the
// oracle's requests state their true lengths.
//
// A good answer's first token comes within 10 s and no later one keeps it waiting for longer than
// 2 s (of a backlog, answers/s is what counts). Recomputed: tokens that were computed again after a
// preemption. Everything comes from seeds: the same figures each time.
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/memory/excerpt.h"
#include "bench/memory/length_rules.h"
#include "bench/memory/simulated_machine.h"
#include "bench/memory/step_times.h"
#include "cli/bench/arrivals.h"

namespace ebb::bench {
namespace {

constexpr int64_t kTokenBytes = 23040;  // SmolLM2's keys and values in f16.
constexpr int64_t kMaxTokens = 1024;
constexpr int kPercent = 90;
constexpr absl::Duration kFirstTokenMax = absl::Seconds(10);
constexpr absl::Duration kGapMax = absl::Seconds(2);
const char* const kTraces[] = {"azure_conv", "azure_code", "mooncake_conversation",
                               "servegen_deepseek_r1"};

struct Setup {
  const char* name;
  Machine machine;
  int64_t kv_bytes;
  int32_t running_max;
};

constexpr Setup kSetups[] = {{"two cores", Machine::kTwoCores, 3072 * kTokenBytes, 64},
                             {"H100", Machine::kH100, 8192 * kTokenBytes, 128}};

struct Rule {
  const char* name;
  LengthRule rule;
  double deviations = 0;
  bool states_length = false;
};

constexpr Rule kRules[] = {
    {"prior", LengthRule::kPrior},
    {"reserve_max", LengthRule::kReserveMax},
    {"past_future", LengthRule::kPastFuture},
    {"learned, z 0", LengthRule::kLearned, 0},
    {"learned, z 1/2", LengthRule::kLearned, 0.5},
    {"learned, z 1", LengthRule::kLearned, 1},
    {"learned, z 3/2", LengthRule::kLearned, 1.5},
    {"learned, z 2", LengthRule::kLearned, 2},
    {"oracle", LengthRule::kReserveMax, 0, true},
};

struct Result {
  double answers_per_second = 0;
  double good_share = 0;
  double preemptions = 0;        // For 1,000 requests.
  double recomputed_tokens = 0;  // For 1,000 requests.
  double use = 0;
  double calibration = 0;
};

class Bench {
 public:
  explicit Bench(const Setup& setup) : setup_(setup), times_(setup.machine) {}

  Result Run(const Rule& rule, const std::vector<cli::Arrival>& arrivals) const {
    Calibration calibration;
    SimulatedMachine::Options options;
    options.division = Division::kStatic;
    options.kv_bytes = setup_.kv_bytes;
    options.part_bytes = {setup_.kv_bytes, 0};
    options.map_time = absl::Microseconds(1500);
    options.serving.running_max = setup_.running_max;
    options.serving.workspace_bytes = int64_t{64} << 20;
    options.serving.max_tokens = rule.states_length ? 0 : kMaxTokens;
    options.serving.policy = [&](const engine::LocalEngineOptions& engine) {
      scheduler::LocalPolicyOptions policy = scheduler::LocalPolicy::OptionsFrom(engine);
      policy.admission.deviations = rule.deviations;
      return std::make_unique<LengthRulePolicy>(policy, rule.rule, &calibration);
    };
    SimulatedMachine machine(options, &times_);
    SimulatedMachine::Load load;
    load.arrivals[0] = arrivals;
    machine.Run(load, absl::Hours(10));
    const double thousands = static_cast<double>(arrivals.size()) / 1000;
    Result result;
    int64_t prompt_tokens = 0;
    int64_t good = 0;
    for (const auto& outcome : machine.outcomes(0)) {
      CHECK(outcome->ok);
      prompt_tokens += outcome->prompt_tokens;
      good += outcome->first_token <= kFirstTokenMax && outcome->largest_gap <= kGapMax;
    }
    result.answers_per_second =
        static_cast<double>(arrivals.size()) / absl::ToDoubleSeconds(machine.elapsed());
    result.good_share = static_cast<double>(good) / static_cast<double>(arrivals.size());
    result.preemptions = static_cast<double>(machine.preemptions()) / thousands;
    result.recomputed_tokens =
        static_cast<double>(machine.prefilled_tokens() - prompt_tokens) / thousands;
    result.use = machine.mean_use();
    result.calibration = calibration.ErrorPoints();
    return result;
  }

 private:
  const Setup setup_;
  const StepTimes times_;
};

void Print(const std::string& load, const Rule& rule, const Result& result) {
  std::printf("%-30s %-15s %9.3f %6.0f%% %12.1f %12.0f %8.0f%%", load.c_str(), rule.name,
              result.answers_per_second, 100 * result.good_share, result.preemptions,
              result.recomputed_tokens, 100 * result.use);
  if (rule.rule == LengthRule::kLearned) std::printf(" %11.1f", result.calibration);
  std::printf("\n");
  std::fflush(stdout);
}

// Those whose prompt and max_tokens fit into the memory at all.
std::vector<cli::Arrival> Requests(const std::string& trace, int64_t kv_bytes) {
  std::vector<cli::Arrival> requests;
  for (const cli::Arrival& arrival : ReadExcerpt(trace)) {
    if ((arrival.prompt_tokens + kMaxTokens) * kTokenBytes < kv_bytes * 9 / 10) {
      requests.push_back(arrival);
    }
  }
  return requests;
}

void Compare(const Setup& setup, const std::vector<std::string>& traces) {
  const Bench bench(setup);
  std::printf("\n%s\n%-30s %-15s %9s %7s %12s %12s %9s %11s\n", setup.name, "", "", "answers/s",
              "good", "preempted", "recomputed", "mean use", "calibration");
  std::printf("%-30s %-15s %9s %7s %12s %12s %9s %11s\n", "load", "rule", "", "", "of 1,000",
              "of 1,000", "of limit", "points off");
  for (const std::string& trace : traces) {
    std::vector<cli::Arrival> requests = Requests(trace, setup.kv_bytes);
    std::vector<cli::Arrival> backlog = requests;
    for (cli::Arrival& arrival : backlog) arrival.at = absl::ZeroDuration();
    double rate = 0;
    for (const Rule& rule : kRules) {
      const Result result = bench.Run(rule, backlog);
      if (rate == 0) rate = result.answers_per_second;
      Print(trace + ", backlog", rule, result);
    }
    AtRate(rate * kPercent / 100, &requests);
    for (const Rule& rule : kRules) {
      Print(trace + ", " + std::to_string(kPercent) + "%", rule, bench.Run(rule, requests));
    }
  }
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) {
  std::vector<std::string> traces(argv + 1, argv + argc);
  if (traces.empty()) traces.assign(std::begin(ebb::bench::kTraces), std::end(ebb::bench::kTraces));
  for (const ebb::bench::Setup& setup : ebb::bench::kSetups) ebb::bench::Compare(setup, traces);
  return 0;
}

#include "bench/memory/prefix_replay.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "bench/memory/simulated_machine.h"

namespace ebb::bench {
namespace {

constexpr absl::Duration kFirstTokenMax = absl::Seconds(10);
constexpr absl::Duration kGapMax = absl::Seconds(2);

// REQUIRES: sorted, not empty.
double Quantile(const std::vector<double>& values, double share) {
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

}  // namespace

PrefixReplayResult ReplayPrefixes(const PrefixTrace& trace, const PrefixReplayOptions& options,
                                  const StepTimes& times) {
  CHECK_EQ(options.blocks % kPrefixPageBlocks, int64_t{0});
  SimulatedMachine::Options machine_options;
  machine_options.division = Division::kStatic;
  machine_options.kv_bytes = options.blocks / kPrefixPageBlocks * kPrefixPageBytes;
  machine_options.part_bytes = {machine_options.kv_bytes, 0};
  machine_options.map_time = absl::Microseconds(1500);
  machine_options.serving.running_max = options.running_max;
  machine_options.serving.workspace_bytes = int64_t{64} << 20;
  machine_options.serving.prefix_cache = options.prefix_cache;
  machine_options.serving.prompt_of = [&](size_t request) { return trace.PromptOf(request); };
  SimulatedMachine machine(machine_options, &times);
  SimulatedMachine::Load load;
  load.arrivals[0] = trace.arrivals;
  machine.Run(load, absl::Hours(24));

  PrefixReplayResult result;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t good = 0;
  std::vector<double> first_tokens;
  for (const auto& outcome : machine.outcomes(0)) {
    CHECK(outcome->ok);
    prompt_tokens += outcome->prompt_tokens;
    cached_tokens += outcome->cached_tokens;
    good += outcome->first_token <= kFirstTokenMax && outcome->largest_gap <= kGapMax;
    first_tokens.push_back(absl::ToDoubleSeconds(outcome->first_token));
  }
  std::sort(first_tokens.begin(), first_tokens.end());
  const auto count = static_cast<double>(first_tokens.size());
  const double seconds = absl::ToDoubleSeconds(machine.last_token());
  result.hit_rate = static_cast<double>(cached_tokens) / static_cast<double>(prompt_tokens);
  result.answers_per_second = count / seconds;
  result.good_per_second = static_cast<double>(good) / seconds;
  result.first_token_mean_s =
      std::accumulate(first_tokens.begin(), first_tokens.end(), 0.0) / count;
  result.first_token_p50_s = Quantile(first_tokens, 0.5);
  result.first_token_p99_s = Quantile(first_tokens, 0.99);
  result.prefilled_tokens = machine.prefilled_tokens();
  result.preemptions = machine.preemptions();
  result.mean_held_bytes = machine.mean_held_bytes();
  return result;
}

}  // namespace ebb::bench

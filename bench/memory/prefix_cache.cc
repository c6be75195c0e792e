// What does the prefix cache bring on a real trace? One server, memory of several sizes.
//
//   bazel run //bench/memory:prefix_cache [-- REQUESTS]
//
// The first 4,000 requests of Mooncake's conversation trace (one id of its hash structure is one
// block: prefix_trace.h) are sent to one simulated server (engine and memory are the real ones):
// at 70 % of what it can do without a cache, and the first 1,000 all at once. Without a cache; with
// one that keeps everything until the room is wanted; with the default settings. Beside each: the
// hit rate of an ideal cache of the same size and rule, in which requests take no time, and the
// best that any cache of the size could have (ideal_prefixes.h). Everything comes from seeds: the
// same figures each time, but for the first table's, which are real nanoseconds.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/strings/numbers.h"
#include "base/check.h"
#include "bench/memory/excerpt.h"
#include "bench/memory/ideal_prefixes.h"
#include "bench/memory/prefix_costs.h"
#include "bench/memory/prefix_replay.h"
#include "bench/memory/prefix_trace.h"
#include "bench/memory/step_times.h"

namespace ebb::bench {
namespace {

constexpr int64_t kSizes[] = {1024, 3072, 10240, 30720};
constexpr int64_t kLargest = 30720;
constexpr int kPercent = 70;
constexpr size_t kBacklogRequests = 1000;
constexpr absl::Duration kLong = absl::Hours(24);

struct Setup {
  const char* name;
  Machine machine;
  int32_t running_max;
};
constexpr Setup kSetups[] = {{"two cores", Machine::kTwoCores, 64}, {"H100", Machine::kH100, 128}};

PrefixReplayOptions OptionsFor(const Setup& setup, int64_t blocks) {
  PrefixReplayOptions options;
  options.blocks = blocks;
  options.running_max = setup.running_max;
  return options;
}

PrefixTrace At(double per_second, PrefixTrace trace) {
  AtRate(per_second, &trace.arrivals);
  return trace;
}

// The same order, one after the other: what an ideal cache sees of a backlog.
PrefixTrace InTurn(double per_second, PrefixTrace trace) {
  for (size_t i = 0; i < trace.arrivals.size(); ++i) {
    trace.arrivals[i].at = absl::Seconds(static_cast<double>(i) / per_second);
  }
  return trace;
}

void Print(const char* name, const PrefixReplayResult& result, const PrefixReplayResult& off) {
  std::printf("  %-12s %7.3f %7.3f %8.3f %8.3f %8.3f %6.2f %9.0f %6lld %8.0f", name,
              result.answers_per_second, result.good_per_second, result.first_token_mean_s,
              result.first_token_p50_s, result.first_token_p99_s,
              result.first_token_mean_s / off.first_token_mean_s,
              static_cast<double>(result.prefilled_tokens) / 1000,
              static_cast<long long>(result.preemptions),  // NOLINT(runtime/int): printf's.
              result.mean_held_bytes / (1 << 20));
}

// One size, one load.
void Compare(const Setup& setup, const StepTimes& times, int64_t blocks, const PrefixTrace& trace,
             bool backlog) {
  PrefixReplayOptions options = OptionsFor(setup, blocks);
  std::printf("%lld blocks, %s; the best that could be found: %.1f %%\n",
              static_cast<long long>(blocks),  // NOLINT(runtime/int): printf's.
              backlog ? "backlog" : "70 %", 100 * BestHitRate(trace, blocks));
  const PrefixReplayResult off = ReplayPrefixes(trace, options, times);
  Print("off", off, off);
  std::printf("\n");
  for (const absl::Duration idle : {kLong, engine::PrefixCacheOptions().idle}) {
    options.prefix_cache.emplace();
    options.prefix_cache->idle = idle;
    const PrefixReplayResult on = ReplayPrefixes(trace, options, times);
    const PrefixTrace seen = backlog ? InTurn(on.answers_per_second, trace) : trace;
    Print(idle == kLong ? "idle 24 h" : "idle 60 s", on, off);
    std::printf(" %6.1f %6.1f\n", 100 * on.hit_rate, 100 * IdealHitRate(seen, blocks, {idle}));
    std::fflush(stdout);
  }
}

void Compare(const Setup& setup, const PrefixTrace& trace) {
  const StepTimes times(setup.machine);
  PrefixTrace backlog = trace;
  const size_t count = std::min(kBacklogRequests, trace.arrivals.size());
  backlog.arrivals.resize(count);
  backlog.blocks.resize(count);
  for (cli::Arrival& arrival : backlog.arrivals) arrival.at = absl::ZeroDuration();
  const double capacity =
      ReplayPrefixes(backlog, OptionsFor(setup, kLargest), times).answers_per_second;
  const PrefixTrace paced = At(capacity * kPercent / 100, trace);
  std::printf("\n%s\n  %-12s %7s %7s %26s %6s %9s %6s %8s %6s %6s\n", setup.name, "", "answers",
              "good", "first token, s", "mean:", "prefilled", "pre-", "held MiB", "found", "ideal");
  std::printf("  %-12s %7s %7s %8s %8s %8s %6s %9s %6s %8s %6s %6s\n", "cache", "/s", "/s", "mean",
              "p50", "p99", "off", "1,000 tok", "empted", "mean", "%", "%");
  for (const int64_t blocks : kSizes) {
    Compare(setup, times, blocks, paced, false);
    Compare(setup, times, blocks, backlog, true);
  }
}

// Which block should go? Ideal caches, at the trace's own times.
void CompareRules(const PrefixTrace& trace) {
  struct NamedRule {
    const char* name;
    IdealRule rule;
  };
  const NamedRule rules[] = {
      {"recency", {absl::ZeroDuration(), false, false}},
      {"hits count, idle 10 s", {absl::Seconds(10), true, false}},
      {"hits count, idle 60 s", {absl::Seconds(60), true, false}},
      {"hits count, idle 600 s", {absl::Seconds(600), true, false}},
      {"hits count, idle 24 h", {kLong, true, false}},
      {"recency, expires after 60 s", {absl::Seconds(60), false, true}},
      {"hits count, expires, idle 60 s", {absl::Seconds(60), true, true}},
      {"hits count, expires, idle 600 s", {absl::Seconds(600), true, true}},
  };
  std::printf("\nWhich goes first: hit rates of ideal caches, %%\n  %-32s", "blocks");
  for (const int64_t blocks : kSizes) {
    std::printf(" %6lld", static_cast<long long>(blocks));  // NOLINT(runtime/int): printf's.
  }
  for (const NamedRule& rule : rules) {
    std::printf("\n  %-32s", rule.name);
    for (const int64_t blocks : kSizes) {
      std::printf(" %6.1f", 100 * IdealHitRate(trace, blocks, rule.rule));
    }
  }
  std::printf("\n  %-32s", "the best that could be found");
  for (const int64_t blocks : kSizes) std::printf(" %6.1f", 100 * BestHitRate(trace, blocks));
  std::printf("\n");
  std::fflush(stdout);
}

void PrintCosts() {
  std::printf("\nHost, ns for a block (miss: for a prompt)\n  %-16s %6s %6s %6s %6s %10s %6s %6s\n",
              "tokens a block", "hash", "miss", "hit", "seal", "give back", "evict", "take");
  for (const int32_t block_tokens : {16, 4}) {
    const PrefixCosts costs = MeasurePrefixCosts(block_tokens);
    std::printf("  %-16d %6.0f %6.0f %6.0f %6.0f %10.0f %6.0f %6.0f\n", block_tokens, costs.hash_ns,
                costs.miss_ns, costs.hit_ns, costs.seal_ns, costs.give_back_ns, costs.evict_ns,
                costs.take_ns);
  }
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) {
  constexpr int kRequestsMin = 100;  // With fewer a rate means nothing.
  int64_t requests = 4000;
  if (argc > 2 ||
      (argc == 2 && (!absl::SimpleAtoi(argv[1], &requests) || requests < kRequestsMin))) {
    std::fprintf(stderr, "usage: prefix_cache [REQUESTS], at least %d\n", kRequestsMin);
    return 2;
  }
  const auto trace = ebb::bench::ReadPrefixTrace(static_cast<size_t>(requests));
  ebb::bench::PrintCosts();
  ebb::bench::CompareRules(trace);
  for (const ebb::bench::Setup& setup : ebb::bench::kSetups) ebb::bench::Compare(setup, trace);
  return 0;
}

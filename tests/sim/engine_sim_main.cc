// engine_sim --seeds=N --first=N [--queues=one] [--canary=NAME]: replays the engine from N seeds.
//
// Stops at the first failing seed and prints the command that replays it. Exit code 1 then.

#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/sim/engine_sim.h"

namespace {

char g_replay[256];  // What a signal handler may still print.

void SayReplay(int signal) {
  const ssize_t ignored = write(STDERR_FILENO, g_replay, std::strlen(g_replay));
  (void)ignored;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

bool ReadNumber(const char* argument, const char* name, uint64_t* value) {
  const size_t length = std::strlen(name);
  if (std::strncmp(argument, name, length) != 0) return false;
  *value = std::strtoull(argument + length, nullptr, 10);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seeds = 2000;
  uint64_t first = 1;
  ebb::sim::Canary canary = ebb::sim::Canary::kNone;
  ebb::engine::Queues queues = ebb::engine::Queues::kSeparate;
  for (int i = 1; i < argc; ++i) {
    if (ReadNumber(argv[i], "--seeds=", &seeds) || ReadNumber(argv[i], "--first=", &first))
      continue;
    if (std::strcmp(argv[i], "--queues=one") == 0) {
      queues = ebb::engine::Queues::kOne;
      continue;
    }
    bool known = false;
    for (int c = 0; c < ebb::sim::kCanaryCount; ++c) {
      if (std::string("--canary=") + ebb::sim::CanaryName(static_cast<ebb::sim::Canary>(c)) ==
          argv[i]) {
        canary = static_cast<ebb::sim::Canary>(c);
        known = true;
      }
    }
    if (!known) {
      std::fprintf(stderr, "usage: %s [--seeds=N] [--first=N] [--queues=one] [--canary=NAME]\n",
                   argv[0]);
      return 2;
    }
  }
  std::signal(SIGABRT, SayReplay);
  std::signal(SIGSEGV, SayReplay);
  ebb::sim::SimReport sum;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    std::snprintf(
        g_replay, sizeof g_replay, "seed %llu failed; replay: %s --seeds=1 --first=%llu%s\n",
        static_cast<unsigned long long>(seed), argv[0], static_cast<unsigned long long>(seed),
        queues == ebb::engine::Queues::kOne ? " --queues=one" : "");
    if (seed > first && (seed - first) % 5000 == 0) {
      std::fprintf(stderr, "%llu of %llu seeds\n", static_cast<unsigned long long>(seed - first),
                   static_cast<unsigned long long>(seeds));
    }
    const ebb::sim::SimReport report = ebb::sim::RunEngineSim(seed, canary, queues);
    if (!report.failure.empty()) {
      std::fprintf(stderr, "%s\n%s", report.failure.c_str(), g_replay);
      return 1;
    }
    sum.ticks += report.ticks;
    sum.requests += report.requests;
    sum.preemptions += report.preemptions;
    sum.deferred += report.deferred;
    sum.forced += report.forced;
    for (int fault = 0; fault < ebb::sim::kFaultCount; ++fault) {
      sum.faults[fault] += report.faults[fault];
    }
    sum.tokens += report.tokens;
    sum.moved_blocks += report.moved_blocks;
    sum.copied_blocks += report.copied_blocks;
    sum.swap.out_sequences_total += report.swap.out_sequences_total;
    sum.swap.in_sequences_total += report.swap.in_sequences_total;
    for (size_t i = 0; i < ebb::engine::kSwapFallbackCount; ++i) {
      sum.swap.fallbacks[i] += report.swap.fallbacks[i];
    }
  }
  std::printf(
      "%llu seeds: %lld ticks, %lld requests, %lld tokens, %lld preemptions, %lld blocks moved, "
      "%lld copied; %lld limits deferred, %lld requests forced out\n",
      static_cast<unsigned long long>(seeds), static_cast<long long>(sum.ticks),
      static_cast<long long>(sum.requests), static_cast<long long>(sum.tokens),
      static_cast<long long>(sum.preemptions), static_cast<long long>(sum.moved_blocks),
      static_cast<long long>(sum.copied_blocks), static_cast<long long>(sum.deferred),
      static_cast<long long>(sum.forced));
  std::printf("%lld swapped out, %lld in; recomputed: %lld full, %lld failed, %lld limit\n",
              static_cast<long long>(sum.swap.out_sequences_total),
              static_cast<long long>(sum.swap.in_sequences_total),
              static_cast<long long>(sum.swap.fallbacks[0]),
              static_cast<long long>(sum.swap.fallbacks[1]),
              static_cast<long long>(sum.swap.fallbacks[2]));
  for (int fault = 0; fault < ebb::sim::kFaultCount; ++fault) {
    std::printf("%10lld %s\n", static_cast<long long>(sum.faults[fault]),
                ebb::sim::FaultName(static_cast<ebb::sim::Fault>(fault)));
  }
  return 0;
}

// SimulatedMachine: two simulated servers on one device: its memory, its cores, its clock.
//
//   elastic    one ledger over all memory
//   static     each has its part for good
//   oracle     each second, who holds how much is decided anew by one who knows the lengths of
//              answers and the next second's arrivals, and whom a change costs nothing
//
// Cores: each server with a step in flight gets an equal part; within it decode's step goes first.
// So steps of both servers take twice as long as alone, and nothing is lost by switching.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "bench/memory/simulated_server.h"
#include "bench/memory/step_times.h"
#include "cli/bench/arrivals.h"
#include "memory/ledger_directory.h"

namespace ebb::bench {

enum class Division { kElastic, kStatic, kOracle };

class SimulatedMachine {
 public:
  struct Options {
    Division division = Division::kElastic;
    int64_t kv_bytes = 0;                    // Of both servers; workspaces come on top.
    std::array<int64_t, 2> part_bytes = {};  // kStatic: each one's KV; 0: it serves nothing.
    absl::Duration map_time;                 // Of a page.
    bool oracle_preempts = false;            // Else running requests keep what they hold.
    int64_t floor_bytes = 0;                 // kElastic: the first server's.
    SimulatedServing serving;
  };
  SimulatedMachine(const Options& options, const StepTimes* times);

  struct Load {
    std::array<std::vector<cli::Arrival>, 2> arrivals;
    // Above 0: so many clients take turns instead, each with its next request as soon as the last
    // is answered: at the second server for `half`, at the first for `half`, and so on to `end`.
    // The arrivals are the requests; their times count for nothing.
    int clients = 0;
    absl::Duration half;
    absl::Duration end;
  };
  // Sends the load, and goes on until all is answered or `most` has passed.
  void Run(const Load& load, absl::Duration most);

  const std::vector<std::shared_ptr<Outcome>>& outcomes(int server) const;
  int64_t preemptions() const;
  // Of the first server: prompt tokens computed, those of preempted requests again and again.
  int64_t prefilled_tokens() const;
  // Of the first server: what its metrics tell of its predictions.
  engine::LengthScores length_scores() const;
  // Of the first server, over the time that anything ran: live tokens' bytes, over its limit.
  double mean_use() const { return use_seconds_ / std::max(1e-9, busy_seconds_); }
  // Of the first server, over the same time: KV pages and workspaces.
  double mean_held_bytes() const { return held_byte_seconds_ / std::max(1e-9, busy_seconds_); }
  // When the last token of the first server's answers came.
  absl::Duration last_token() const;
  absl::Duration elapsed() const { return clock_.Now() - start_; }

 private:
  // Sends what is due. When the next is due by time alone.
  absl::Time SendArrivals(const Load& load, int server);
  absl::Time SendForClients(const Load& load, int server);
  void Submit(const Load& load, int server);
  void Advance(absl::Time until);
  void RunActors();
  // Time passes, and steps get on.
  void Pass(absl::Duration span);
  absl::Duration NextCompletion() const;
  // The part of the machine that the lane's step has now.
  double PartOf(int server, engine::Lane lane) const;
  void Resplit(const Load& load);

  const Options options_;
  const memory::LedgerDirectory ledger_{SimulatedServer::kDeviceId};
  base::FakeClock clock_;
  const absl::Time start_ = clock_.Now();
  device::FakeVmm vmm_;
  std::array<std::unique_ptr<SimulatedServer>, 2> servers_;  // Null where it has no memory.
  std::vector<std::shared_ptr<Outcome>> refused_[2];
  size_t next_[2] = {0, 0};  // Of the arrivals, to be sent.
  double use_seconds_ = 0;
  double held_byte_seconds_ = 0;
  double busy_seconds_ = 0;
};

}  // namespace ebb::bench

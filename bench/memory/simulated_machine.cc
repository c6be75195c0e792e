#include "bench/memory/simulated_machine.h"

#include <algorithm>

#include "base/check.h"
#include "memory/ledger_math.h"

namespace ebb::bench {
namespace {

using engine::Lane;
constexpr Lane kLanes[] = {Lane::kPrefill, Lane::kDecode};
constexpr int64_t kGranularityBytes = int64_t{2} << 20;

}  // namespace

SimulatedMachine::SimulatedMachine(const Options& options, const StepTimes* times)
    : options_(options), vmm_([&] {
        device::FakeVmm::Options vmm;
        vmm.granularity_bytes = kGranularityBytes;
        vmm.capacity_bytes = options.kv_bytes + 2 * options.serving.workspace_bytes;
        return vmm;
      }()) {
  vmm_.SetBeforeCall([this](device::VmmCall call) {
    if (call == device::VmmCall::kMap) Pass(options_.map_time);
  });
  for (int i = 0; i < 2; ++i) {
    SimulatedServer::Options server;
    server.ceiling_bytes = options.kv_bytes + options.serving.workspace_bytes;
    server.limit_bytes = server.ceiling_bytes;
    if (options.division == Division::kElastic) {
      server.ledger_directory = ledger_.directory();
      server.capacity_bytes = options.kv_bytes + 2 * options.serving.workspace_bytes;
      server.floor_bytes = i == 0 ? options.floor_bytes : 0;
    } else if (options.division == Division::kStatic) {
      if (options.part_bytes[i] == 0) continue;
      server.limit_bytes = options.part_bytes[i] + options.serving.workspace_bytes;
    }
    server.serving = options.serving;
    servers_[i] = std::make_unique<SimulatedServer>(server, times, &clock_, &vmm_);
  }
}

void SimulatedMachine::Run(const Load& load, absl::Duration most) {
  absl::Time resplit = start_;
  const absl::Time end = start_ + most;
  while (clock_.Now() < end) {
    // Looks whether all is answered once in a while.
    absl::Time until = std::min(end, clock_.Now() + absl::Seconds(1));
    if (options_.division == Division::kOracle) {
      if (clock_.Now() >= resplit) {
        Resplit(load);
        resplit += absl::Seconds(1);
      }
      until = std::min(until, resplit);
    }
    bool open = false;
    for (int i = 0; i < 2; ++i) {
      const absl::Time due = load.clients > 0 ? SendForClients(load, i) : SendArrivals(load, i);
      until = std::min(until, due);
      open |=
          due < absl::InfiniteFuture() || (servers_[i] != nullptr && servers_[i]->unfinished() > 0);
    }
    if (!open) return;
    Advance(until);
  }
}

absl::Time SimulatedMachine::SendArrivals(const Load& load, int server) {
  const std::vector<cli::Arrival>& arrivals = load.arrivals[server];
  size_t& next = next_[server];
  while (next < arrivals.size() && start_ + arrivals[next].at <= clock_.Now()) Submit(load, server);
  return next < arrivals.size() ? start_ + arrivals[next].at : absl::InfiniteFuture();
}

absl::Time SimulatedMachine::SendForClients(const Load& load, int server) {
  constexpr absl::Duration kLook = absl::Milliseconds(10);
  const absl::Duration at = clock_.Now() - start_;
  if (at >= load.end) return absl::InfiniteFuture();
  const bool first_half = static_cast<int64_t>(absl::FDivDuration(at, load.half)) % 2 == 0;
  const bool on = first_half == (server == 1);
  while (on && servers_[server] != nullptr && servers_[server]->unfinished() < load.clients) {
    Submit(load, server);
  }
  return clock_.Now() + kLook;
}

void SimulatedMachine::Submit(const Load& load, int server) {
  CHECK_LT(next_[server], load.arrivals[server].size());
  const cli::Arrival& arrival = load.arrivals[server][next_[server]++];
  if (servers_[server] == nullptr) {
    refused_[server].push_back(std::make_shared<Outcome>());
  } else {
    servers_[server]->Submit(arrival);
  }
}

void SimulatedMachine::Advance(absl::Time until) {
  do {
    RunActors();
    absl::Time next = std::min(until, clock_.Now() + NextCompletion());
    for (const auto& server : servers_) {
      if (server != nullptr) next = std::min(next, server->next_run());
    }
    Pass(std::max(absl::ZeroDuration(), next - clock_.Now()));
  } while (clock_.Now() < until);
}

void SimulatedMachine::RunActors() {
  for (bool ran = true; ran;) {
    ran = false;
    for (const auto& server : servers_) ran |= server != nullptr && server->RunActors();
  }
}

double SimulatedMachine::PartOf(int server, Lane lane) const {
  if (servers_[server] == nullptr || !servers_[server]->runner().left(lane).has_value()) return 0;
  if (lane == Lane::kPrefill && servers_[server]->runner().left(Lane::kDecode).has_value())
    return 0;
  const auto& other = servers_[1 - server];
  const bool shared = other != nullptr && (other->runner().left(Lane::kPrefill).has_value() ||
                                           other->runner().left(Lane::kDecode).has_value());
  return shared ? 0.5 : 1;
}

absl::Duration SimulatedMachine::NextCompletion() const {
  absl::Duration next = absl::InfiniteDuration();
  for (int i = 0; i < 2; ++i) {
    for (const Lane lane : kLanes) {
      const double part = PartOf(i, lane);
      if (part == 0) continue;
      next = std::min(next, absl::Ceil(absl::Seconds(*servers_[i]->runner().left(lane) / part),
                                       absl::Microseconds(1)));
    }
  }
  return next;
}

void SimulatedMachine::Pass(absl::Duration span) {
  clock_.Advance(span);
  if (NextCompletion() < absl::InfiniteDuration() && servers_[0] != nullptr) {
    const engine::MemoryView memory = servers_[0]->engine().Memory();
    const double kv_bytes =
        static_cast<double>(memory.limit_bytes - options_.serving.workspace_bytes);
    busy_seconds_ += absl::ToDoubleSeconds(span);
    held_byte_seconds_ += absl::ToDoubleSeconds(span) * static_cast<double>(memory.held_bytes);
    use_seconds_ +=
        absl::ToDoubleSeconds(span) * static_cast<double>(memory.needed_bytes) / kv_bytes;
  }
  double parts[2][2];
  for (int i = 0; i < 2; ++i) {
    for (const Lane lane : kLanes) parts[i][static_cast<int>(lane)] = PartOf(i, lane);
  }
  for (int i = 0; i < 2; ++i) {
    for (const Lane lane : kLanes) {
      const double part = parts[i][static_cast<int>(lane)];
      if (part > 0) servers_[i]->runner().Work(lane, absl::ToDoubleSeconds(span) * part);
    }
  }
}

// By what the unfinished requests and those of the next second will hold at their ends. What nobody
// wants is halved.
void SimulatedMachine::Resplit(const Load& load) {
  const int64_t capacity = options_.kv_bytes + 2 * options_.serving.workspace_bytes;
  const absl::Duration now = clock_.Now() - start_;
  std::vector<memory::LedgerParty> parties(2);
  for (int i = 0; i < 2; ++i) {
    const memory::KvGeometry& geometry = servers_[i]->memory().geometry();
    int64_t wanted = std::max(servers_[i]->FinalBytes(), options_.serving.workspace_bytes);
    for (const cli::Arrival& arrival : load.arrivals[i]) {
      if (load.clients > 0 || arrival.at <= now || arrival.at > now + absl::Seconds(1)) continue;
      wanted +=
          geometry.PagesFor(geometry.BlocksFor(arrival.prompt_tokens + arrival.output_tokens)) *
          geometry.page_bytes();
    }
    parties[i].wanted_bytes = wanted;
    parties[i].ceiling_bytes = options_.kv_bytes + options_.serving.workspace_bytes;
  }
  const std::vector<int64_t> shares = memory::DivideCapacity(capacity, parties).share_bytes;
  const int64_t rest = (capacity - shares[0] - shares[1]) / 2;
  std::array<int64_t, 2> limits = {shares[0] + rest, shares[1] + rest};
  if (!options_.oracle_preempts) {
    // Whoever holds more keeps it; both at once is impossible.
    for (int i = 0; i < 2; ++i) {
      const int64_t used = servers_[i]->UsedBytes();
      if (used <= limits[i]) continue;
      limits[i] = used;
      limits[1 - i] = std::min(limits[1 - i], capacity - used);
      break;
    }
  }
  for (int i = 0; i < 2; ++i) {
    limits[i] = std::min(limits[i], parties[i].ceiling_bytes);
    servers_[i]->Bound(limits[i]);
  }
}

const std::vector<std::shared_ptr<Outcome>>& SimulatedMachine::outcomes(int server) const {
  return servers_[server] == nullptr ? refused_[server] : servers_[server]->outcomes();
}

int64_t SimulatedMachine::prefilled_tokens() const {
  return servers_[0] == nullptr ? 0 : servers_[0]->engine().Load().prefilled_tokens_total;
}

engine::LengthScores SimulatedMachine::length_scores() const {
  return servers_[0] == nullptr ? engine::LengthScores() : servers_[0]->engine().Load().lengths;
}

absl::Duration SimulatedMachine::last_token() const {
  absl::Time last = start_;
  for (const auto& outcome : outcomes(0)) last = std::max(last, outcome->last_token);
  return last - start_;
}

int64_t SimulatedMachine::preemptions() const {
  int64_t sum = 0;
  for (const auto& server : servers_) {
    if (server != nullptr) sum += server->engine().Load().preemptions_total;
  }
  return sum;
}

}  // namespace ebb::bench

// FairShare: the order between tenants: whoever asks for much waits for it, and not those who ask
// for little.
//
//   tenant A   |-1-|-2-|-3-|-4-|-5-|          each request takes the place of its cost,
//   tenant B           |-6-|                  from now or from where the tenant's last one ends
//   order:      1   2  3  6  4   5
//
// A request's place is fixed when it comes, as the one order of the engine wants it: the time at
// which it would start if the machine were divided equally among those tenants that then have
// unfinished requests. After Demers, Keshav and Shenker, "Analysis and simulation of a fair
// queueing algorithm" (SIGCOMM 1989), with start times instead of finish times (Goyal, Vin and
// Cheng, 1997). Those of lower priority do not push back those of higher priority.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/time/time.h"

namespace ebb::engine {

// Thread-compatible.
class FairShare {
 public:
  // The place of a new request that takes the machine for `cost`. Requests without a tenant ("")
  // share nothing: their place is now.
  absl::Time Add(const std::string& tenant, int32_t priority, absl::Time now, absl::Duration cost);
  // One of the tenant's requests is gone.
  void Remove(const std::string& tenant);

 private:
  struct Tenant {
    int64_t unfinished = 0;
    std::map<int32_t, absl::Time> free_from;  // By priority: after its last request.
  };
  std::map<std::string, Tenant> tenants_;  // Those with unfinished requests.
};

}  // namespace ebb::engine

// Quotas: how much of this server one tenant may use: requests and tokens in a minute, and requests
// at a time.
//
//   request ──> Enter: room in all quotas? one request, one place ──> Charge: prompt, then tokens
//                  └── RESOURCE_EXHAUSTED, with when to come again          as they are made
//
// Requests and tokens are counted in buckets that hold a minute's worth and fill evenly. A request
// is taken as long as the tokens' bucket is not empty, for what it will use is known at its end:
// it may use more than is there, and those after it wait until the bucket has made up for it. So
// the quota holds over time, and no prompt is too long for it. Whoever leaves has used what was
// made until then.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "server/metrics/request_metrics.h"

namespace ebb::server {

// Of each tenant. 0: no such quota.
struct QuotaLimits {
  int64_t requests_per_minute = 0;
  int64_t tokens_per_minute = 0;
  int64_t concurrent_requests = 0;

  bool any() const {
    return requests_per_minute != 0 || tokens_per_minute != 0 || concurrent_requests != 0;
  }
};

// Thread-safe. Outlives its tickets.
class Quotas {
  struct Tenant;

 public:
  // A request's place among its tenant's, until it is destroyed; an empty one does nothing.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept { *this = std::move(other); }
    Ticket& operator=(Ticket&& other) noexcept;
    ~Ticket() { Leave(); }

    void Charge(int64_t tokens);
    // The place is free for another request; what was charged stays.
    void Leave();
    // Leaves, as if the request had never come.
    void Undo();

   private:
    friend class Quotas;
    Ticket(Quotas* quotas, Tenant* tenant) : quotas_(quotas), tenant_(tenant) {}
    Quotas* quotas_ = nullptr;
    Tenant* tenant_ = nullptr;
    int64_t tokens_ = 0;  // Charged.
  };

  // `clock` and `metrics`, which counts the refusals, outlive it.
  Quotas(const QuotaLimits& limits, const base::Clock* clock, RequestMetrics* metrics)
      : limits_(limits), clock_(clock), metrics_(metrics) {}

  // RESOURCE_EXHAUSTED with base::RetryAfterSeconds where a quota of the tenant is used up.
  absl::StatusOr<Ticket> Enter(const std::string& tenant);

  // How many tenants are remembered: those with requests, and those whose buckets are not full; at
  // most kTenantsKept others.
  static constexpr size_t kTenantsKept = 1024;
  size_t tenant_count() const;

 private:
  // Holds the counts of a minute. What is missing in it is kept as the time when it will be full.
  class Bucket {
   public:
    // Until there is room for one more, without end where `per_minute` is 0.
    absl::Duration WaitForOne(int64_t per_minute, absl::Time now) const;
    // A negative count is given back.
    void Take(int64_t count, int64_t per_minute, absl::Time now);
    bool IsFull(absl::Time now) const { return full_at_ <= now; }

   private:
    absl::Time full_at_ = absl::InfinitePast();
  };
  struct Tenant {
    Bucket requests;
    Bucket tokens;
    int64_t places = 0;  // Taken.
  };

  Tenant* Find(const std::string& tenant, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckRoom(const Tenant& tenant, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const QuotaLimits limits_;
  const base::Clock* const clock_;
  RequestMetrics* const metrics_;
  mutable base::Mutex mutex_;
  std::unordered_map<std::string, Tenant> tenants_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb::server

#include "engine/fair_share.h"

#include <algorithm>

#include "base/check.h"

namespace ebb::engine {

absl::Time FairShare::Add(const std::string& tenant, int32_t priority, absl::Time now,
                          absl::Duration cost) {
  if (tenant.empty()) return now;
  Tenant& own = tenants_[tenant];
  ++own.unfinished;
  absl::Time place = now;
  // Lower goes first: those up to this priority stand before it.
  const auto after = own.free_from.upper_bound(priority);
  for (auto it = own.free_from.begin(); it != after; ++it) place = std::max(place, it->second);
  own.free_from[priority] = place + cost * static_cast<int64_t>(tenants_.size());
  return place;
}

void FairShare::Remove(const std::string& tenant) {
  if (tenant.empty()) return;
  const auto it = tenants_.find(tenant);
  CHECK(it != tenants_.end());
  if (--it->second.unfinished == 0) tenants_.erase(it);
}

}  // namespace ebb::engine

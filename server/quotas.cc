#include "server/quotas.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/retry_after.h"
#include "base/status_macros.h"

namespace ebb::server {
namespace {

constexpr absl::Duration kMinute = absl::Minutes(1);

absl::Status UsedUp(int64_t limit, absl::string_view of_what, absl::Duration wait) {
  const absl::Duration whole = std::max(absl::Ceil(wait, absl::Seconds(1)), absl::Seconds(1));
  return base::WithRetryAfter(absl::ResourceExhaustedError(absl::StrCat(
                                  "this token's quota of ", limit, " ", of_what,
                                  " is used up; try again in ", absl::ToInt64Seconds(whole), " s")),
                              whole);
}

}  // namespace

absl::Duration Quotas::Bucket::WaitForOne(int64_t per_minute, absl::Time now) const {
  if (per_minute == 0) return absl::ZeroDuration();
  return std::max(absl::ZeroDuration(), full_at_ + kMinute / per_minute - kMinute - now);
}

void Quotas::Bucket::Take(int64_t count, int64_t per_minute, absl::Time now) {
  if (per_minute == 0) return;
  if (count > 0) full_at_ = std::max(full_at_, now);
  full_at_ += kMinute * count / per_minute;
}

Quotas::Ticket& Quotas::Ticket::operator=(Ticket&& other) noexcept {
  Leave();
  quotas_ = std::exchange(other.quotas_, nullptr);
  tenant_ = std::exchange(other.tenant_, nullptr);
  tokens_ = std::exchange(other.tokens_, 0);
  return *this;
}

void Quotas::Ticket::Charge(int64_t tokens) {
  if (quotas_ == nullptr || quotas_->limits_.tokens_per_minute == 0) return;
  tokens_ += tokens;
  base::MutexLock lock(&quotas_->mutex_);
  tenant_->tokens.Take(tokens, quotas_->limits_.tokens_per_minute, quotas_->clock_->Now());
}

void Quotas::Ticket::Leave() {
  if (quotas_ == nullptr) return;
  base::MutexLock lock(&std::exchange(quotas_, nullptr)->mutex_);
  CHECK(tenant_->places > 0);
  --tenant_->places;
}

void Quotas::Ticket::Undo() {
  if (quotas_ == nullptr) return;
  {
    base::MutexLock lock(&quotas_->mutex_);
    const absl::Time now = quotas_->clock_->Now();
    tenant_->requests.Take(-1, quotas_->limits_.requests_per_minute, now);
    tenant_->tokens.Take(-tokens_, quotas_->limits_.tokens_per_minute, now);
  }
  Leave();
}

Quotas::Tenant* Quotas::Find(const std::string& tenant, absl::Time now) {
  if (tenants_.size() >= kTenantsKept && tenants_.count(tenant) == 0) {
    for (auto it = tenants_.begin(); it != tenants_.end();) {
      const Tenant& known = it->second;
      const bool is_idle =
          known.places == 0 && known.requests.IsFull(now) && known.tokens.IsFull(now);
      it = is_idle ? tenants_.erase(it) : std::next(it);
    }
  }
  return &tenants_[tenant];
}

absl::Status Quotas::CheckRoom(const Tenant& tenant, absl::Time now) const {
  const absl::Duration requests = tenant.requests.WaitForOne(limits_.requests_per_minute, now);
  const absl::Duration tokens = tenant.tokens.WaitForOne(limits_.tokens_per_minute, now);
  // The longer wait is the one that helps.
  if (requests > absl::ZeroDuration() && requests >= tokens) {
    metrics_->OnOverQuota(Quota::kRequests);
    return UsedUp(limits_.requests_per_minute, "requests a minute", requests);
  }
  if (tokens > absl::ZeroDuration()) {
    metrics_->OnOverQuota(Quota::kTokens);
    return UsedUp(limits_.tokens_per_minute, "tokens a minute", tokens);
  }
  if (limits_.concurrent_requests > 0 && tenant.places >= limits_.concurrent_requests) {
    metrics_->OnOverQuota(Quota::kConcurrent);
    // When one of them will end nobody knows.
    return UsedUp(limits_.concurrent_requests, "requests at a time", absl::Seconds(1));
  }
  return absl::OkStatus();
}

absl::StatusOr<Quotas::Ticket> Quotas::Enter(const std::string& tenant) {
  if (!limits_.any()) return Ticket();
  base::MutexLock lock(&mutex_);
  const absl::Time now = clock_->Now();
  Tenant* const found = Find(tenant, now);
  RETURN_IF_ERROR(CheckRoom(*found, now));
  found->requests.Take(1, limits_.requests_per_minute, now);
  ++found->places;
  return Ticket(this, found);
}

size_t Quotas::tenant_count() const {
  base::MutexLock lock(&mutex_);
  return tenants_.size();
}

}  // namespace ebb::server

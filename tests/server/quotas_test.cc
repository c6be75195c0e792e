// What a tenant may use: unit by unit on a clock that stands, and against a naive count.
#include "server/quotas.h"

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/clock_fake.h"
#include "base/retry_after.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/server/test_seed.h"

namespace ebb::server {
namespace {

QuotaLimits Requests(int64_t per_minute) { return {per_minute, 0, 0}; }
QuotaLimits Tokens(int64_t per_minute) { return {0, per_minute, 0}; }
QuotaLimits Concurrent(int64_t count) { return {0, 0, count}; }

class QuotasTest : public testing::Test {
 protected:
  void Use(const QuotaLimits& limits) {
    quotas_ = std::make_unique<Quotas>(limits, &clock_, &metrics_);
  }
  // A request that has ended, having used these tokens; its refusal, if it was.
  absl::Status Ask(const std::string& tenant, int64_t tokens = 0) {
    absl::StatusOr<Quotas::Ticket> ticket = quotas_->Enter(tenant);
    if (!ticket.ok()) return ticket.status();
    ticket->Charge(tokens);
    return absl::OkStatus();
  }
  // When the refusal says to come again; not before, and then.
  void ExpectRetryAfter(const absl::Status& refused, int64_t seconds, const std::string& tenant) {
    ASSERT_TRUE(absl::IsResourceExhausted(refused)) << refused;
    EXPECT_EQ(base::RetryAfterSeconds(refused), seconds) << refused;
    EXPECT_TRUE(absl::StrContains(refused.message(), absl::StrCat("in ", seconds, " s")))
        << refused;
    clock_.Advance(absl::Seconds(seconds) - absl::Seconds(1));
    EXPECT_FALSE(Ask(tenant).ok());
    clock_.Advance(absl::Seconds(1));
    EXPECT_TRUE(Ask(tenant).ok());
  }
  double OverQuota(const std::string& quota) const {
    Families families;
    metrics_.Collect(&families);
    for (const auto& family : families.all()) {
      if (family.name != "ebb_requests_over_quota_total") continue;
      for (const auto& sample : family.metric) {
        if (sample.label[0].value == quota) return sample.counter.value;
      }
    }
    return -1;
  }

  base::FakeClock clock_;
  RequestMetrics metrics_;
  std::unique_ptr<Quotas> quotas_;
};

TEST_F(QuotasTest, AMinutesRequestsMayComeAtOnceAndThenEvenly) {
  Use(Requests(6));
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(Ask("anna").ok()) << i;
  ExpectRetryAfter(Ask("anna"), 10, "anna");
  EXPECT_FALSE(Ask("anna").ok()) << "one place came free, and is taken";
  EXPECT_TRUE(Ask("bert").ok()) << "each tenant has its own";
  clock_.Advance(absl::Hours(1));
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(Ask("anna").ok()) << i;
  EXPECT_FALSE(Ask("anna").ok()) << "an hour saves no more than a minute's";
  EXPECT_EQ(OverQuota("requests"), 4);
}

TEST_F(QuotasTest, TokensAreUsedFirstAndMadeUpForLater) {
  Use(Tokens(600));
  EXPECT_TRUE(Ask("anna", 599).ok());
  EXPECT_TRUE(Ask("anna", 1001).ok()) << "one is left, and what a request will use is not known";
  // 1600 used of 600: the first is there again after 1001 of ten a second.
  ExpectRetryAfter(Ask("anna"), 101, "anna");
  EXPECT_TRUE(Ask("bert", 1).ok());
  EXPECT_EQ(OverQuota("tokens"), 2);
  EXPECT_EQ(OverQuota("requests"), 0);
}

TEST_F(QuotasTest, PlacesAreFreeWhenRequestsLeave) {
  Use(Concurrent(2));
  absl::StatusOr<Quotas::Ticket> first = quotas_->Enter("anna");
  const absl::StatusOr<Quotas::Ticket> second = quotas_->Enter("anna");
  ASSERT_TRUE(first.ok() && second.ok());
  const absl::Status refused = quotas_->Enter("anna").status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_EQ(base::RetryAfterSeconds(refused), 1);
  EXPECT_TRUE(quotas_->Enter("bert").ok());
  first->Leave();
  first->Leave();  // Once is enough.
  const absl::StatusOr<Quotas::Ticket> third = quotas_->Enter("anna");
  EXPECT_TRUE(third.ok());
  EXPECT_FALSE(quotas_->Enter("anna").ok());
  EXPECT_EQ(OverQuota("concurrent"), 2);
}

TEST_F(QuotasTest, WhatIsUndoneWasNeverThere) {
  Use({1, 100, 1});
  for (int i = 0; i < 3; ++i) {
    absl::StatusOr<Quotas::Ticket> ticket = quotas_->Enter("anna");
    ASSERT_TRUE(ticket.ok()) << ticket.status();
    ticket->Charge(5000);
    ticket->Undo();
  }
  EXPECT_TRUE(Ask("anna").ok());
  EXPECT_FALSE(Ask("anna").ok());
}

TEST_F(QuotasTest, TheLongestWaitIsTold) {
  Use({60, 60, 1});
  absl::StatusOr<Quotas::Ticket> ticket = quotas_->Enter("anna");
  ticket->Charge(90);
  const absl::Status refused = quotas_->Enter("anna").status();
  EXPECT_EQ(base::RetryAfterSeconds(refused), 31) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "60 tokens a minute")) << refused;
}

TEST_F(QuotasTest, NoneMeansNone) {
  Use({});
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(Ask("anna", 1'000'000'000).ok());
  EXPECT_EQ(quotas_->tenant_count(), 0u);
}

// Names come and go with the file of tokens; those that are idle are forgotten.
TEST_F(QuotasTest, TenantsThatAreGoneAreForgotten) {
  Use({60, 0, 1});
  for (size_t i = 0; i < 10 * Quotas::kTenantsKept; ++i) {
    EXPECT_TRUE(Ask("tenant-" + std::to_string(i)).ok());
    clock_.Advance(absl::Milliseconds(10));  // A hundred have not made up for theirs.
    ASSERT_LE(quotas_->tenant_count(), Quotas::kTenantsKept + 101);
  }
  const absl::StatusOr<Quotas::Ticket> held = quotas_->Enter("held");
  ASSERT_TRUE(held.ok());
  clock_.Advance(absl::Hours(1));
  for (size_t i = 0; i < Quotas::kTenantsKept; ++i) {
    EXPECT_TRUE(Ask("other-" + std::to_string(i)).ok());
  }
  EXPECT_FALSE(quotas_->Enter("held").ok()) << "it has a request, and is no stranger";
}

// Over any time a tenant gets a minute's worth and what that time adds, and never is refused where
// it has less than that.
TEST_F(QuotasTest, EqualsANaiveCount) {
  const uint64_t seed = tests::TestSeed();
  base::Rng rng(seed);
  constexpr int64_t kPerMinute = 120;
  Use(Requests(kPerMinute));
  std::map<std::string, double> level;  // Of the buckets, kept the naive way.
  const std::vector<std::string> tenants = {"anna", "bert", "carl"};
  for (const std::string& tenant : tenants) level[tenant] = kPerMinute;
  int refusals = 0;
  for (int step = 0; step < 20'000; ++step) {
    const absl::Duration pause = absl::Milliseconds(rng.Between(0, 300));
    clock_.Advance(pause);
    for (auto& [tenant, left] : level) {
      left = std::min<double>(kPerMinute, left + absl::ToDoubleSeconds(pause) * kPerMinute / 60);
    }
    const std::string& tenant = tenants[static_cast<size_t>(rng.Between(0, 2))];
    // Rounding may tell exactly one from less.
    const bool is_close = std::abs(level[tenant] - 1) < 1e-6;
    const bool taken = Ask(tenant).ok();
    if (!is_close) {
      ASSERT_EQ(taken, level[tenant] >= 1) << "SEED=" << seed << " step " << step;
    }
    if (taken) level[tenant] -= 1;
    refusals += taken ? 0 : 1;
  }
  EXPECT_GT(refusals, 100);
}

}  // namespace
}  // namespace ebb::server

#include "engine/fair_share.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/service_rate.h"
#include "gtest/gtest.h"

namespace ebb::engine {
namespace {

const absl::Time kNow = absl::UnixEpoch();
constexpr absl::Duration kCost = absl::Seconds(1);

TEST(FairShareTest, WithoutTenantsTheOrderIsThatOfArrival) {
  FairShare shares;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(shares.Add("", 0, kNow, kCost), kNow);
  shares.Remove("");
}

TEST(FairShareTest, AFewRequestsDoNotWaitBehindMany) {
  FairShare shares;
  std::vector<std::pair<absl::Time, std::string>> order;
  for (int i = 0; i < 10; ++i) order.emplace_back(shares.Add("many", 0, kNow, kCost), "many");
  // It came last, and has its turn with the first of the others.
  EXPECT_EQ(shares.Add("few", 0, kNow, kCost), kNow);
  EXPECT_EQ(shares.Add("few", 0, kNow, kCost), kNow + 2 * kCost) << "each gets a half";
  EXPECT_EQ(order.back().first, kNow + 9 * kCost);
}

TEST(FairShareTest, TwoThatAlwaysAskTakeTurns) {
  FairShare shares;
  absl::Time last_a = kNow, last_b = kNow;
  shares.Add("a", 0, kNow, kCost);
  shares.Add("b", 0, kNow, kCost);
  for (int i = 0; i < 20; ++i) {
    last_a = shares.Add("a", 0, kNow, kCost);
    last_b = shares.Add("b", 0, kNow, kCost);
    EXPECT_LE(last_a - last_b, 2 * kCost);
    EXPECT_LE(last_b - last_a, 2 * kCost);
  }
}

TEST(FairShareTest, ByWhatTheyCostAndNotByTheirNumber) {
  FairShare shares;
  shares.Add("large", 0, kNow, 4 * kCost);
  for (int i = 0; i < 4; ++i) shares.Add("small", 0, kNow, kCost);
  EXPECT_EQ(shares.Add("large", 0, kNow, kCost), kNow + 4 * kCost);
  EXPECT_EQ(shares.Add("small", 0, kNow, kCost), kNow + 8 * kCost);
}

TEST(FairShareTest, ALowPriorityPushesNobodyBackThatIsAboveIt) {
  FairShare shares;
  for (int i = 0; i < 10; ++i) shares.Add("a", 5, kNow, kCost);
  EXPECT_EQ(shares.Add("a", 0, kNow, kCost), kNow);
  EXPECT_EQ(shares.Add("a", 5, kNow, kCost), kNow + 10 * kCost);
}

TEST(FairShareTest, WhoeverHasNothingLeftStartsAnew) {
  FairShare shares;
  shares.Add("a", 0, kNow, 100 * kCost);
  shares.Remove("a");
  EXPECT_EQ(shares.Add("a", 0, kNow, kCost), kNow);
  // And time heals: an idle machine owes nobody anything.
  EXPECT_EQ(shares.Add("a", 0, kNow + 50 * kCost, kCost), kNow + 50 * kCost);
}

TEST(ServiceRateTest, IsThatOfTheTimeAtWork) {
  ServiceRate rate;
  EXPECT_EQ(rate.TimeFor(100), absl::ZeroDuration());
  absl::Time now = kNow;
  for (int i = 0; i < 100; ++i) {
    rate.Add(10, now, now + absl::Seconds(1));
    now += absl::Seconds(100);  // Idle.
  }
  EXPECT_NEAR(absl::ToDoubleSeconds(rate.TimeFor(50)), 5, 0.1);
  // Two lanes at once: their time counts once.
  ServiceRate two;
  two.Add(10, kNow, kNow + absl::Seconds(1));
  two.Add(10, kNow + absl::Milliseconds(500), kNow + absl::Seconds(1));
  EXPECT_NEAR(absl::ToDoubleSeconds(two.TimeFor(20)), 1, 0.1);
}

}  // namespace
}  // namespace ebb::engine

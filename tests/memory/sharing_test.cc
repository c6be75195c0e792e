#include "memory/sharing.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/clock_fake.h"
#include "gtest/gtest.h"
#include "memory/ledger_directory.h"

namespace ebb::memory {
namespace {

class EventLog final : public base::Log {
 public:
  void Write(absl::string_view event, nlohmann::ordered_json values) override {
    events.emplace_back(event);
    fields.push_back(std::move(values));
  }
  std::vector<std::string> events;
  std::vector<nlohmann::ordered_json> fields;
};

using Events = std::vector<std::string>;

class SharingTest : public ::testing::Test {
 protected:
  SharingTest() {
    options_.directory = ledger_.directory();
    options_.device_id = "host";
    options_.terms.capacity_bytes = 100;
  }

  static LedgerSeat::Needs NeedsOf(int64_t held, int64_t wanted) {
    LedgerSeat::Needs needs;
    needs.held_bytes = held;
    needs.wanted_bytes = wanted;
    needs.ceiling_bytes = 1000;
    needs.free_bytes = 1000;
    return needs;
  }

  Sharing::Options options_;
  const LedgerDirectory ledger_{"host"};
  const std::string path_ = ledger_.path();
  base::FakeClock clock_;
  EventLog log_;
};

TEST_F(SharingTest, JoinsAtItsFirstRenewal) {
  Sharing sharing(options_, &clock_, &log_);
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
  EXPECT_EQ(sharing.Renew(NeedsOf(0, 200), 1).lease_bytes, 100);
  EXPECT_TRUE(sharing.joined());
  EXPECT_EQ(log_.events, (Events{"sharing", "sharing_changed"}));
}

TEST_F(SharingTest, SaysWhenItIsToGiveBackAndWhenThatIsOver) {
  Sharing first(options_, &clock_, &log_);
  EventLog other_log;
  first.Renew(NeedsOf(0, 200), 1);
  {
    Sharing second(options_, &clock_, &other_log);
    second.Renew(NeedsOf(0, 200), 1);
    log_.events.clear();
    EXPECT_EQ(first.Renew(NeedsOf(100, 200), 1).keep_bytes, 50);
    EXPECT_EQ(first.Renew(NeedsOf(100, 200), 1).keep_bytes, 50);
    EXPECT_EQ(log_.events, Events{"sharing_changed"});
  }
  EXPECT_EQ(first.Renew(NeedsOf(50, 200), 1).lease_bytes, 100);
  EXPECT_EQ(log_.events, (Events{"sharing_changed", "sharing_changed"}));
}

TEST_F(SharingTest, SaysHowLongAShareTookToCome) {
  Sharing first(options_, &clock_, &log_);
  EventLog second_log;
  Sharing second(options_, &clock_, &second_log);
  first.Renew(NeedsOf(0, 200), 1);
  second.Renew(NeedsOf(0, 200), 1);
  clock_.Advance(absl::Milliseconds(70));
  first.Renew(NeedsOf(40, 200), 1);  // Has given back what the second lacks.
  second.Renew(NeedsOf(0, 200), 1);
  ASSERT_EQ(second_log.events.back(), "handed_over");
  EXPECT_EQ(second_log.fields.back()["took_ms"], 70.0);
  EXPECT_EQ(second_log.fields.back()["bytes"], 50);
  EXPECT_EQ(std::count(log_.events.begin(), log_.events.end(), "handed_over"), 0);
}

TEST_F(SharingTest, AClaimThatIsGivenUpIsNoHandOver) {
  Sharing first(options_, &clock_, &log_);
  EventLog second_log;
  Sharing second(options_, &clock_, &second_log);
  first.Renew(NeedsOf(0, 200), 1);
  second.Renew(NeedsOf(0, 200), 1);
  second.Renew(NeedsOf(0, 0), 1);
  EXPECT_EQ(std::count(second_log.events.begin(), second_log.events.end(), "handed_over"), 0);
}

TEST_F(SharingTest, WithoutALedgerNothingIsBoundedAndItTriesAgain) {
  options_.directory += "/missing";
  Sharing sharing(options_, &clock_, &log_);
  for (int i = 0; i < 3; ++i) {
    const LedgerSeat::Answer answer = sharing.Renew(NeedsOf(10, 200), 1);
    EXPECT_EQ(answer.lease_bytes, kLedgerUnbounded);
    EXPECT_EQ(answer.keep_bytes, kLedgerUnbounded);
    clock_.Advance(absl::Seconds(1));
  }
  EXPECT_EQ(log_.events, Events{"sharing_off"}) << "the same reason is told once";
  options_.directory.resize(options_.directory.size() - std::string("/missing").size());
}

TEST_F(SharingTest, AFileThatGoesWhileInUseIsLeftAndAnotherOneJoined) {
  Sharing sharing(options_, &clock_, &log_);
  sharing.Renew(NeedsOf(0, 80), 1);
  ASSERT_EQ(truncate(path_.c_str(), 0), 0);
  clock_.Advance(absl::Milliseconds(50));
  EXPECT_EQ(sharing.Renew(NeedsOf(80, 80), 1).lease_bytes, kLedgerUnbounded);
  EXPECT_FALSE(sharing.joined());
  unlink(path_.c_str());
  clock_.Advance(absl::Seconds(1));
  // What is held counts there from the start.
  EXPECT_EQ(sharing.Renew(NeedsOf(80, 80), 1).lease_bytes, 80);
  EXPECT_TRUE(sharing.joined());
}

}  // namespace
}  // namespace ebb::memory

#include "server/live_calls.h"

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::server {
namespace {

TEST(LiveCallsTest, KeepsIdsApartAndTheirNumberBounded) {
  LiveCalls calls(2);
  auto a = calls.Enter("", "a", [] {});
  ASSERT_TRUE(a.ok());
  EXPECT_EQ(calls.Enter("", "a", [] {}).status().code(), absl::StatusCode::kAlreadyExists);
  auto b = calls.Enter("", "b", [] {});
  ASSERT_TRUE(b.ok());
  EXPECT_EQ(calls.Enter("", "c", [] {}).status().code(), absl::StatusCode::kResourceExhausted);
  *a = LiveCalls::Ticket();
  EXPECT_TRUE(calls.Enter("", "a", [] {}).ok());  // And left again at once.
  EXPECT_TRUE(calls.Enter("", "a", [] {}).ok());
}

TEST(LiveCallsTest, IdsAreATenantsOwn) {
  LiveCalls calls(3);
  int cancelled = 0;
  const auto annas = calls.Enter("anna", "a", [&] { cancelled += 1; });
  const auto berts = calls.Enter("bert", "a", [&] { cancelled += 10; });
  ASSERT_TRUE(annas.ok() && berts.ok());
  EXPECT_FALSE(calls.Enter("anna", "a", [] {}).ok());
  EXPECT_FALSE(calls.Cancel("carl", "a"));
  EXPECT_TRUE(calls.Cancel("bert", "a"));
  EXPECT_EQ(cancelled, 10);
  // An id that reads like another tenant's.
  const auto forged = calls.Enter("", "anna/a", [&] { cancelled += 100; });
  ASSERT_TRUE(forged.ok());
  EXPECT_TRUE(calls.Cancel("anna", "a"));
  EXPECT_EQ(cancelled, 11);
}

TEST(LiveCallsTest, AFreedIdKeepsItsPlace) {
  LiveCalls calls(2);
  auto a = calls.Enter("", "a", [] {});
  ASSERT_TRUE(a.ok());
  a->FreeId();
  auto again = calls.Enter("", "a", [] {});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(calls.Enter("", "b", [] {}).status().code(), absl::StatusCode::kResourceExhausted);
  // The one that has freed its id does not free it for its successor.
  *a = LiveCalls::Ticket();
  EXPECT_EQ(calls.Enter("", "a", [] {}).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(calls.WaitUntilEmpty(absl::ZeroDuration()));
}

TEST(LiveCallsTest, ATicketThatMovesHoldsOnePlace) {
  LiveCalls calls(1);
  LiveCalls::Ticket ticket = *calls.Enter("", "a", [] {});
  const LiveCalls::Ticket moved = std::move(ticket);
  EXPECT_FALSE(calls.Enter("", "b", [] {}).ok());
  EXPECT_FALSE(calls.WaitUntilEmpty(absl::ZeroDuration()));
}

TEST(LiveCallsTest, CancelsByIdAndOnlyWhatIsThere) {
  LiveCalls calls(2);
  int cancelled_a = 0;
  int cancelled_b = 0;
  auto a = calls.Enter("", "a", [&] { ++cancelled_a; });
  auto b = calls.Enter("", "b", [&] { ++cancelled_b; });
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_TRUE(calls.Cancel("", "a"));
  EXPECT_FALSE(calls.Cancel("", "c"));
  EXPECT_EQ(cancelled_a, 1);
  EXPECT_EQ(cancelled_b, 0);
  a->FreeId();
  EXPECT_FALSE(calls.Cancel("", "a"));
}

TEST(LiveCallsTest, ClosingTurnsNewcomersAwayAndWaitsForTheRest) {
  LiveCalls calls(100);
  std::atomic<int> entered = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0;; ++n) {
        const auto ticket = calls.Enter("", std::to_string(i * 1'000'000 + n), [] {});
        if (!ticket.ok()) {
          EXPECT_EQ(ticket.status().code(), absl::StatusCode::kUnavailable);
          return;
        }
        ++entered;
      }
    });
  }
  while (entered < 100) std::this_thread::yield();
  EXPECT_FALSE(calls.closed());
  calls.Close();
  EXPECT_TRUE(calls.WaitUntilEmpty(absl::Seconds(30)));
  EXPECT_TRUE(calls.closed());
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace ebb::server

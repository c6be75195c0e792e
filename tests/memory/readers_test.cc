#include "memory/readers.h"

#include <gtest/gtest.h>

namespace ebb::memory {
namespace {

TEST(ReadersTest, ASnapshotIsPassedWhenEachReaderHasCompletedItsShare) {
  Readers readers;
  const Readers::Id prefill = readers.Add("prefill");
  const Readers::Id decode = readers.Add("decode");
  EXPECT_TRUE(readers.HavePassed(readers.Snapshot()));
  EXPECT_EQ(readers.Submit(prefill), 1u);
  EXPECT_EQ(readers.Submit(decode), 1u);
  EXPECT_EQ(readers.Submit(decode), 2u);
  const Readers::Tickets tickets = readers.Snapshot();
  EXPECT_FALSE(readers.HavePassed(tickets));
  readers.Complete(decode, 2);
  EXPECT_FALSE(readers.HavePassed(tickets));
  readers.Submit(prefill);  // Later work does not matter to an earlier snapshot.
  readers.Complete(prefill, 1);
  EXPECT_TRUE(readers.HavePassed(tickets));
  EXPECT_FALSE(readers.HavePassed(readers.Snapshot()));
}

TEST(ReadersTest, AReaderAddedLaterDoesNotHoldUpAnEarlierSnapshot) {
  Readers readers;
  readers.Add("decode");
  const Readers::Tickets tickets = readers.Snapshot();
  readers.Submit(readers.Add("copy"));
  EXPECT_TRUE(readers.HavePassed(tickets));
}

TEST(ReadersDeathTest, TicketsNeitherRunAheadNorBack) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  Readers readers;
  const Readers::Id decode = readers.Add("decode");
  readers.Submit(decode);
  EXPECT_DEATH(readers.Complete(decode, 2), "decode");
  readers.Complete(decode, 1);
  EXPECT_DEATH(readers.Complete(decode, 0), "decode");
}

}  // namespace
}  // namespace ebb::memory

// The ledger's file between real processes: kill -9, SIGSTOP, and files that are not what they
// should be.
#include "memory/ledger_file.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/check.h"
#include "gtest/gtest.h"
#include "memory/ledger.h"
#include "memory/ledger_directory.h"

namespace ebb::memory {
namespace {

constexpr int64_t kCapacity = 100;
constexpr char kDevice[] = "host";

LedgerSeat::Terms TermsOf(const std::string& name, int64_t floor = 0) {
  LedgerSeat::Terms terms;
  terms.name = name;
  terms.pid = getpid();
  terms.floor_bytes = floor;
  terms.capacity_bytes = kCapacity;
  return terms;
}

LedgerSeat::Needs NeedsOf(int64_t held, int64_t wanted) {
  LedgerSeat::Needs needs;
  needs.held_bytes = held;
  needs.wanted_bytes = wanted;
  needs.ceiling_bytes = 1000;
  needs.free_bytes = 1000;
  return needs;
}

class LedgerFileTest : public ::testing::Test {
 protected:
  ~LedgerFileTest() override {
    for (const pid_t child : children_) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
  }

  std::unique_ptr<LedgerFile> OpenFile() {
    auto file = LedgerFile::Open(path_, kDevice, LedgerFile::Access::kServer);
    CHECK(file.ok()) << file.status().message();
    return *std::move(file);
  }

  // A process that leases and holds `bytes`, says so and then does nothing.
  pid_t StartHolder(int64_t bytes) {
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    const pid_t child = fork();
    CHECK_GE(child, 0);
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const auto file = OpenFile();
      const auto seat = LedgerSeat::Take(file.get(), TermsOf("child"));
      CHECK(seat.ok());
      const LedgerSeat::Answer answer = (*seat)->Renew(NeedsOf(0, bytes), absl::UnixEpoch());
      (void)(*seat)->Renew(NeedsOf(answer.lease_bytes, bytes), absl::UnixEpoch());
      const auto said = static_cast<char>(answer.lease_bytes);
      CHECK_EQ(write(ready[1], &said, 1), 1);
      for (;;) pause();
    }
    close(ready[1]);
    char said = 0;
    CHECK_EQ(read(ready[0], &said, 1), 1);
    close(ready[0]);
    CHECK_EQ(int64_t{said}, bytes);
    children_.push_back(child);
    return child;
  }

  void Write(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
  std::string Read() {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  absl::Status Reopened(const std::string& device = kDevice) {
    return LedgerFile::Open(path_, device, LedgerFile::Access::kServer).status();
  }

  const LedgerDirectory ledger_{kDevice};
  const std::string path_ = ledger_.path();
  std::vector<pid_t> children_;
};

TEST_F(LedgerFileTest, AKilledServersLeaseIsTheOthersAtOnce) {
  const pid_t child = StartHolder(70);
  const auto file = OpenFile();
  const auto seat = LedgerSeat::Take(file.get(), TermsOf("own"));
  ASSERT_TRUE(seat.ok());
  // The other wants no more than 70, so 30 are left, and half of all is our share.
  EXPECT_EQ((*seat)->Renew(NeedsOf(0, 100), absl::UnixEpoch()).lease_bytes, 30);
  ASSERT_EQ((*seat)->others().size(), 1u);
  EXPECT_EQ((*seat)->others()[0].name, "child");
  EXPECT_EQ((*seat)->others()[0].pid, child);
  EXPECT_EQ((*seat)->others()[0].held_bytes, 70);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ((*seat)->Renew(NeedsOf(30, 100), absl::UnixEpoch()).lease_bytes, 100);
  EXPECT_TRUE((*seat)->others().empty());
}

TEST_F(LedgerFileTest, AStoppedServerKeepsItsLeaseAndStopsNobody) {
  const pid_t child = StartHolder(70);
  kill(child, SIGSTOP);
  const auto file = OpenFile();
  const auto seat = LedgerSeat::Take(file.get(), TermsOf("own", 60));
  ASSERT_TRUE(seat.ok());
  absl::Time now = absl::UnixEpoch();
  EXPECT_EQ((*seat)->Renew(NeedsOf(0, 100), now).share_bytes, 80);
  now += kLedgerSilentAfter;
  const LedgerSeat::Answer answer = (*seat)->Renew(NeedsOf(30, 100), now);
  EXPECT_EQ(answer.share_bytes, 30);
  EXPECT_EQ(answer.lease_bytes, 30);
  EXPECT_EQ(answer.keep_bytes, kLedgerUnbounded);
}

TEST_F(LedgerFileTest, WhoeverIsAboveItsShareIsToldToGiveBack) {
  const auto first_file = OpenFile(), second_file = OpenFile();
  const auto first = LedgerSeat::Take(first_file.get(), TermsOf("first"));
  const auto second = LedgerSeat::Take(second_file.get(), TermsOf("second", 40));
  ASSERT_TRUE(first.ok() && second.ok());
  const absl::Time now = absl::UnixEpoch();
  EXPECT_EQ((*first)->Renew(NeedsOf(0, 200), now).lease_bytes, 100);
  EXPECT_EQ((*second)->Renew(NeedsOf(0, 200), now).lease_bytes, 0);
  const LedgerSeat::Answer told = (*first)->Renew(NeedsOf(100, 200), now);
  EXPECT_EQ(told.keep_bytes, 30);
  EXPECT_EQ(told.lease_bytes, 100);  // Until it is done.
  EXPECT_EQ((*first)->Renew(NeedsOf(30, 200), now).lease_bytes, 30);
  EXPECT_EQ((*second)->Renew(NeedsOf(0, 200), now).lease_bytes, 70);
}

TEST_F(LedgerFileTest, WhatIsCommittedIsKeptAboveTheShareUnlessAFloorLacks) {
  for (const int64_t floor_bytes : {0, 40}) {
    const auto first_file = OpenFile(), second_file = OpenFile();
    const auto first = LedgerSeat::Take(first_file.get(), TermsOf("first"));
    const auto second = LedgerSeat::Take(second_file.get(), TermsOf("second", floor_bytes));
    ASSERT_TRUE(first.ok() && second.ok());
    const absl::Time now = absl::UnixEpoch();
    EXPECT_EQ((*first)->Renew(NeedsOf(0, 200), now).lease_bytes, 100);
    EXPECT_EQ((*second)->Renew(NeedsOf(0, 200), now).lease_bytes, 0);
    LedgerSeat::Needs needs = NeedsOf(70, 200);
    needs.committed_bytes = 80;
    const LedgerSeat::Answer told = (*first)->Renew(needs, now);
    EXPECT_TRUE(told.pressed);
    // 10 of it not held yet: room for what runs to grow into.
    EXPECT_EQ(told.lease_bytes, floor_bytes == 0 ? 80 : 70);
    EXPECT_EQ(told.keep_bytes, floor_bytes == 0 ? 80 : 30);
  }
}

TEST_F(LedgerFileTest, FreeMemoryBoundsWhatCanBeLeased) {
  const auto file = OpenFile();
  const auto seat = LedgerSeat::Take(file.get(), TermsOf("own"));
  ASSERT_TRUE(seat.ok());
  LedgerSeat::Needs needs = NeedsOf(10, 100);
  needs.free_bytes = 25;  // A neighbour that knows nothing of the ledger has the rest.
  EXPECT_EQ((*seat)->Renew(needs, absl::UnixEpoch()).lease_bytes, 35);
}

TEST_F(LedgerFileTest, WhoeverLeavesInGoodOrderLeavesItsSeat) {
  const auto file = OpenFile(), other_file = OpenFile();
  int slot = -1;
  {
    const auto seat = LedgerSeat::Take(file.get(), TermsOf("own"));
    ASSERT_TRUE(seat.ok());
    slot = (*seat)->slot();
    EXPECT_EQ(ReadLedger(*other_file).size(), 1u);
  }
  EXPECT_TRUE(ReadLedger(*other_file).empty());
  const auto again = LedgerSeat::Take(other_file.get(), TermsOf("own"));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*again)->slot(), slot);
}

TEST_F(LedgerFileTest, ReadersNeedNoWriteAccess) {
  EXPECT_TRUE(
      absl::IsNotFound(LedgerFile::Open(path_, "", LedgerFile::Access::kReadOnly).status()));
  const auto file = OpenFile();
  const auto seat = LedgerSeat::Take(file.get(), TermsOf("a name that is longer than what a slot "
                                                         "has room for, which is 63 characters"));
  ASSERT_TRUE(seat.ok());
  const auto reader = LedgerFile::Open(path_, "", LedgerFile::Access::kReadOnly);
  ASSERT_TRUE(reader.ok());
  ASSERT_EQ(ReadLedger(**reader).size(), 1u);
  EXPECT_EQ(ReadLedger(**reader)[0].name,
            "a name that is longer than what a slot has room for, which is 6");
}

TEST_F(LedgerFileTest, FilesThatAreNoLedgerAreRefusedAndLeftAlone) {
  Write("something else");
  EXPECT_TRUE(absl::IsFailedPrecondition(Reopened()));
  EXPECT_EQ(Read(), "something else");
  Write("");
  EXPECT_TRUE(absl::IsFailedPrecondition(Reopened()));
  unlink(path_.c_str());
  OpenFile();
  const std::string good = Read();
  ASSERT_TRUE(Reopened().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Reopened("GPU-0"))) << "another device's";
  std::string older = good;
  older[8] = 0;
  Write(older);
  EXPECT_TRUE(absl::IsFailedPrecondition(Reopened()));
  Write(good.substr(0, good.size() / 2));
  EXPECT_TRUE(absl::IsFailedPrecondition(Reopened()));
  Write(good);
  EXPECT_TRUE(Reopened().ok());
}

TEST_F(LedgerFileTest, WhatHappensToTheFileWhileInUseIsSeen) {
  const auto cut = OpenFile();
  EXPECT_TRUE(cut->Check().ok());
  ASSERT_EQ(truncate(path_.c_str(), 100), 0);
  EXPECT_TRUE(absl::IsUnavailable(cut->Check()));
  unlink(path_.c_str());
  const auto replaced = OpenFile();
  EXPECT_TRUE(replaced->Check().ok());
  unlink(path_.c_str());
  EXPECT_TRUE(absl::IsUnavailable(replaced->Check()));
  OpenFile();
  EXPECT_TRUE(absl::IsUnavailable(replaced->Check()));
}

TEST_F(LedgerFileTest, GarbageInSlotsStarvesButDoesNotCrash) {
  const auto file = OpenFile(), other_file = OpenFile();
  const auto other = LedgerSeat::Take(other_file.get(), TermsOf("other"));
  const auto seat = LedgerSeat::Take(file.get(), TermsOf("own"));
  ASSERT_TRUE(other.ok() && seat.ok());
  const uint64_t lease = file->Load((*other)->slot(), LedgerWord::kLease);
  for (int i = 1; i < kLedgerSlotWords; ++i) {
    if (i == static_cast<int>(LedgerWord::kOpen)) continue;
    file->Store((*other)->slot(), static_cast<LedgerWord>(i), ~uint64_t{0});
  }
  for (const uint64_t bytes : {uint64_t{0}, (uint64_t{1} << 48) - 1}) {
    file->Store((*other)->slot(), LedgerWord::kLease, lease | bytes);
    const LedgerSeat::Answer answer = (*seat)->Renew(NeedsOf(10, 100), absl::UnixEpoch());
    EXPECT_GE(answer.lease_bytes, 10);
    EXPECT_LE(answer.lease_bytes, 100);
  }
}

TEST(LedgerPathTest, NamesNoOtherDirectory) {
  EXPECT_EQ(LedgerPath("/d", "GPU-12ab"), "/d/ebb-GPU-12ab.ledger");
  EXPECT_EQ(LedgerPath("/d", "../x"), "/d/ebb-___x.ledger");
}

}  // namespace
}  // namespace ebb::memory

// ebb share, which reads ledgers and asks no server.
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "cli/command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "memory/ledger.h"
#include "memory/ledger_directory.h"
#include "memory/ledger_file.h"
#include "nlohmann/json.hpp"

namespace ebb::cli {
namespace {

using ::testing::HasSubstr;

class ShareTest : public ::testing::Test {
 protected:
  ExitCode RunShare(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"share", "--path", ledger_.directory()};
    words.insert(words.end(), more.begin(), more.end());
    std::istringstream in;
    std::ostringstream out, err;
    Terminal terminal{&in, &out, &err, false, &interrupt_};
    const ExitCode code = cli::Run(words, &terminal);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  const memory::LedgerDirectory ledger_{"GPU-12ab"};
  std::string out_, err_;
  Interrupt interrupt_;
};

TEST_F(ShareTest, ShowsEveryServer) {
  const auto open = [this] {
    return *memory::LedgerFile::Open(ledger_.path(), "GPU-12ab",
                                     memory::LedgerFile::Access::kServer);
  };
  const auto first_file = open(), second_file = open();
  memory::LedgerSeat::Terms terms;
  terms.pid = 4711;
  terms.name = "first";
  terms.floor_bytes = 32 << 20;
  terms.weight = 3;
  terms.capacity_bytes = 100 << 20;
  const auto first = *memory::LedgerSeat::Take(first_file.get(), terms);
  terms.name = "second\n";
  terms.floor_bytes = 0;
  terms.weight = 1;
  const auto second = *memory::LedgerSeat::Take(second_file.get(), terms);
  memory::LedgerSeat::Needs needs;
  needs.wanted_bytes = needs.ceiling_bytes = int64_t{200} << 20;
  needs.free_bytes = int64_t{1} << 30;
  const absl::Time now = absl::UnixEpoch();
  first->Renew(needs, now);
  second->Renew(needs, now);
  needs.held_bytes = 100 << 20;
  needs.needed_bytes = 90 << 20;
  first->Renew(needs, now);

  ASSERT_EQ(RunShare(), ExitCode::kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("device GPU-12ab: 2 servers"));
  EXPECT_THAT(out_, HasSubstr("gives back 17.0"));  // Its share: 32 + 3/4 of the other 68.
  EXPECT_THAT(out_, HasSubstr("short of 17.0"));
  EXPECT_THAT(out_, HasSubstr("second?")) << "no control character reaches the terminal";
  ASSERT_EQ(RunShare({"--json"}), ExitCode::kOk) << err_;
  const nlohmann::json device = nlohmann::json::parse(out_)["devices"][0];
  EXPECT_EQ(device["device"], "GPU-12ab");
  ASSERT_EQ(device["servers"].size(), 2u);
  EXPECT_EQ(device["servers"][0]["pid"], 4711);
  EXPECT_EQ(device["servers"][0]["floor_bytes"], 32 << 20);
  EXPECT_EQ(device["servers"][0]["held_bytes"], 100 << 20);
  EXPECT_EQ(device["servers"][0]["needed_bytes"], 90 << 20);
  EXPECT_EQ(device["servers"][0]["gives_back_bytes"], 17 << 20);
  EXPECT_EQ(device["servers"][1]["short_bytes"], 17 << 20);
}

TEST_F(ShareTest, SaysWhenThereIsNoLedgerOrABadOne) {
  EXPECT_EQ(RunShare(), ExitCode::kFailed);
  EXPECT_THAT(err_, HasSubstr("no ledger"));
  std::ofstream(ledger_.path()) << "something else";
  EXPECT_EQ(RunShare(), ExitCode::kFailed);
  EXPECT_THAT(err_, HasSubstr("not a ledger"));
}

}  // namespace
}  // namespace ebb::cli

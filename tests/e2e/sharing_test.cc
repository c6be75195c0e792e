// Two real servers on one host divide a capacity that is too small for both.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "memory/ledger.h"
#include "memory/ledger_directory.h"
#include "memory/ledger_file.h"
#include "tests/e2e/client.h"
#include "tests/e2e/log_schema.h"
#include "tests/e2e/server_process.h"
#include "tests/server/wait_until.h"

namespace ebb::tests {
namespace {

using Strings = std::vector<std::string>;

constexpr int64_t kCapacityBytes = 20 << 20;
// A token of tiny-llama takes 512 bytes: such a request comes to about a page of 2 MiB, most of it
// at once.
constexpr int kPromptTokens = 3000;
constexpr int kAnswerTokens = 1000;

class SharingTest : public ::testing::Test {
 protected:
  std::unique_ptr<ServerProcess> StartReady(const Strings& sets = {}) {
    Strings arguments = {"--config",          "configs/cpu.json", "--model",
                         "random:tiny-llama", "--listen",         "127.0.0.1:0"};
    Strings all = {"sharing.path=" + ledger_.directory(),
                   "sharing.capacity_bytes=" + std::to_string(kCapacityBytes),
                   "memory.headroom_bytes=0",
                   "memory.idle_ms=300",
                   "kernels.threads=1",
                   "scheduler.running_sequences_max=16"};
    all.insert(all.end(), sets.begin(), sets.end());
    for (const std::string& set : all) {
      arguments.push_back("--set");
      arguments.push_back(set);
    }
    auto server = std::make_unique<ServerProcess>(arguments);
    if (!server->WaitForEvent("ready").is_null()) return server;
    ADD_FAILURE() << "not ready:\n" << server->output() << server->errors();
    return nullptr;
  }

  // What the ledger shows.
  std::vector<memory::LedgerEntry> Entries() const {
    const auto file =
        memory::LedgerFile::Open(path_, "host", memory::LedgerFile::Access::kReadOnly);
    if (!file.ok()) return {};
    return memory::ReadLedger(**file);
  }

  const memory::LedgerDirectory ledger_{"host"};
  const std::string path_ = ledger_.path();
};

// Requests that want a page each, in threads of their own.
class LongRequests {
 public:
  LongRequests(const std::string& address, int count) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, address, i] {
        const Streamed streamed =
            Client(address).Stream(Greedy(std::string(kPromptTokens, 'a' + i), kAnswerTokens),
                                   [this](const Streamed&) { return !stop_; });
        ++ended_;
      });
    }
  }
  ~LongRequests() { Stop(); }

  void Stop() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  int ended() const { return ended_; }

 private:
  std::atomic<bool> stop_ = false;
  std::atomic<int> ended_ = 0;
  std::vector<std::thread> threads_;
};

TEST_F(SharingTest, TheSecondGetsItsFloorAndAKilledOnesMemory) {
  // Of the whole capacity each has a half for certain: nobody's running requests delay that.
  const Strings floor = {"sharing.floor_bytes=" + std::to_string(kCapacityBytes / 2)};
  const auto first = StartReady(floor);
  const auto second = StartReady(floor);
  ASSERT_TRUE(first != nullptr && second != nullptr);
  ASSERT_TRUE(WaitUntil([&] { return Entries().size() == 2; }));
  Client first_client(first->address()), second_client(second->address());

  LongRequests on_first(first->address(), 16);
  ASSERT_TRUE(WaitUntil([&] {
    return first_client.Memory().held_bytes() > kCapacityBytes * 3 / 4;
  })) << first_client.Memory().ShortDebugString();
  // The second has work too: the first gives memory back while its requests run.
  LongRequests on_second(second->address(), 16);
  int64_t sum_max = 0;
  ASSERT_TRUE(WaitUntil([&] {
    const int64_t held = second_client.Memory().held_bytes();
    sum_max = std::max(sum_max, held + first_client.Memory().held_bytes());
    return held >= kCapacityBytes * 3 / 8;
  })) << second_client.Memory().ShortDebugString();
  EXPECT_LE(first_client.Memory().held_bytes(), kCapacityBytes * 5 / 8);
  EXPECT_EQ(on_first.ended(), 0) << "the hand-over was to be between running requests";
  EXPECT_LE(sum_max, kCapacityBytes);

  first->Signal(SIGKILL);
  const auto killed = std::chrono::steady_clock::now();
  ASSERT_TRUE(WaitUntil([&] {
    const std::vector<memory::LedgerEntry> entries = Entries();
    return entries.size() == 1 && entries[0].party.lease_bytes == kCapacityBytes;
  }));
  EXPECT_LT(std::chrono::steady_clock::now() - killed, std::chrono::seconds(1));
  EXPECT_TRUE(WaitUntil([&] {
    return second_client.Memory().held_bytes() > kCapacityBytes * 3 / 4;
  })) << second_client.Memory().ShortDebugString();
  EXPECT_EQ(on_second.ended(), 0);
  EXPECT_FALSE(second->Lines("sharing_changed").empty());
  ExpectLogFitsSchema(*first);
  ExpectLogFitsSchema(*second);
}

TEST_F(SharingTest, AStoppedServerHoldsNobodyUp) {
  // The stopped one keeps what it has leased, which is what its requests want in the end, about
  // 18 MiB: the other one's request is to fit beside that, however soon the stop comes.
  const Strings roomy = {"sharing.capacity_bytes=" + std::to_string(2 * kCapacityBytes)};
  const auto first = StartReady(roomy);
  const auto second = StartReady(roomy);
  ASSERT_TRUE(first != nullptr && second != nullptr);
  LongRequests on_first(first->address(), 4);
  ASSERT_TRUE(WaitUntil([&] { return Client(first->address()).Memory().pages_mapped() > 0; }));
  first->Signal(SIGSTOP);
  Client client(second->address());
  const Streamed streamed = client.Stream(Greedy("On the other server", 64));
  EXPECT_TRUE(streamed.status.ok()) << streamed.status.error_message();
  EXPECT_EQ(streamed.token_ids.size(), 64u);
  first->Signal(SIGCONT);
  on_first.Stop();
  EXPECT_TRUE(Client(first->address()).Stream(Greedy("And here again", 16)).status.ok());
}

TEST_F(SharingTest, WhatAllServersTogetherMayNotHoldIsRefusedAtOnce) {
  const auto small = StartReady({"sharing.capacity_bytes=3000000"});
  const auto large = StartReady();
  ASSERT_TRUE(small != nullptr && large != nullptr);
  // The smallest capacity that any of them accepts counts for both.
  ASSERT_TRUE(WaitUntil([&] { return Entries().size() == 2; }));
  Client client(large->address());
  ASSERT_TRUE(WaitUntil([&] {
    const Streamed streamed = client.Stream(Greedy(std::string(kPromptTokens, 'a'), kAnswerTokens),
                                            [](const Streamed&) { return false; });
    return streamed.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
  }));
  small->Signal(SIGKILL);
  EXPECT_TRUE(WaitUntil([&] { return client.Stream(Greedy("Alone", 16)).status.ok(); }));
}

TEST_F(SharingTest, WithoutAUsableLedgerAServerKeepsToItsOwnLimit) {
  std::ofstream(path_) << "not a ledger";
  const auto server = StartReady();
  ASSERT_NE(server, nullptr);
  Client client(server->address());
  EXPECT_TRUE(client.Stream(Greedy("Alone", 16)).status.ok());
  ASSERT_TRUE(WaitUntil([&] { return !server->Lines("sharing_off").empty(); }));
  EXPECT_EQ(server->Lines("sharing_off").size(), 1u);
  // It comes in as soon as it can.
  unlink(path_.c_str());
  EXPECT_TRUE(WaitUntil([&] { return Entries().size() == 1; }));
  ExpectLogFitsSchema(*server);
}

}  // namespace
}  // namespace ebb::tests

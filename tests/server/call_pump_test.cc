#include "server/call_pump.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::server {
namespace {

class CountTask final : public PumpTask {
 public:
  explicit CountTask(std::atomic<int>* count) : count_(count) {}
  void RunFromPump() override { ++*count_; }

 private:
  std::atomic<int>* const count_;
};

TEST(CallPumpTest, RunsEachPostOnceAndAllBeforeItEnds) {
  std::atomic<int> count = 0;
  const auto task = std::make_shared<CountTask>(&count);
  {
    CallPump pump;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 1000; ++n) pump.Post(task);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(count, 4000);
  EXPECT_EQ(task.use_count(), 1);  // The pump keeps nothing.
}

// Posts itself again: what comes while it runs is run after it.
class AgainTask final : public PumpTask, public std::enable_shared_from_this<AgainTask> {
 public:
  AgainTask(CallPump* pump, std::atomic<bool>* done) : pump_(pump), done_(done) {}
  void RunFromPump() override {
    if (++runs_ < 10) {
      pump_->Post(shared_from_this());
    } else {
      *done_ = true;
    }
  }

 private:
  CallPump* const pump_;
  std::atomic<bool>* const done_;
  int runs_ = 0;  // The pump's thread alone touches it.
};

TEST(CallPumpTest, ATaskMayPostItself) {
  std::atomic<bool> done = false;
  CallPump pump;
  pump.Post(std::make_shared<AgainTask>(&pump, &done));
  while (!done) std::this_thread::yield();
}

}  // namespace
}  // namespace ebb::server

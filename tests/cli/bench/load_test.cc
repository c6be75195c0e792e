#include "cli/bench/load.h"

#include <thread>

#include "gtest/gtest.h"
#include "tests/cli/fake_server.h"

namespace ebb::cli {
namespace {

LoadOptions TestOptions() {
  LoadOptions options;
  options.vocabulary_tokens = 1000;
  options.seed = 5;
  options.memory_interval = absl::ZeroDuration();
  return options;
}

TEST(LoadTest, RecordsEachToken) {
  FakeServer server;
  Connection connection(server.address());
  Interrupt interrupt;
  const base::RealClock clock;
  LoadOptions options = TestOptions();
  options.memory_interval = absl::Milliseconds(5);
  const std::vector<Arrival> arrivals = {
      {absl::ZeroDuration(), 3, 4}, {absl::Milliseconds(1), 2, 1}, {absl::Milliseconds(20), 1, 0}};
  const LoadResult result = RunLoad(arrivals, options, clock, &connection, &interrupt);
  ASSERT_EQ(result.requests.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const RequestOutcome& request = result.requests[i];
    EXPECT_TRUE(request.sent);
    EXPECT_EQ(request.code, grpc::StatusCode::OK) << request.message;
    EXPECT_EQ(request.output_tokens, arrivals[i].output_tokens);
    EXPECT_GE(request.send_lag, 0);
    EXPECT_GE(request.total, request.last_token);
    EXPECT_EQ(request.gaps.size(),
              static_cast<size_t>(std::max<int64_t>(0, arrivals[i].output_tokens - 1)));
  }
  EXPECT_GT(result.requests[0].first_token, 0);
  EXPECT_GE(result.requests[0].last_token, result.requests[0].first_token);
  EXPECT_GE(result.seconds, 0.02);
  EXPECT_FALSE(result.interrupted);
  ASSERT_GE(result.memory.size(), 1u);
  EXPECT_EQ(result.memory[0].needed_bytes, 3145728);
  // What the last request asked for.
  const v1::GenerateRequest request = server.last_request();
  EXPECT_TRUE(request.stopping().ignore_eos());
  EXPECT_EQ(request.token_ids().ids_size(), 1);
  EXPECT_FALSE(request.output().return_text());
}

// Open loop: the second request is sent though the first gets no answer. Those that would pass the
// bound on requests in flight are left out.
TEST(LoadTest, SendsWithoutWaitingUpToTheBound) {
  FakeServer server;
  Connection connection(server.address());
  Interrupt interrupt;
  const base::RealClock clock;
  LoadOptions options = TestOptions();
  options.in_flight_max = 2;
  std::thread presser([&] {
    server.AwaitStarted(2);
    interrupt.Trigger();
  });
  const std::vector<Arrival> arrivals(5, {absl::ZeroDuration(), 1, FakeServer::kForever});
  const LoadResult result = RunLoad(arrivals, options, clock, &connection, &interrupt);
  presser.join();
  ASSERT_GE(result.requests.size(), 2u);  // The interrupt may come before the others are due.
  for (size_t i = 0; i < result.requests.size(); ++i) {
    EXPECT_EQ(result.requests[i].sent, i < 2) << i;
    if (i >= 2) continue;
    EXPECT_EQ(result.requests[i].code, grpc::StatusCode::CANCELLED);
  }
  server.AwaitCancelled(2);
}

TEST(LoadTest, InterruptEndsItEarly) {
  FakeServer server;
  Connection connection(server.address());
  Interrupt interrupt;
  const base::RealClock clock;
  std::vector<Arrival> arrivals = {{absl::ZeroDuration(), 1, 1}, {absl::Hours(5), 1, 1}};
  std::thread presser([&] { interrupt.Trigger(); });
  const LoadResult result = RunLoad(arrivals, TestOptions(), clock, &connection, &interrupt);
  presser.join();
  EXPECT_TRUE(result.interrupted);
  EXPECT_LE(result.requests.size(), 1u);  // The second never came due.
}

TEST(LoadTest, ErrorsKeepTheirStatus) {
  std::string address;
  {
    const FakeServer gone;
    address = gone.address();
  }
  Connection connection(address);
  Interrupt interrupt;
  const base::RealClock clock;
  const LoadResult result =
      RunLoad({{absl::ZeroDuration(), 1, 1}}, TestOptions(), clock, &connection, &interrupt);
  EXPECT_TRUE(result.requests[0].sent);
  EXPECT_EQ(result.requests[0].code, grpc::StatusCode::UNAVAILABLE);
}

TEST(LoadTest, PromptsAreFixedBySeedAndIndexAndWithinTheVocabulary) {
  const std::vector<int64_t> prompt = BenchPrompt(50, 1000, 1, 2);
  EXPECT_EQ(prompt.size(), 50u);
  EXPECT_EQ(prompt, BenchPrompt(50, 1000, 1, 2));
  EXPECT_NE(prompt, BenchPrompt(50, 1000, 1, 3));
  EXPECT_NE(prompt, BenchPrompt(50, 1000, 2, 2));
  for (int64_t id : prompt) EXPECT_TRUE(id >= 250 && id <= 500);
}

}  // namespace
}  // namespace ebb::cli

// The log line of a request that has ended. Its `reason` is all that anybody learns of a failure of
// ours: a client gets fixed words (tests/server/our_fault_test.cc).
#include "engine/endings.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/driven_engine.h"
#include "tests/engine/recording_sink.h"
#include "tests/server/keep_log.h"

namespace ebb::engine {
namespace {

class Asked {
 public:
  explicit Asked(bool logs_requests) : engine_(Options(logs_requests), &log_) {}

  // One short request, of which the first step fails or does not.
  FinishReason Ask(bool fails) {
    if (fails) engine_.runner_->FailNext(Lane::kPrefill, absl::UnknownError("a driver's words"));
    Request request;
    request.prompt = {1, 2, 3};
    request.sampling.temperature = 0;
    request.stopping.max_tokens = 1;
    request.label = "my-request";
    auto sink = std::make_shared<RecordingSink>();
    EXPECT_TRUE(engine_.engine_->Submit(std::move(request), sink).ok());
    for (int i = 0; i < 4; ++i) engine_.Round();
    return sink->Wait().reason;
  }
  std::vector<nlohmann::ordered_json> Lines() const { return log_.Of("request_finished"); }

 private:
  static LocalEngineOptions Options(bool logs_requests) {
    LocalEngineOptions options = DrivenOptions();
    options.log.requests = logs_requests;
    return options;
  }

  server::KeepLog log_;
  DrivenEngine engine_;
};

TEST(EndingsTest, AnErrorsReasonIsInItsLine) {
  Asked asked(/*logs_requests=*/true);
  EXPECT_EQ(asked.Ask(/*fails=*/true), FinishReason::kError);
  EXPECT_NE(asked.Ask(/*fails=*/false), FinishReason::kError);
  ASSERT_EQ(asked.Lines().size(), 2u);
  EXPECT_EQ(asked.Lines()[0].at("reason"), "the step failed: a driver's words");
  EXPECT_EQ(asked.Lines()[0].at("label"), "my-request");
  EXPECT_EQ(asked.Lines()[0].at("status"), "INTERNAL");
  EXPECT_FALSE(asked.Lines()[1].contains("reason"));
}

TEST(EndingsTest, AnErrorHasALineWhereRequestsHaveNone) {
  Asked asked(/*logs_requests=*/false);
  EXPECT_NE(asked.Ask(/*fails=*/false), FinishReason::kError);
  EXPECT_EQ(asked.Lines().size(), 0u);
  EXPECT_EQ(asked.Ask(/*fails=*/true), FinishReason::kError);
  ASSERT_EQ(asked.Lines().size(), 1u);
  EXPECT_EQ(asked.Lines()[0].at("reason"), "the step failed: a driver's words");
}

}  // namespace
}  // namespace ebb::engine

#include "engine/endings.h"

#include <memory>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/engine/recording_sink.h"
#include "tests/server/keep_log.h"

namespace ebb::engine {
namespace {

// Tells of a request's only answer, which ended with `status`; what its sink was told.
Finish Tell(const absl::Status& status, bool log_every_request, base::Log* log) {
  auto sink = std::make_shared<RecordingSink>();
  Request request;
  request.label = "mine";
  request.n = 1;
  Ending ending;
  ending.request = std::make_shared<LiveRequest>(1, std::move(request), sink, absl::UnixEpoch(),
                                                 absl::UnixEpoch());
  ending.finish.reason = FinishReason::kError;
  ending.finish.status = status;
  TellEnding(&ending, log, log_every_request);
  EXPECT_EQ(sink->answer_finish(0).status, sink->finish().status);
  return sink->finish();
}

TEST(EndingsTest, WhatBrokeInsideIsInTheLogAlone) {
  const std::string inside = "the step failed: /usr/lib/libx.so: kernel at 0x7f00: bad address";
  for (const bool log_every_request : {true, false}) {
    server::KeepLog log;
    const Finish told = Tell(absl::InternalError(inside), log_every_request, &log);
    EXPECT_EQ(told.status.code(), absl::StatusCode::kInternal);
    for (const char* word : {"/usr", "0x", "kernel", "step"}) {
      EXPECT_EQ(told.status.message().find(word), absl::string_view::npos) << told.status;
    }
    const auto lines = log.Of("request_finished");
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_EQ(lines[0]["label"], "mine");
    EXPECT_EQ(lines[0]["status"], "INTERNAL");
    EXPECT_EQ(lines[0]["reason"], inside);
  }
}

TEST(EndingsTest, OtherErrorsAreToldAsTheyAre) {
  const absl::Status full = absl::ResourceExhaustedError("memory: 3 tokens fit");
  for (const bool log_every_request : {true, false}) {
    server::KeepLog log;
    EXPECT_EQ(Tell(full, log_every_request, &log).status, full);
    const auto lines = log.Of("request_finished");
    EXPECT_EQ(lines.size(), log_every_request ? 1u : 0u);
    for (const auto& line : lines) EXPECT_FALSE(line.contains("reason")) << line;
  }
}

}  // namespace
}  // namespace ebb::engine

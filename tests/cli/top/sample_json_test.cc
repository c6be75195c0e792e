#include "cli/top/sample_json.h"

#include "gtest/gtest.h"
#include "tests/cli/top/samples.h"

namespace ebb::cli {
namespace {

using nlohmann::json;

json Json(const Sample& sample, const Rates& rates = {}) {
  return json::parse(SampleJson(sample, rates).dump());
}

TEST(SampleJsonTest, AnAnswer) {
  Sample sample = BusySample(10);
  sample.windows->mutable_windows()->DeleteSubrange(1, 7);
  Rates rates;
  rates.finished = 2;
  rates.completion_tokens = 40;
  EXPECT_EQ(Json(sample, rates), json::parse(R"({
    "time": "2025-11-24T16:00:10.000Z", "answered": true, "model": "tiny-model",
    "server": {"state": "ready", "uptime_seconds": 10.0, "waiting_requests": 3,
               "running_requests": 12, "finished_total": 20, "preemptions_total": 4,
               "prefilled_tokens_total": 1000, "completion_tokens_total": 400},
    "rates": {"finished_per_second": 2.0, "preemptions_per_second": null,
              "prefilled_tokens_per_second": null, "completion_tokens_per_second": 40.0},
    "memory": {"held_bytes": 100663296, "needed_bytes": 62914560, "cached_bytes": 0,
               "limit_bytes": 134217728, "pages_mapped": 16, "page_bytes": 0, "block_tokens": 0,
               "moved_bytes_total": 0, "flips_per_minute": 1, "swapped_bytes": 0,
               "swap_limit_bytes": 0},
    "windows": [{"queue": "prefill", "number": 8, "age_seconds": 3.0, "length_seconds": 0.28,
                 "steps": 16, "sequences": 8, "static_blocks": 80, "dynamic_blocks": 8,
                 "slack_blocks": 1, "demand_blocks": 89, "grant_blocks": 89, "pages_before": 8,
                 "pages_after": 10, "reason": "grow"}]})"));
}

TEST(SampleJsonTest, WhatIsNotToldIsNull) {
  const json none = Json(Sample());
  EXPECT_EQ(none["server"]["state"], "unknown");
  EXPECT_TRUE(none["server"]["completion_tokens_total"].is_null());
  EXPECT_TRUE(none["windows"].is_null());
}

TEST(SampleJsonTest, NoAnswer) {
  EXPECT_EQ(Json(SilentSample(1.5)), json::parse(R"({
    "time": "2025-11-24T16:00:01.500Z", "answered": false,
    "error": "no server answers at 127.0.0.1:1"})"));
}

}  // namespace
}  // namespace ebb::cli

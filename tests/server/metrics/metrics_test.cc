// The metrics of a server are those that docs/metrics.md lists.
#include "server/metrics/metrics.h"

#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "engine/engine_fake.h"
#include "gtest/gtest.h"
#include "tests/server/keep_log.h"

namespace ebb::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

// The cells of every row that begins with a name in backquotes, without the quotes. `columns`: only
// rows of so many.
std::vector<std::vector<std::string>> RowsOfDocument(size_t columns) {
  std::ifstream file("docs/metrics.md");
  EXPECT_TRUE(file.good());
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, "| `")) continue;
    std::vector<std::string> cells;
    for (const absl::string_view cell : absl::StrSplit(line, '|')) {
      cells.emplace_back(absl::StripAsciiWhitespace(cell));
    }
    if (cells.size() != columns + 2)
      continue;  // What stands before the first bar and after the last.
    rows.emplace_back(cells.begin() + 1, cells.end() - 1);
  }
  return rows;
}

std::string Unquoted(const std::string& cell) { return cell.substr(1, cell.size() - 2); }

std::string TypeName(MetricType type) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Histogram:
      return "histogram";
    default:
      return "?";
  }
}

std::string LabelNames(const ClientMetric& sample) {
  std::vector<std::string> names;
  for (const ClientMetric::Label& label : sample.label) names.push_back(label.name);
  return absl::StrJoin(names, ", ");
}

engine::LaneView Lane(memory::WindowQueue queue, const std::vector<int64_t>& steps) {
  engine::LaneView lane;
  lane.queue = queue;
  for (const int64_t tokens : steps) lane.done.Add(tokens, absl::Milliseconds(500));
  return lane;
}

engine::WindowView Window(memory::WindowQueue queue, int64_t number, int64_t grant_blocks) {
  engine::WindowView window;
  window.number = number;
  window.plan.queue = queue;
  window.plan.grant_blocks = grant_blocks;
  return window;
}

class MetricsTest : public testing::Test {
 protected:
  MetricsTest() {
    options_.version = "1.2";
    options_.config_hash = "0123";
    options_.model_name = "fake";
    options_.kernels = "none";
    options_.kv_bytes_per_token = 10;
    memory_.needed_bytes = 250;
    memory_.limit_bytes = 1000;
    memory_.block_tokens = 16;
    engine_.SetMemoryView(memory_);
    engine_.SetLanes({Lane(memory::WindowQueue::kPrefill, {8, 100'000}),
                      Lane(memory::WindowQueue::kDecode, {1, 1, 3})});
    engine_.SetWindows({Window(memory::WindowQueue::kPrefill, 1, 9),
                        Window(memory::WindowQueue::kDecode, 4, 2),
                        Window(memory::WindowQueue::kDecode, 5, 3)});
  }

  std::vector<MetricFamily> Collect() const {
    return Metrics(options_, &engine_, &requests_, &refusals_, &progress_).Collect().all();
  }
  std::string Render() const {
    return Metrics(options_, &engine_, &requests_, &refusals_, &progress_).Render();
  }

  base::RealClock clock_;
  KeepLog log_;
  engine::FakeEngine engine_;
  engine::MemoryView memory_;
  RequestMetrics requests_;
  RefusalLog refusals_{&clock_, &log_};
  ProgressMonitor progress_{&engine_, &clock_, absl::Minutes(1)};
  MetricsOptions options_;
};

TEST_F(MetricsTest, AServerSaysWhatTheDocumentLists) {
  memory_.share_bytes = 500;
  engine_.SetMemoryView(memory_);
  std::set<std::vector<std::string>> said;
  for (const MetricFamily& family : Collect()) {
    ASSERT_FALSE(family.metric.empty()) << family.name;
    for (const ClientMetric& sample : family.metric) {
      EXPECT_EQ(LabelNames(sample), LabelNames(family.metric[0])) << family.name;
    }
    const bool is_new =
        said.insert({family.name, TypeName(family.type), LabelNames(family.metric[0]), family.help})
            .second;
    EXPECT_TRUE(is_new) << family.name << " is there twice";
  }
  std::set<std::vector<std::string>> listed;
  for (const std::vector<std::string>& row : RowsOfDocument(5)) {
    listed.insert({Unquoted(row[0]), row[1], row[2], row[4]});
  }
  EXPECT_GT(listed.size(), 40u);
  EXPECT_EQ(said, listed);
}

TEST_F(MetricsTest, NamesFollowPrometheusRules) {
  for (const MetricFamily& family : Collect()) {
    EXPECT_EQ(absl::EndsWith(family.name, "_total"), family.type == MetricType::Counter)
        << family.name;
    EXPECT_TRUE(absl::StartsWith(family.name, "ebb_") || absl::StartsWith(family.name, "process_"))
        << family.name;
  }
}

// Dashboards and recorded series rest on them.
TEST_F(MetricsTest, BucketsAreFixed) {
  const std::string first_token =
      "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 20 40 80 160 640 2560";
  const std::string gap =
      "0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1 2.5 5 7.5 "
      "10 20 40 80";
  const std::string request =
      "0.001 0.005 0.01 0.05 0.1 0.3 0.5 0.8 1 1.5 2 2.5 5 10 15 20 30 40 50 60 120 240 480 960 "
      "1920 7680";
  const std::string tokens =
      "1 2 5 10 20 50 100 200 500 1000 2000 5000 10000 20000 50000 100000 200000 500000 1e+06";
  const std::map<std::string, std::string> wanted = {
      {"ebb_time_to_first_token_seconds", first_token},
      {"ebb_inter_token_latency_seconds", gap},
      {"ebb_time_per_output_token_seconds", gap},
      {"ebb_request_duration_seconds", request},
      {"ebb_request_queue_seconds", request},
      {"ebb_request_prefill_seconds", request},
      {"ebb_request_decode_seconds", request},
      {"ebb_request_inference_seconds", request},
      {"ebb_request_prompt_tokens", tokens},
      {"ebb_request_generation_tokens", tokens},
      {"ebb_length_rank", "0.05 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 0.95 0.99"},
      {"ebb_step_tokens", "1 2 4 8 16 32 64 128 256 512 1024 2048 4096 8192 16384"},
  };
  std::map<std::string, std::string> said;
  for (const MetricFamily& family : Collect()) {
    if (family.type != MetricType::Histogram) continue;
    std::vector<double> bounds;
    for (const ClientMetric::Bucket& bucket : family.metric[0].histogram.bucket) {
      if (std::isfinite(bucket.upper_bound)) bounds.push_back(bucket.upper_bound);
    }
    said[family.name] = absl::StrJoin(bounds, " ");
  }
  EXPECT_EQ(said, wanted);
}

TEST_F(MetricsTest, AShareIsToldWhereThereIsOne) {
  for (const MetricFamily& family : Collect()) EXPECT_NE(family.name, "ebb_memory_share_bytes");
}

TEST_F(MetricsTest, TheTextTellsTheEnginesNumbers) {
  refusals_.Write(absl::ResourceExhaustedError("full"));
  refusals_.Write(absl::ResourceExhaustedError("full"));  // Not logged, but counted.
  engine_.SetLastStepAge(absl::Seconds(61));
  progress_.Poll();
  const std::string text = Render();
  for (const char* line : {
           "# HELP ebb_step_tokens Tokens of a step; its count is the number of steps.\n",
           "# TYPE ebb_step_tokens histogram\n",
           "ebb_step_tokens_bucket{lane=\"prefill\",le=\"4\"} 0\n",
           "ebb_step_tokens_bucket{lane=\"prefill\",le=\"8\"} 1\n",
           "ebb_step_tokens_bucket{lane=\"prefill\",le=\"16384\"} 1\n",
           "ebb_step_tokens_bucket{lane=\"prefill\",le=\"+Inf\"} 2\n",
           "ebb_step_tokens_count{lane=\"decode\"} 3\n",
           "ebb_step_tokens_sum{lane=\"decode\"} 5\n",
           "ebb_step_seconds_total{lane=\"decode\"} 1.5\n",
           "ebb_windows_total{lane=\"decode\"} 5\n",
           "ebb_window_grant_bytes{lane=\"decode\"} 480\n",
           "ebb_memory_limit_bytes 1000\n",
           "ebb_requests_refused_total{code=\"RESOURCE_EXHAUSTED\"} 2\n",
           "ebb_requests_refused_total{code=\"UNIMPLEMENTED\"} 0\n",
           "ebb_health{state=\"ready\"} 0\n",
           "ebb_health{state=\"stalled\"} 1\n",
           "ebb_build_info{version=\"1.2\"} 1\n",
       }) {
    EXPECT_TRUE(absl::StrContains(text, line)) << line;
  }
}

TEST_F(MetricsTest, TheTextTellsHowPredictionsCameOut) {
  engine::LengthScores scores;
  for (const double rank : {0.0, 0.3, 0.95, 1.0}) scores.ranks[0].Add(rank, rank);
  // Somewhere up there: a half of it is above 0.9, a quarter above 0.95.
  for (int i = 0; i < 4; ++i) scores.ranks[2].Add(0.8, 1);
  engine_.SetLengths(scores, "");
  engine::LaneView decode = Lane(memory::WindowQueue::kDecode, {});
  decode.windows.Add(9, 5);
  decode.windows.Add(2, 3);
  engine_.SetLanes({decode});
  const std::string text = Render();
  for (const char* line : {
           "ebb_length_rank_bucket{level=\"class\",le=\"0.05\"} 1\n",
           "ebb_length_rank_bucket{level=\"class\",le=\"0.3\"} 2\n",
           "ebb_length_rank_bucket{level=\"class\",le=\"0.95\"} 3\n",
           "ebb_length_rank_bucket{level=\"class\",le=\"0.99\"} 3\n",
           "ebb_length_rank_bucket{level=\"class\",le=\"+Inf\"} 4\n",
           "ebb_length_rank_sum{level=\"class\"} 2.25\n",
           "ebb_length_rank_count{level=\"all\"} 0\n",
           "ebb_length_rank_bucket{level=\"prior\",le=\"0.8\"} 0\n",
           "ebb_length_rank_bucket{level=\"prior\",le=\"0.9\"} 2\n",
           "ebb_length_rank_bucket{level=\"prior\",le=\"0.95\"} 3\n",
           "ebb_length_rank_count{level=\"prior\"} 4\n",
           "ebb_length_rank_sum{level=\"prior\"} 3.6\n",
           "ebb_window_predicted_bytes_total{lane=\"decode\"} 1760\n",
           "ebb_window_used_bytes_total{lane=\"decode\"} 1280\n",
           "ebb_window_error_bytes_total{lane=\"decode\"} 800\n",
       }) {
    EXPECT_TRUE(absl::StrContains(text, line)) << line;
  }
}

TEST_F(MetricsTest, TheProcessIsThisOne) {
  for (const MetricFamily& family : Collect()) {
    const double value = family.metric[0].gauge.value;
    if (family.name == "process_start_time_seconds") {
      const double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
      EXPECT_NEAR(value, now, 3600);
      EXPECT_LE(value, now + 1);
    }
    if (family.name == "process_resident_memory_bytes") {
      EXPECT_GT(value, 1 << 20);
    }
    if (family.name == "process_open_fds") {
      EXPECT_GE(value, 3);
    }
  }
}

TEST_F(MetricsTest, VllmsNamesOnlyWhenAskedFor) {
  EXPECT_FALSE(absl::StrContains(Render(), "vllm:"));
  options_.vllm_aliases = true;
  std::set<std::string> said;
  for (const MetricFamily& family : Collect()) {
    if (!absl::StartsWith(family.name, "vllm:")) continue;
    said.insert(family.name);
    for (const ClientMetric& sample : family.metric) {
      EXPECT_TRUE(absl::StartsWith(LabelNames(sample), "model_name, engine")) << family.name;
      EXPECT_EQ(sample.label[0].value, "fake");
    }
  }
  std::set<std::string> listed;
  for (const std::vector<std::string>& row : RowsOfDocument(2)) {
    for (const absl::string_view name : absl::StrSplit(row[0], ", ")) {
      if (absl::StartsWith(name, "`vllm:")) listed.insert(Unquoted(std::string(name)));
    }
  }
  EXPECT_EQ(listed.size(), 21u);
  EXPECT_EQ(said, listed);
}

TEST_F(MetricsTest, VllmsNamesTellTheSame) {
  options_.vllm_aliases = true;
  RequestTimes times(absl::UnixEpoch(), 1);
  engine::Finish finish;
  finish.reason = engine::FinishReason::kDeadline;
  finish.first_token_time = absl::InfiniteDuration();
  requests_.OnFinish(times, finish, absl::UnixEpoch() + absl::Seconds(2));
  const std::string text = Render();
  const std::string labels = "{model_name=\"fake\",engine=\"0\"";
  for (const std::string& line : {
           "vllm:request_success_total" + labels + ",finished_reason=\"abort\"} 1\n",
           "vllm:request_success_total" + labels + ",finished_reason=\"stop\"} 0\n",
           "vllm:e2e_request_latency_seconds_sum" + labels + "} 2\n",
           "vllm:kv_cache_usage_perc" + labels + "} 0.25\n",
           "vllm:cache_config_info" + labels + ",block_size=\"16\",num_gpu_blocks=\"6\"} 1\n",
           // Both lanes' steps.
           "vllm:iteration_tokens_total_count" + labels + "} 5\n",
           "vllm:iteration_tokens_total_bucket" + labels + ",le=\"4\"} 3\n",
           "vllm:iteration_tokens_total_bucket" + labels + ",le=\"+Inf\"} 5\n",
       }) {
    EXPECT_TRUE(absl::StrContains(text, line)) << line;
  }
}

}  // namespace
}  // namespace ebb::server

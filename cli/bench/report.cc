#include "cli/bench/report.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ebb::cli {
namespace {

using nlohmann::ordered_json;

double MeanTokenSeconds(const RequestOutcome& request) {
  return (request.last_token - request.first_token) /
         static_cast<double>(request.output_tokens - 1);
}

bool IsGood(const RequestOutcome& request, const Slo& slo) {
  if (request.output_tokens == 0 || request.first_token > slo.first_token_seconds) return false;
  return request.output_tokens < 2 || MeanTokenSeconds(request) <= slo.token_seconds;
}

void SummarizeMemory(const std::vector<MemorySample>& samples, Report* report) {
  std::vector<double> held;
  std::vector<double> needed;
  double held_sum = 0;
  double needed_sum = 0;
  for (const MemorySample& sample : samples) {
    held.push_back(static_cast<double>(sample.held_bytes));
    needed.push_back(static_cast<double>(sample.needed_bytes));
    held_sum += held.back();
    needed_sum += needed.back();
  }
  report->held_bytes = Distribute(std::move(held));
  report->needed_bytes = Distribute(std::move(needed));
  if (needed_sum > 0) report->held_over_needed = held_sum / needed_sum;
}

ordered_json DistributionJson(const Distribution& d) {
  if (d.count == 0) return {{"count", 0}};
  return {{"count", d.count}, {"mean", d.mean}, {"p50", d.p50},
          {"p90", d.p90},     {"p99", d.p99},   {"max", d.max}};
}

// JSON has no infinity: no bound is null.
ordered_json BoundMs(double seconds) {
  return std::isfinite(seconds) ? ordered_json(seconds * 1000) : ordered_json(nullptr);
}

ordered_json MemoryJson(const Report& report, const LoadResult& result) {
  ordered_json samples = ordered_json::array();
  for (const MemorySample& sample : result.memory) {
    samples.push_back({{"at_seconds", sample.at_seconds},
                       {"held_bytes", sample.held_bytes},
                       {"needed_bytes", sample.needed_bytes},
                       {"cached_bytes", sample.cached_bytes},
                       {"limit_bytes", sample.limit_bytes}});
  }
  return {{"held_bytes", DistributionJson(report.held_bytes)},
          {"needed_bytes", DistributionJson(report.needed_bytes)},
          {"held_over_needed", report.held_over_needed},
          {"samples", std::move(samples)}};
}

std::string TableLine(absl::string_view name, const Distribution& d, double scale) {
  if (d.count == 0) return absl::StrFormat("%-22s          -\n", name);
  return absl::StrFormat("%-22s %10.2f %10.2f %10.2f %10.2f %10.2f\n", name, d.mean * scale,
                         d.p50 * scale, d.p90 * scale, d.p99 * scale, d.max * scale);
}

}  // namespace

Report Summarize(const LoadResult& result, const Slo& slo) {
  Report report;
  report.slo = slo;
  report.seconds = result.seconds;
  report.scheduled = static_cast<int64_t>(result.requests.size());
  std::vector<double> first_token, token, gap, total, send_lag;
  double prompt_tokens = 0;
  double output_tokens = 0;
  for (const RequestOutcome& request : result.requests) {
    if (!request.sent) {
      ++report.not_sent;
      continue;
    }
    send_lag.push_back(request.send_lag);
    if (request.code != grpc::StatusCode::OK) {
      ErrorCount& error = report.errors[std::string(StatusCodeName(request.code))];
      if (error.count++ == 0) error.first_message = request.message;
      continue;
    }
    ++report.ok;
    total.push_back(request.total);
    gap.insert(gap.end(), request.gaps.begin(), request.gaps.end());
    if (request.output_tokens > 0) first_token.push_back(request.first_token);
    if (request.output_tokens > 1) token.push_back(MeanTokenSeconds(request));
    prompt_tokens += static_cast<double>(request.arrival.prompt_tokens);
    output_tokens += static_cast<double>(request.output_tokens);
    if (IsGood(request, slo)) ++report.good;
  }
  report.first_token = Distribute(std::move(first_token));
  report.token = Distribute(std::move(token));
  report.gap = Distribute(std::move(gap));
  report.total = Distribute(std::move(total));
  report.send_lag = Distribute(std::move(send_lag));
  if (result.seconds > 0) {
    report.requests_per_second = static_cast<double>(report.ok) / result.seconds;
    report.prompt_tokens_per_second = prompt_tokens / result.seconds;
    report.output_tokens_per_second = output_tokens / result.seconds;
    report.goodput_per_second = static_cast<double>(report.good) / result.seconds;
  }
  SummarizeMemory(result.memory, &report);
  return report;
}

ordered_json ReportJson(const Report& report, const LoadResult& result) {
  ordered_json errors = ordered_json::object();
  int64_t failed = 0;
  for (const auto& [code, error] : report.errors) {
    errors[code] = {{"count", error.count}, {"first_message", error.first_message}};
    failed += error.count;
  }
  return {{"seconds", report.seconds},
          {"interrupted", result.interrupted},
          {"requests",
           {{"scheduled", report.scheduled},
            {"not_sent", report.not_sent},
            {"ok", report.ok},
            {"failed", failed}}},
          {"errors", std::move(errors)},
          {"ttft_seconds", DistributionJson(report.first_token)},
          {"tpot_seconds", DistributionJson(report.token)},
          {"token_gap_seconds", DistributionJson(report.gap)},
          {"total_seconds", DistributionJson(report.total)},
          {"send_lag_seconds", DistributionJson(report.send_lag)},
          {"throughput",
           {{"requests_per_second", report.requests_per_second},
            {"prompt_tokens_per_second", report.prompt_tokens_per_second},
            {"output_tokens_per_second", report.output_tokens_per_second}}},
          {"slo",
           {{"ttft_ms", BoundMs(report.slo.first_token_seconds)},
            {"tpot_ms", BoundMs(report.slo.token_seconds)},
            {"good_requests", report.good},
            {"goodput_requests_per_second", report.goodput_per_second}}},
          {"memory", MemoryJson(report, result)}};
}

std::string ReportTable(const Report& report) {
  constexpr double kMs = 1000;
  constexpr double kMiB = 1.0 / (1 << 20);
  std::string out =
      absl::StrFormat("%-22s %10s %10s %10s %10s %10s\n", "", "mean", "p50", "p90", "p99", "max");
  absl::StrAppend(&out, TableLine("first token, ms", report.first_token, kMs),
                  TableLine("time per token, ms", report.token, kMs),
                  TableLine("gap between tokens, ms", report.gap, kMs),
                  TableLine("end to end, ms", report.total, kMs),
                  TableLine("sent late by, ms", report.send_lag, kMs),
                  TableLine("memory held, MiB", report.held_bytes, kMiB),
                  TableLine("memory needed, MiB", report.needed_bytes, kMiB));
  absl::StrAppendFormat(&out,
                        "\n%d requests in %.1f s: %d ok, %d not sent (too many in flight)\n"
                        "throughput: %.2f requests/s, %.1f prompt and %.1f output tokens/s\n"
                        "goodput: %.2f requests/s (%d requests within the SLO)\n",
                        report.scheduled, report.seconds, report.ok, report.not_sent,
                        report.requests_per_second, report.prompt_tokens_per_second,
                        report.output_tokens_per_second, report.goodput_per_second, report.good);
  if (report.held_over_needed > 0) {
    absl::StrAppendFormat(&out, "memory held / needed over the run: %.2f\n",
                          report.held_over_needed);
  }
  for (const auto& [code, error] : report.errors) {
    absl::StrAppendFormat(&out, "%d x %s: %s\n", error.count, code, error.first_message);
  }
  return out;
}

}  // namespace ebb::cli

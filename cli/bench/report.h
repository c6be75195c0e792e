// Report: the figures of a load.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "cli/bench/load.h"
#include "cli/bench/percentile.h"
#include "nlohmann/json.hpp"

namespace ebb::cli {

// What a good answer keeps to; infinite: no bound.
struct Slo {
  double first_token_seconds = 0;
  double token_seconds = 0;  // Mean time per token after the first.
};

struct ErrorCount {
  int64_t count = 0;
  std::string first_message;
};

struct Report {
  int64_t scheduled = 0;
  int64_t not_sent = 0;  // The bound on requests in flight was reached.
  int64_t ok = 0;
  std::map<std::string, ErrorCount> errors;  // By status code's name.
  double seconds = 0;
  // Seconds; of requests that ended well.
  Distribution first_token;  // From when the request was due.
  Distribution token;        // (last - first) / (tokens - 1); of answers of 2 tokens and more.
  Distribution gap;          // Between messages that carried tokens, over all answers.
  Distribution total;
  Distribution send_lag;  // Of all requests sent: how late we were ourselves.
  double requests_per_second = 0;
  double prompt_tokens_per_second = 0;
  double output_tokens_per_second = 0;
  Slo slo;
  int64_t good = 0;  // Ended well and within the SLO.
  double goodput_per_second = 0;
  Distribution held_bytes;
  Distribution needed_bytes;
  double held_over_needed = 0;  // Ratio of the sums over all samples; 0 without samples.
};

Report Summarize(const LoadResult& result, const Slo& slo);

nlohmann::ordered_json ReportJson(const Report& report, const LoadResult& result);

// For people.
std::string ReportTable(const Report& report);

}  // namespace ebb::cli

#include "bench/memory/prefix_trace.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/rng.h"

namespace ebb::bench {
namespace {

constexpr char kPath[] = "bench/data/mooncake_prefixes.csv";
constexpr int64_t kTraceBlockTokens = 512;
constexpr int64_t kDivisor = kTraceBlockTokens / kPrefixBlockTokens;
constexpr uint64_t kTokenKinds = 40000;  // Below any vocabulary's size.

template <typename Number>
Number NumberIn(absl::string_view text) {
  double number = 0;
  CHECK(absl::SimpleAtod(text, &number)) << kPath << ": no number: " << text;
  return static_cast<Number>(number);
}

// "0-2 7": 0, 1, 2, 7.
std::vector<int32_t> IdsIn(absl::string_view text) {
  std::vector<int32_t> ids;
  for (const absl::string_view run : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    const std::vector<absl::string_view> ends = absl::StrSplit(run, '-');
    for (auto id = NumberIn<int32_t>(ends.front()); id <= NumberIn<int32_t>(ends.back()); ++id) {
      ids.push_back(id);
    }
  }
  return ids;
}

}  // namespace

std::vector<int32_t> PrefixTrace::PromptOf(size_t request) const {
  std::vector<int32_t> tokens(static_cast<size_t>(arrivals.at(request).prompt_tokens));
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto id = static_cast<uint64_t>(blocks[request].at(i / kPrefixBlockTokens));
    tokens[i] = static_cast<int32_t>(base::RandomBits(id, i % kPrefixBlockTokens) % kTokenKinds);
  }
  return tokens;
}

PrefixTrace ReadPrefixTrace(size_t requests_max) {
  std::ifstream file(kPath);
  CHECK(file.good()) << kPath << ": start it with bazel run, or in the repository's root";
  PrefixTrace trace;
  std::string line;
  std::getline(file, line);
  CHECK_EQ(line, "arrival_s,prompt_tokens,output_tokens,prefix_blocks");
  while (trace.arrivals.size() < requests_max && std::getline(file, line)) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ',');
    CHECK_EQ(fields.size(), size_t{4}) << line;
    cli::Arrival arrival;
    arrival.at = absl::Seconds(NumberIn<double>(fields[0]));
    // Rounded up, so that a prompt has as many blocks as ids.
    arrival.prompt_tokens = (NumberIn<int64_t>(fields[1]) + kDivisor - 1) / kDivisor;
    arrival.output_tokens =
        std::max<int64_t>(1, std::llround(NumberIn<double>(fields[2]) / kDivisor));
    trace.arrivals.push_back(arrival);
    trace.blocks.push_back(IdsIn(fields[3]));
    const auto wanted = (arrival.prompt_tokens + kPrefixBlockTokens - 1) / kPrefixBlockTokens;
    CHECK_EQ(static_cast<int64_t>(trace.blocks.back().size()), wanted) << line;
  }
  return trace;
}

}  // namespace ebb::bench

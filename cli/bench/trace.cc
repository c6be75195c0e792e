#include "cli/bench/trace.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace ebb::cli {
namespace {

constexpr int64_t kLengthMax = 10'000'000;

struct Row {
  double seconds = 0;
  double prompt_tokens = 0;
  double output_tokens = 0;
};

// Where the three columns stand; npos while unknown.
struct Columns {
  size_t time = std::string::npos;
  size_t prompt = std::string::npos;
  size_t output = std::string::npos;
  bool complete() const {
    return time != std::string::npos && prompt != std::string::npos && output != std::string::npos;
  }
};

Columns ReadHeader(absl::string_view line) {
  Columns columns;
  const std::vector<absl::string_view> names = absl::StrSplit(line, ',');
  for (size_t i = 0; i < names.size(); ++i) {
    const absl::string_view name = absl::StripAsciiWhitespace(names[i]);
    if (name == "arrival_s" || name == "TIMESTAMP") columns.time = i;
    if (name == "prompt_tokens" || name == "ContextTokens" || name == "num_prefill_tokens") {
      columns.prompt = i;
    }
    if (name == "output_tokens" || name == "GeneratedTokens" || name == "num_decode_tokens") {
      columns.output = i;
    }
  }
  return columns;
}

bool ParseSeconds(absl::string_view text, double* seconds) {
  if (absl::SimpleAtod(text, seconds)) return true;
  absl::Time time;
  std::string error;
  if (!absl::ParseTime("%Y-%m-%d %H:%M:%E*S", text, &time, &error)) return false;
  *seconds = absl::ToDoubleSeconds(time - absl::UnixEpoch());
  return true;
}

bool ParseCsvRow(absl::string_view line, const Columns& columns, Row* row) {
  const std::vector<absl::string_view> fields = absl::StrSplit(line, ',');
  if (fields.size() <= std::max({columns.time, columns.prompt, columns.output})) return false;
  return ParseSeconds(absl::StripAsciiWhitespace(fields[columns.time]), &row->seconds) &&
         absl::SimpleAtod(fields[columns.prompt], &row->prompt_tokens) &&
         absl::SimpleAtod(fields[columns.output], &row->output_tokens);
}

bool ParseJsonRow(absl::string_view line, Row* row) {
  const nlohmann::json object =
      nlohmann::json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return false;
  const auto number = [&](const char* key, double* out) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number()) return false;
    *out = found->get<double>();
    return true;
  };
  double milliseconds = 0;
  const bool good = number("timestamp", &milliseconds) &&
                    number("input_length", &row->prompt_tokens) &&
                    number("output_length", &row->output_tokens);
  row->seconds = milliseconds / 1000;
  return good;
}

// Written so that NaN fails.
bool IsPossible(const Row& row) {
  constexpr double kSecondsMax = 1e11;
  const auto length = [](double tokens) { return tokens >= 0 && tokens <= kLengthMax; };
  return std::abs(row.seconds) <= kSecondsMax && length(row.prompt_tokens) &&
         length(row.output_tokens);
}

absl::StatusOr<std::vector<Row>> ParseRows(absl::string_view text, absl::string_view source) {
  std::vector<Row> rows;
  Columns columns;
  int line_number = 0;
  const auto error = [&](absl::string_view message) {
    return absl::InvalidArgumentError(absl::StrCat(source, ":", line_number, ": ", message));
  };
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    const bool is_json = line.front() == '{';
    if (!is_json && !columns.complete()) {
      columns = ReadHeader(line);
      if (columns.complete()) continue;
      return error(
          "the header must name arrival_s, prompt_tokens and output_tokens (or TIMESTAMP, "
          "ContextTokens and GeneratedTokens)");
    }
    Row row;
    const bool parsed = is_json ? ParseJsonRow(line, &row) : ParseCsvRow(line, columns, &row);
    if (!parsed || !IsPossible(row)) return error("not a time and two lengths");
    if (rows.size() >= static_cast<size_t>(kArrivalsMax)) {
      return error(absl::StrCat("more than ", kArrivalsMax, " requests; shorten the trace"));
    }
    rows.push_back(row);
  }
  if (rows.empty()) return error("no requests");
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<Arrival>> ParseTrace(absl::string_view text, absl::string_view source,
                                                const TraceScale& scale) {
  ASSIGN_OR_RETURN(std::vector<Row> rows, ParseRows(text, source));
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.seconds < b.seconds; });
  std::vector<Arrival> arrivals;
  arrivals.reserve(rows.size());
  const auto length = [&](double tokens) {
    const int64_t divided = std::llround(tokens / scale.length_divisor);
    return std::clamp<int64_t>(divided, 1, scale.length_max);
  };
  for (const Row& row : rows) {
    arrivals.push_back({absl::Seconds((row.seconds - rows.front().seconds) / scale.speed),
                        length(row.prompt_tokens), length(row.output_tokens)});
  }
  return arrivals;
}

}  // namespace ebb::cli

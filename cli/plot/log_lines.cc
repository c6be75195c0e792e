#include "cli/plot/log_lines.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace ebb::cli {
namespace {

constexpr int kDepthMax = 16;
constexpr int64_t kBytesMax = int64_t{1} << 60;
constexpr int64_t kCountMax = int64_t{1} << 31;  // Sums of as many lines as a disk holds fit.
constexpr int64_t kTimeMsMax = int64_t{7258118400000};  // 2200-01-01.

// Takes the fields that matter from the outermost object, without building the rest.
class EventReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return Scalar(); }
  bool boolean(bool) override { return Scalar(); }
  bool number_integer(number_integer_t value) override { return Number(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return Number(value > static_cast<uint64_t>(kBytesMax) ? -1 : static_cast<int64_t>(value));
  }
  bool number_float(number_float_t, const string_t&) override { return Scalar(); }
  bool string(string_t& value) override {
    if (depth_ != 1) return depth_ > 1;
    if (key_ == "time") time_ = value;
    if (key_ == "event") event_ = value;
    if (key_ == "model") model_ = value;
    return NumberFieldOf(key_) == nullptr;
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(); }
  bool key(string_t& name) override {
    if (depth_ == 1) key_ = name;
    return true;
  }
  bool end_object() override { return Close(); }
  bool start_array(std::size_t) override { return depth_ > 0 && Open(); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

  std::string time_, event_, model_;
  std::optional<int64_t> held_, needed_, limit_, preemptions_total_, preemptions_;

 private:
  bool Open() {
    // What the server gives as one number or one text is not a list.
    if (depth_ == 1 && !Scalar()) return false;
    return ++depth_ <= kDepthMax;
  }
  bool Close() {
    --depth_;
    return true;
  }
  // Any value but a whole number or a string.
  bool Scalar() const {
    return depth_ > 0 &&
           !(depth_ == 1 && (NumberFieldOf(key_) != nullptr || key_ == "time" || key_ == "event"));
  }
  bool Number(int64_t value) {
    if (depth_ != 1) return depth_ > 1;
    if (key_ == "time" || key_ == "event") return false;
    std::optional<int64_t>* const field = NumberFieldOf(key_);
    if (field == nullptr) return true;
    const bool counts = field == &preemptions_total_ || field == &preemptions_;
    if (value < 0 || value > (counts ? kCountMax : kBytesMax)) return false;
    *field = value;
    return true;
  }
  std::optional<int64_t>* NumberFieldOf(absl::string_view key) {
    if (key == "held_bytes") return &held_;
    if (key == "needed_bytes") return &needed_;
    if (key == "limit_bytes") return &limit_;
    if (key == "preemptions_total") return &preemptions_total_;
    if (key == "preemptions") return &preemptions_;
    return nullptr;
  }
  const std::optional<int64_t>* NumberFieldOf(absl::string_view key) const {
    return const_cast<EventReader*>(this)->NumberFieldOf(key);
  }

  int depth_ = 0;
  std::string key_;
};

}  // namespace

std::optional<LogEvent> ParseLogLine(absl::string_view line) {
  EventReader reader;
  if (!nlohmann::json::sax_parse(line.begin(), line.end(), &reader)) return std::nullopt;
  absl::Time time;
  std::string error;
  if (reader.event_.empty() || !absl::ParseTime(absl::RFC3339_full, reader.time_, &time, &error)) {
    return std::nullopt;
  }
  LogEvent event;
  event.time_ms = absl::ToUnixMillis(time);  // Infinite times saturate.
  if (event.time_ms < 0 || event.time_ms > kTimeMsMax) return std::nullopt;
  event.name = std::move(reader.event_);
  event.model = std::move(reader.model_);
  event.preemptions_total = reader.preemptions_total_;
  event.preemptions = reader.preemptions_;
  if (reader.held_.has_value() && reader.needed_.has_value() && reader.limit_.has_value()) {
    event.memory = {*reader.held_, *reader.needed_, *reader.limit_};
  }
  return event;
}

bool LineReader::Fill() {
  constexpr size_t kChunkBytes = size_t{64} << 10;
  chunk_.resize(kChunkBytes);
  in_->read(chunk_.data(), static_cast<std::streamsize>(kChunkBytes));
  chunk_.resize(static_cast<size_t>(in_->gcount()));
  at_ = 0;
  return !chunk_.empty();
}

LineReader::Result LineReader::Next(std::string* line) {
  line->clear();
  bool too_long = false;
  bool any = false;
  while (at_ < chunk_.size() || Fill()) {
    any = true;
    const size_t end = std::min(chunk_.find('\n', at_), chunk_.size());
    if (line->size() + (end - at_) > kLineBytesMax) too_long = true;
    if (!too_long) line->append(chunk_, at_, end - at_);
    at_ = end + 1;
    if (end == chunk_.size()) continue;
    break;
  }
  if (!any) return Result::kEnd;
  if (too_long) return Result::kTooLong;
  if (absl::EndsWith(*line, "\r")) line->pop_back();
  return Result::kLine;
}

}  // namespace ebb::cli

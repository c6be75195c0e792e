#include "cli/top/sample_history.h"

#include <algorithm>

#include "base/check.h"

namespace ebb::cli {
namespace {

constexpr absl::Duration kChartLeast = absl::Minutes(2);
constexpr int64_t kHandySeconds[] = {1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600};

int64_t ColumnAt(absl::Time time, absl::Duration width) {
  absl::Duration rest;
  return absl::IDivDuration(time - absl::UnixEpoch(), width, &rest);
}

void Merge(const MemoryColumn& memory, MemoryColumn* column) {
  if (!column->known) {
    *column = memory;
    return;
  }
  column->held_bytes = std::max(column->held_bytes, memory.held_bytes);
  column->needed_bytes = std::max(column->needed_bytes, memory.needed_bytes);
  column->limit_bytes = memory.limit_bytes;
}

}  // namespace

void SampleHistory::Add(const Sample& sample) {
  CHECK(moments_.empty() || sample.time >= moments_.back().counters.time);
  Moment moment;
  moment.answered = sample.answered();
  moment.counters.time = sample.time;
  if (sample.answered()) {
    moment.counters = CountersOf(sample);
    moment.memory = {true, sample.memory.held_bytes(), sample.memory.needed_bytes(),
                     sample.memory.limit_bytes()};
  }
  moments_.push_back(moment);
  if (moments_.size() > kMomentsMax) moments_.pop_front();
}

bool SampleHistory::Holds(const Moment& before, const Moment& after) {
  return before.answered && after.answered && !Restarted(before.counters, after.counters);
}

Rates SampleHistory::RatesOver(absl::Duration span) const {
  if (moments_.size() < 2) return {};
  size_t first = moments_.size() - 1;
  const absl::Time since = moments_[first].counters.time - span;
  while (first > 0 && Holds(moments_[first - 1], moments_[first])) {
    const bool enough = first < moments_.size() - 1 && moments_[first - 1].counters.time < since;
    if (enough) break;
    --first;
  }
  return RatesBetween(moments_[first].counters, moments_.back().counters);
}

std::vector<MemoryColumn> SampleHistory::Columns(int count, absl::Duration width) const {
  CHECK(count >= 0 && width > absl::ZeroDuration());
  std::vector<MemoryColumn> columns(static_cast<size_t>(count));
  if (moments_.empty()) return columns;
  const int64_t oldest = ColumnAt(moments_.back().counters.time, width) - count + 1;
  for (size_t i = 0; i < moments_.size(); ++i) {
    const Moment& moment = moments_[i];
    if (!moment.answered) continue;
    const int64_t from = ColumnAt(moment.counters.time, width);
    int64_t to = from;
    if (i + 1 < moments_.size() && Holds(moment, moments_[i + 1])) {
      to = std::max(from, ColumnAt(moments_[i + 1].counters.time, width) - 1);
    }
    for (int64_t at = std::max(from, oldest); at <= to; ++at) {
      Merge(moment.memory, &columns[static_cast<size_t>(at - oldest)]);
    }
  }
  return columns;
}

absl::Duration ColumnWidth(int columns, absl::Duration interval) {
  CHECK(columns > 0 && interval > absl::ZeroDuration());
  absl::Duration width = interval;
  for (const int64_t seconds : kHandySeconds) {
    width = absl::Seconds(seconds);
    if (width >= interval && width * columns >= kChartLeast) return width;
  }
  return std::max(width, interval);
}

}  // namespace ebb::cli

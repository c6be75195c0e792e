#include "cli/plot/memory_series.h"

#include <algorithm>

#include "base/check.h"

namespace ebb::cli {
namespace {

// `later` follows `into` in time.
void Merge(const Bucket& later, Bucket* into) {
  for (size_t i = 0; i < kCurveCount; ++i) {
    Extent& extent = into->curves[i];
    extent.min = std::min(extent.min, later.curves[i].min);
    extent.max = std::max(extent.max, later.curves[i].max);
    extent.last = later.curves[i].last;
  }
  into->last_ms = later.last_ms;
  into->preemptions += later.preemptions;
  into->limit_changes += later.limit_changes;
  // A pause within a bucket is narrower than a pixel: it cannot be seen.
}

}  // namespace

void MemorySeries::Add(int64_t time_ms, const MemorySample& sample, int64_t preemptions) {
  const std::array<int64_t, kCurveCount> values = {sample.held_bytes, sample.needed_bytes,
                                                   sample.limit_bytes};
  if (samples_ == 0) start_ms_ = end_ms_ = time_ms;
  CHECK_GE(time_ms, end_ms_);
  Bucket marks;
  marks.preemptions = preemptions;
  marks.pause_before = paused_ && samples_ > 0;
  if (!paused_) {
    for (size_t i = 0; i < kCurveCount; ++i) {
      byte_seconds_[i] +=
          static_cast<double>(last_[i]) * static_cast<double>(time_ms - end_ms_) / 1000;
    }
    marks.limit_changes = sample.limit_bytes != last_[static_cast<size_t>(Curve::kLimit)];
  }
  Put(time_ms, values, marks);
  ++samples_;
  preemptions_ += preemptions;
  limit_changes_ += marks.limit_changes;
  last_ = values;
  end_ms_ = time_ms;
  paused_ = false;
}

void MemorySeries::Pause(int64_t time_ms) {
  if (!paused_ && time_ms > end_ms_) {
    for (size_t i = 0; i < kCurveCount; ++i) {
      byte_seconds_[i] +=
          static_cast<double>(last_[i]) * static_cast<double>(time_ms - end_ms_) / 1000;
    }
    Put(time_ms, last_, Bucket());
    end_ms_ = time_ms;
  }
  paused_ = true;
}

int64_t MemorySeries::Peak(Curve curve) const {
  int64_t peak = 0;
  for (const Bucket& bucket : buckets_) peak = std::max(peak, bucket.of(curve).max);
  return peak;
}

void MemorySeries::Put(int64_t time_ms, const std::array<int64_t, kCurveCount>& values,
                       Bucket marks) {
  while ((time_ms - start_ms_) / width_ms_ >= static_cast<int64_t>(kBucketsMax)) Widen();
  marks.first_ms = marks.last_ms = time_ms;
  for (size_t i = 0; i < kCurveCount; ++i) {
    marks.curves[i] = {values[i], values[i], values[i], values[i]};
  }
  const bool same = !buckets_.empty() && (buckets_.back().first_ms - start_ms_) / width_ms_ ==
                                             (time_ms - start_ms_) / width_ms_;
  if (same) {
    Merge(marks, &buckets_.back());
  } else {
    buckets_.push_back(marks);
  }
}

void MemorySeries::Widen() {
  width_ms_ *= 2;
  std::vector<Bucket> wider;
  for (const Bucket& bucket : buckets_) {
    const bool same = !wider.empty() && (wider.back().first_ms - start_ms_) / width_ms_ ==
                                            (bucket.first_ms - start_ms_) / width_ms_;
    if (same) {
      Merge(bucket, &wider.back());
    } else {
      wider.push_back(bucket);
    }
  }
  buckets_ = std::move(wider);
}

}  // namespace ebb::cli

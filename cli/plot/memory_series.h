// MemorySeries: held, needed and limit over time, in bounded space however long the log is.
//
//   time    0 ........ | width | width | ............
//   bucket             first, min, max and last of each curve; marks; a pause before it or not
//
// When the buckets run out, their width doubles and neighbours merge: there are always more of them
// than a picture has columns of pixels, and no peak is lost, for each keeps its least and greatest.
// The curves are steps: a value holds until the next sample. Sums are kept beside the buckets, from
// every sample, so that they are exact. Pure; not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "cli/plot/log_lines.h"

namespace ebb::cli {

enum class Curve { kHeld, kNeeded, kLimit };
constexpr int kCurveCount = 3;

// What one curve did within a bucket.
struct Extent {
  int64_t first = 0;
  int64_t min = 0;
  int64_t max = 0;
  int64_t last = 0;
};

struct Bucket {
  // Of the first and the last sample in it; the curves run between them.
  int64_t first_ms = 0;
  int64_t last_ms = 0;
  std::array<Extent, kCurveCount> curves;
  int64_t preemptions = 0;
  int64_t limit_changes = 0;
  bool pause_before = false;  // No server ran between the bucket before and this one.

  const Extent& of(Curve curve) const { return curves[static_cast<size_t>(curve)]; }
};

class MemorySeries {
 public:
  static constexpr size_t kBucketsMax = 2048;

  // REQUIRES: time_ms, from any start, is not below that of the sample before. `preemptions`: since
  // the sample before.
  void Add(int64_t time_ms, const MemorySample& sample, int64_t preemptions);
  // The curves end at `time_ms`, or at the last sample if that is later; the next one begins anew.
  void Pause(int64_t time_ms);

  // In order of time; those that no sample fell into are left out.
  const std::vector<Bucket>& buckets() const { return buckets_; }
  int64_t samples() const { return samples_; }
  int64_t preemptions() const { return preemptions_; }
  int64_t limit_changes() const { return limit_changes_; }
  int64_t start_ms() const { return start_ms_; }
  int64_t end_ms() const { return end_ms_; }
  // Greatest value of the curve; 0 without samples.
  int64_t Peak(Curve curve) const;
  // Integral over time, in bytes times seconds; pauses count nothing.
  double ByteSeconds(Curve curve) const { return byte_seconds_[static_cast<size_t>(curve)]; }

 private:
  void Put(int64_t time_ms, const std::array<int64_t, kCurveCount>& values, Bucket marks);
  void Widen();

  std::vector<Bucket> buckets_;
  int64_t width_ms_ = 1;
  int64_t start_ms_ = 0;
  int64_t end_ms_ = 0;
  int64_t samples_ = 0;
  int64_t preemptions_ = 0;
  int64_t limit_changes_ = 0;
  bool paused_ = true;
  std::array<int64_t, kCurveCount> last_ = {};
  std::array<double, kCurveCount> byte_seconds_ = {};
};

}  // namespace ebb::cli

// DemandCurve: how much KV memory running sequences will hold in the windows ahead, as mean and
// variance of its blocks.
//
//   blocks     .-""-.            each sequence grows while it lives, and gives all back at its end:
//            .'      '-._        far ahead nearly all have ended
//   now ----+------------'-----> steps ahead
//
// A window of the curve is a stretch of decode steps, short ones first. What a sequence would hold
// at a window's end counts with the probability that it lives at the window's beginning: never too
// little. Lengths of different sequences are taken to be independent, so variances add up.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "absl/types/span.h"

namespace ebb::memory {

class DemandCurve {
 public:
  static constexpr int kWindows = 64;
  // Where the windows begin, in steps ahead; each ends where the next begins, the last never.
  static absl::Span<const int64_t> Begins();

  // What one sequence will hold.
  struct Growth {
    int64_t may_make_tokens = 0;  // At most so many steps lie ahead of it.
    // The probability that it makes as many tokens as lie before each window.
    std::array<double, kWindows> survives = {};
    // Blocks after so many more tokens; at most may_make_tokens.
    std::function<int64_t(int64_t steps)> blocks;
  };
  static DemandCurve Of(const Growth& growth);

  void Add(const DemandCurve& other);

  // The largest, over the windows, of mean + z * standard deviation, but no more than there would
  // be if all lived. Blocks.
  double Peak(double z) const;
  double mean(size_t window) const { return mean_[window]; }
  double variance(size_t window) const { return variance_[window]; }

 private:
  std::array<double, kWindows> mean_ = {};
  std::array<double, kWindows> variance_ = {};
  std::array<double, kWindows> most_ = {};  // If all lived.
};

}  // namespace ebb::memory

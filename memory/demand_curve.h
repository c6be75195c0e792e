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

namespace ebb::memory {

class DemandCurve {
 public:
  static constexpr int kWindows = 28;
  // Steps ahead, of `window`: [BeginOf, EndOf). The last has no end.
  static int64_t BeginOf(int window);
  static int64_t EndOf(int window);

  // What one sequence will hold.
  struct Growth {
    int64_t may_make_tokens = 0;                    // At most so many steps lie ahead of it.
    std::function<double(int64_t steps)> survives;  // The probability that it makes so many.
    // Blocks after so many more tokens; at most may_make_tokens.
    std::function<int64_t(int64_t steps)> blocks;
  };
  static DemandCurve Of(const Growth& growth);
  // As many in every window, whatever happens.
  static DemandCurve Constant(int64_t blocks);

  void Add(const DemandCurve& other);
  void Subtract(const DemandCurve& other);

  // The largest, over the windows, of mean + z * standard deviation, but no more than there would
  // be if all lived. Blocks.
  double Peak(double z) const;
  double mean(int window) const { return mean_[static_cast<size_t>(window)]; }
  double variance(int window) const { return variance_[static_cast<size_t>(window)]; }

 private:
  std::array<double, kWindows> mean_ = {};
  std::array<double, kWindows> variance_ = {};
  std::array<double, kWindows> most_ = {};  // If all lived.
};

}  // namespace ebb::memory

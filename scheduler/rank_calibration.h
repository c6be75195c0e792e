// RankCalibration: corrects predicted distributions by where, lately, answers fell in them.
//
// Lengths drift faster than tables that tell classes apart can follow. So the ranks of the last
// few answers in what was predicted for them, which are uniform if predictions are right, are
// counted in ten bins, and each later prediction is read through their distribution: if lately half
// of the answers fell below the predicted quantile of 70 %, that is from now on the median
// (quantile recalibration; Kuleshov et al., 2018). The ranks must be those of predictions before
// their correction: else it would correct itself.
//
// The distribution is a product-limit estimate like that of lengths, for the ranks of answers that
// are cut off are censored. It leans on prior_weight answers whose ranks were uniform.
#pragma once

#include <array>
#include <cstddef>

namespace ebb::scheduler {

class RankCalibration {
 public:
  static constexpr int kBins = 10;
  using Counts = std::array<double, kBins>;
  struct Options {
    double half_life = 50;  // Answers after which counts weigh half.
    double prior_weight = 20;
  };
  // What it has counted, as of now.
  struct Values {
    Counts events = {};
    Counts at_risk = {};
  };

  // What is done to one prediction.
  class Correction {
   public:
    // Of each bin, the probability that a rank that gets there is in it. All but the last below 1.
    explicit Correction(const Counts& hazards);
    // log P(length >= t), from what it was predicted to be: at most 0, and growing with it.
    double Of(double log_survival) const;

   private:
    Counts hazards_;
    Counts log_begin_ = {};  // Of the probability of getting to a bin.
  };

  // REQUIRES: no count is negative, and in no bin are there more events than answers at risk.
  RankCalibration(const Options& options, const Values& values)
      : options_(options), values_(values) {}
  const Values& values() const { return values_; }

  // An answer ended whose length was predicted to be below its own with a probability of `least`,
  // and at most its own with one of `most`.
  void End(double least, double most);
  // One was cut off: its rank would have been at least this.
  void CutOff(double least);

  Correction Estimate() const;

 private:
  const Options options_;
  Values values_;
};

}  // namespace ebb::scheduler

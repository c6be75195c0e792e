// SurvivalTable: of what lengths answers were, and the product-limit estimate over them.
//
// Lengths are counted in bins: one for each token up to 64, then eight to each doubling. Each
// answer is at risk of ending in every bin that it passes, and counts there when it passes: one
// that still runs has told as much as it can. One that ends by itself is an event in its last bin;
// one that is cut off there is censored and tells nothing of what lies beyond. The estimate of the
// hazard in a bin, which is the probability that an answer that gets there ends in it, is events /
// at risk (Kaplan and Meier, 1958); in a bin of several lengths those censored in it count half, as
// in a life table. Counts fade, so that what happened lately weighs most.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "scheduler/rank_calibration.h"

namespace ebb::scheduler {

class SurvivalTable {
 public:
  static constexpr int kExact = 64;
  static constexpr int kPerDoubling = 8;
  static constexpr int kBins = kExact + 14 * kPerDoubling;  // Up to 2^20 tokens.

  static size_t BinOf(int64_t tokens);
  static int64_t BeginOf(size_t bin);
  static int64_t WidthOf(size_t bin) { return BeginOf(bin + 1) - BeginOf(bin); }

  using Counts = std::array<double, kBins>;
  using Hazards = std::array<double, kBins>;

  // What it has counted, as of now.
  struct Values {
    Counts events = {};
    Counts at_risk = {};
  };
  SurvivalTable() = default;
  // One that has counted these. REQUIRES: none is negative, and in no bin are there more events
  // than answers at risk.
  explicit SurvivalTable(const Values& values) : events_(values.events), at_risk_(values.at_risk) {}
  Values values() const;

  // An answer passes the bins from `from` up to, and without, that of so many tokens; the bin where
  // it now is.
  size_t Pass(size_t from, int64_t tokens);
  // It ends there.
  void End(int64_t tokens, bool by_itself);
  // Counts so far weigh less by this factor, in (0, 1]: those of all bins, or of the first so many.
  void Fade(double factor, size_t bins = kBins);
  // The most that it knows of any length: answers that were at risk there, faded.
  double weight() const { return *std::max_element(at_risk_.begin(), at_risk_.end()) / unit_; }

  // The hazard in each bin. `prior` counts as `prior_weight` answers at risk in every bin.
  Hazards Estimate(const Hazards& prior, double prior_weight) const;

 private:
  // What is added weighs unit_; it grows instead of all else becoming smaller.
  double unit_ = 1;
  Counts events_ = {};
  Counts at_risk_ = {};
};

// P(length >= t), by the hazards of bins and a correction of the ranks that they give; within a bin
// the hazard of each length is the same.
class SurvivalCurve {
 public:
  explicit SurvivalCurve(const SurvivalTable::Hazards& hazards);
  SurvivalCurve(const SurvivalTable::Hazards& hazards,
                const RankCalibration::Correction& correction);
  // Natural logarithm of P(length >= tokens).
  double LogAt(int64_t tokens) const { return At(log_, tokens); }
  // The same before the correction.
  double UncorrectedLogAt(int64_t tokens) const { return At(uncorrected_log_, tokens); }
  // Of P(length >= to | length >= from).
  double Between(int64_t from, int64_t to) const;
  // The expected length, if it is at least `from`, of what is cut off at `most`.
  double Mean(int64_t from, int64_t most) const;

 private:
  using AtBegins = std::array<double, SurvivalTable::kBins + 1>;  // Of the bins.

  static double At(const AtBegins& log, int64_t tokens);
  void SumResiduals();
  // How many more tokens than `tokens`, if there are at least so many.
  double Residual(int64_t tokens) const;

  AtBegins uncorrected_log_ = {};
  AtBegins log_ = {};
  AtBegins residual_ = {};
};

}  // namespace ebb::scheduler

// SurvivalTable: of what lengths answers were, and the product-limit estimate over them.
//
// Lengths are counted in bins: one for each token up to 64, then eight to each doubling. An answer
// that ended by itself after t tokens is an event at t. One that was cut off after c tokens, or
// still runs there, is censored: it was at risk of ending after each length below c, and tells
// nothing of those beyond. The estimate of the hazard in a bin, which is the probability that an
// answer that gets there ends in it, is events / at risk (Kaplan and Meier, 1958); in a bin of
// several lengths those censored in it count half, as in a life table. Counts fade, so that the
// answers of lately weigh most.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

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

  // Counts weigh half after so many more were added.
  explicit SurvivalTable(double half_life) : fade_(Fade(half_life)) {}

  void Add(int64_t tokens, bool ended_by_itself);
  // Answers counted, faded.
  double weight() const { return total_ / unit_; }

  // The hazard in each bin. `running`: answers that now stand there, one each. `prior` counts as
  // `prior_weight` answers at risk in every bin.
  Hazards Estimate(const Counts& running, const Hazards& prior, double prior_weight) const;

 private:
  static double Fade(double half_life);

  const double fade_;
  // What is added weighs unit_; it grows instead of all else becoming smaller.
  double unit_ = 1;
  double total_ = 0;
  Counts events_ = {};
  Counts censored_ = {};
};

// P(length >= t), by the hazards of bins.
class SurvivalCurve {
 public:
  explicit SurvivalCurve(const SurvivalTable::Hazards& hazards);
  // Natural logarithm of P(length >= tokens).
  double LogAt(int64_t tokens) const;
  // Of P(length >= to | length >= from).
  double Between(int64_t from, int64_t to) const;
  // The expected length, if it is at least `from`, of what is cut off at `most`.
  double Mean(int64_t from, int64_t most) const;

 private:
  std::array<double, SurvivalTable::kBins + 1> log_ = {};  // At the begin of each bin.
};

}  // namespace ebb::scheduler

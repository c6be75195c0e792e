#include "scheduler/rank_calibration.h"

#include <algorithm>
#include <cmath>

namespace ebb::scheduler {
namespace {

double BeginOf(size_t bin) { return static_cast<double>(bin) / RankCalibration::kBins; }

// The part of a bin that lies below a rank.
double PartBelow(double rank, size_t bin) {
  return std::clamp(rank * RankCalibration::kBins - static_cast<double>(bin), 0.0, 1.0);
}

}  // namespace

RankCalibration::Correction::Correction(const Counts& hazards) : hazards_(hazards) {
  for (size_t bin = 0; bin + 1 < hazards_.size(); ++bin) {
    log_begin_[bin + 1] = log_begin_[bin] + std::log1p(-hazards_[bin]);
  }
}

double RankCalibration::Correction::Of(double log_survival) const {
  constexpr size_t kLast = kBins - 1;
  const double rank = -std::expm1(log_survival);
  const size_t bin = std::min(kLast, static_cast<size_t>(rank * kBins));
  // In the last one all ends, as it was predicted to: nothing is known within bins.
  if (bin == kLast)
    return log_begin_[bin] + std::min(0.0, log_survival - std::log1p(-BeginOf(bin)));
  return log_begin_[bin] + std::log1p(-PartBelow(rank, bin) * hazards_[bin]);
}

void RankCalibration::End(double least, double most) {
  const double factor = std::exp2(-1 / options_.half_life);
  double reached = 1;  // The part of the answer that gets to a bin.
  for (size_t bin = 0; bin < kBins; ++bin) {
    const bool all = bin + 1 == kBins || most <= BeginOf(bin + 1);
    const double passed =
        all ? 0 : 1 - std::clamp((BeginOf(bin + 1) - least) / (most - least), 0.0, 1.0);
    values_.events[bin] = values_.events[bin] * factor + reached - passed;
    values_.at_risk[bin] = values_.at_risk[bin] * factor + reached;
    reached = passed;
  }
}

void RankCalibration::CutOff(double least) {
  for (size_t bin = 0; bin < kBins; ++bin) {
    // As of lengths: nothing is forgotten of what it has not told.
    const double told = PartBelow(least, bin);
    const double factor = std::exp2(-told / options_.half_life);
    values_.events[bin] *= factor;
    values_.at_risk[bin] = values_.at_risk[bin] * factor + told;
  }
}

RankCalibration::Correction RankCalibration::Estimate() const {
  Counts hazards;
  for (size_t bin = 0; bin < kBins; ++bin) {
    const double rest = options_.prior_weight * (1 - BeginOf(bin));
    const double own = options_.prior_weight / kBins;
    hazards[bin] = (values_.events[bin] + own) / (values_.at_risk[bin] + rest);
  }
  return Correction(hazards);
}

}  // namespace ebb::scheduler

#include "scheduler/survival_table.h"

#include <algorithm>
#include <cmath>

namespace ebb::scheduler {
namespace {

constexpr int kExactBits = 6;  // 2^6 = kExact.
constexpr int kStepBits = 3;   // 2^3 = kPerDoubling.

// No hazard is certain: what has been seen to end there always may once go on.
constexpr double kHazardMax = 0.9999;

}  // namespace

size_t SurvivalTable::BinOf(int64_t tokens) {
  tokens = std::clamp<int64_t>(tokens, 0, BeginOf(kBins) - 1);
  if (tokens < kExact) return static_cast<size_t>(tokens);
  const int bits = 63 - __builtin_clzll(static_cast<uint64_t>(tokens));
  const int64_t step = (tokens >> (bits - kStepBits)) & (kPerDoubling - 1);
  return static_cast<size_t>(kExact + (bits - kExactBits) * kPerDoubling + step);
}

int64_t SurvivalTable::BeginOf(size_t bin) {
  if (bin < kExact) return static_cast<int64_t>(bin);
  const int64_t beyond = static_cast<int64_t>(bin) - kExact;
  const int64_t bits = kExactBits + beyond / kPerDoubling;
  return (kPerDoubling + beyond % kPerDoubling) << (bits - kStepBits);
}

size_t SurvivalTable::Pass(size_t from, int64_t tokens) {
  const size_t to = BinOf(tokens);
  for (size_t bin = from; bin < to; ++bin) at_risk_[bin] += unit_;
  return std::max(from, to);
}

void SurvivalTable::Fade(double factor, size_t bins) {
  if (bins < kBins) {
    for (size_t bin = 0; bin < bins; ++bin) {
      events_[bin] *= factor;
      at_risk_[bin] *= factor;
    }
    return;
  }
  constexpr double kUnitMax = 1e100;
  unit_ /= factor;
  if (unit_ < kUnitMax) return;
  for (Counts* counts : {&events_, &at_risk_}) {
    for (double& count : *counts) count /= unit_;
  }
  unit_ = 1;
}

void SurvivalTable::End(int64_t tokens, bool by_itself) {
  const size_t bin = BinOf(tokens);
  if (by_itself) {
    events_[bin] += unit_;
    at_risk_[bin] += unit_;
  } else if (WidthOf(bin) > 1) {
    at_risk_[bin] += unit_ / 2;  // Else it was never asked whether it would end there.
  }
}

SurvivalTable::Values SurvivalTable::values() const {
  Values values;
  for (size_t bin = 0; bin < kBins; ++bin) {
    values.events[bin] = events_[bin] / unit_;
    values.at_risk[bin] = at_risk_[bin] / unit_;
  }
  return values;
}

SurvivalTable::Hazards SurvivalTable::Estimate(const Hazards& prior, double prior_weight) const {
  Hazards hazards = {};
  for (size_t bin = 0; bin < hazards.size(); ++bin) {
    const double at_risk = at_risk_[bin] / unit_ + prior_weight;
    const double hazard = (events_[bin] / unit_ + prior_weight * prior[bin]) / at_risk;
    hazards[bin] = at_risk > 0 ? std::min(hazard, kHazardMax) : 0;
  }
  return hazards;
}

SurvivalCurve::SurvivalCurve(const SurvivalTable::Hazards& hazards) {
  for (size_t bin = 0; bin < hazards.size(); ++bin) {
    log_[bin + 1] = log_[bin] + std::log1p(-hazards[bin]);
  }
  uncorrected_log_ = log_;
  SumResiduals();
}

SurvivalCurve::SurvivalCurve(const SurvivalTable::Hazards& hazards,
                             const RankCalibration::Correction& correction) {
  for (size_t bin = 0; bin < hazards.size(); ++bin) {
    uncorrected_log_[bin + 1] = uncorrected_log_[bin] + std::log1p(-hazards[bin]);
    log_[bin + 1] = correction.Of(uncorrected_log_[bin + 1]);
  }
  SumResiduals();
}

void SurvivalCurve::SumResiduals() {
  for (size_t bin = SurvivalTable::kBins; bin-- > 0;) {
    residual_[bin] = Residual(SurvivalTable::BeginOf(bin));
  }
}

double SurvivalCurve::At(const AtBegins& log, int64_t tokens) {
  const size_t bin = SurvivalTable::BinOf(tokens);
  const double part = static_cast<double>(tokens - SurvivalTable::BeginOf(bin)) /
                      static_cast<double>(SurvivalTable::WidthOf(bin));
  return log[bin] + std::clamp(part, 0.0, 1.0) * (log[bin + 1] - log[bin]);
}

double SurvivalCurve::Between(int64_t from, int64_t to) const {
  return to <= from ? 1 : std::exp(LogAt(to) - LogAt(from));
}

double SurvivalCurve::Residual(int64_t tokens) const {
  const size_t bin = SurvivalTable::BinOf(tokens);
  const auto width = static_cast<double>(SurvivalTable::WidthOf(bin));
  const double rest = std::max(0.0, static_cast<double>(SurvivalTable::BeginOf(bin + 1) - tokens));
  const double one = std::exp((log_[bin + 1] - log_[bin]) / width);  // Past one more token.
  const double all = std::pow(one, rest);                            // Past the bin.
  const double within = one < 1 ? one * (1 - all) / (1 - one) : rest;
  return within + all * residual_[bin + 1];
}

double SurvivalCurve::Mean(int64_t from, int64_t most) const {
  if (most <= from) return static_cast<double>(from);
  return static_cast<double>(from) + Residual(from) - Between(from, most) * Residual(most);
}

}  // namespace ebb::scheduler

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

double SurvivalTable::Fade(double half_life) { return std::exp2(1 / half_life); }

void SurvivalTable::Add(int64_t tokens, bool ended_by_itself) {
  constexpr double kUnitMax = 1e100;
  unit_ *= fade_;
  if (unit_ > kUnitMax) {
    for (Counts* counts : {&events_, &censored_}) {
      for (double& count : *counts) count /= unit_;
    }
    total_ /= unit_;
    unit_ = 1;
  }
  (ended_by_itself ? events_ : censored_)[BinOf(tokens)] += unit_;
  total_ += unit_;
}

SurvivalTable::Hazards SurvivalTable::Estimate(const Counts& running, const Hazards& prior,
                                               double prior_weight) const {
  Hazards hazards = {};
  double beyond = 0;  // Those that got past the bin.
  for (size_t bin = kBins; bin-- > 0;) {
    const double events = events_[bin] / unit_;
    const double censored = censored_[bin] / unit_ + running[bin];
    // Censored at the only length of its bin: it was never asked whether it would end there.
    const double asked = WidthOf(bin) == 1 ? 0 : censored / 2;
    const double at_risk = beyond + events + asked;
    const double hazard = (events + prior_weight * prior[bin]) / (at_risk + prior_weight);
    hazards[bin] = at_risk + prior_weight > 0 ? std::min(hazard, kHazardMax) : 0;
    beyond += events + censored;
  }
  return hazards;
}

SurvivalCurve::SurvivalCurve(const SurvivalTable::Hazards& hazards) {
  for (size_t bin = 0; bin < hazards.size(); ++bin) {
    log_[bin + 1] = log_[bin] + std::log1p(-hazards[bin]);
  }
}

double SurvivalCurve::LogAt(int64_t tokens) const {
  const size_t bin = SurvivalTable::BinOf(tokens);
  const double part = static_cast<double>(tokens - SurvivalTable::BeginOf(bin)) /
                      static_cast<double>(SurvivalTable::WidthOf(bin));
  return log_[bin] + std::clamp(part, 0.0, 1.0) * (log_[bin + 1] - log_[bin]);
}

double SurvivalCurve::Between(int64_t from, int64_t to) const {
  return to <= from ? 1 : std::exp(LogAt(to) - LogAt(from));
}

double SurvivalCurve::Mean(int64_t from, int64_t most) const {
  // The sum of P(length >= t) over t in (from, most]: a bin's part by the mean of its ends.
  double mean = static_cast<double>(from);
  for (int64_t t = from; t < most;) {
    const int64_t next = std::min(most, SurvivalTable::BeginOf(SurvivalTable::BinOf(t) + 1));
    if (next <= t) break;  // Beyond all bins.
    const double after_first = Between(from, t + 1);
    const double last = Between(from, next);
    mean += static_cast<double>(next - t) * (after_first + last) / 2;
    constexpr double kNothing = 1e-4;
    if (last < kNothing) break;
    t = next;
  }
  return mean;
}

}  // namespace ebb::scheduler

#include "memory/demand_curve.h"

#include <algorithm>
#include <cmath>

namespace ebb::memory {
namespace {

// 16 steps each up to 128, then eight to each doubling.
constexpr std::array<int64_t, DemandCurve::kWindows> MakeBegins() {
  constexpr size_t kEven = 8;
  constexpr int64_t kSteps = 16;
  std::array<int64_t, DemandCurve::kWindows> begins = {};
  for (size_t i = 0; i < begins.size(); ++i) {
    const int64_t index = static_cast<int64_t>(i);
    const int64_t doublings = i < kEven ? 0 : (index - 8) / 8;
    begins[i] = i < kEven ? kSteps * index : (kSteps * (8 + (index - 8) % 8)) << doublings;
  }
  return begins;
}
constexpr std::array<int64_t, DemandCurve::kWindows> kBegins = MakeBegins();

}  // namespace

absl::Span<const int64_t> DemandCurve::Begins() { return kBegins; }

DemandCurve DemandCurve::Of(const Growth& growth) {
  DemandCurve curve;
  for (size_t window = 0; window < kBegins.size(); ++window) {
    // One that may make nothing more holds what it has until its last step is over.
    if (window > 0 && kBegins[window] >= growth.may_make_tokens) break;
    const bool last = window + 1 == kBegins.size();
    const int64_t end =
        last ? growth.may_make_tokens : std::min(kBegins[window + 1], growth.may_make_tokens);
    const double lives = growth.survives[window];
    const double blocks = static_cast<double>(growth.blocks(end));
    curve.mean_[window] = lives * blocks;
    curve.variance_[window] = lives * (1 - lives) * blocks * blocks;
    curve.most_[window] = blocks;
  }
  return curve;
}

void DemandCurve::Add(const DemandCurve& other) {
  for (size_t i = 0; i < kWindows; ++i) {
    mean_[i] += other.mean_[i];
    variance_[i] += other.variance_[i];
    most_[i] += other.most_[i];
  }
}

double DemandCurve::Peak(double z) const {
  double peak = 0;
  for (size_t i = 0; i < kWindows; ++i) {
    const double likely = mean_[i] + z * std::sqrt(std::max(0.0, variance_[i]));
    peak = std::max(peak, std::min(likely, most_[i]));
  }
  return peak;
}

}  // namespace ebb::memory

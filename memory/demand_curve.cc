#include "memory/demand_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace ebb::memory {
namespace {

// Where windows end: 16 steps each at first, then four to each doubling.
constexpr std::array<int64_t, DemandCurve::kWindows - 1> kEnds = {
    16,  32,  48,  64,  80,  96,   112,  128,  160,  192,  224,  256,  320,  384,
    448, 512, 640, 768, 896, 1024, 1280, 1536, 2048, 3072, 4096, 8192, 16384};

}  // namespace

int64_t DemandCurve::BeginOf(int window) {
  return window == 0 ? 0 : kEnds[static_cast<size_t>(window) - 1];
}

int64_t DemandCurve::EndOf(int window) {
  return window == kWindows - 1 ? std::numeric_limits<int64_t>::max()
                                : kEnds[static_cast<size_t>(window)];
}

DemandCurve DemandCurve::Of(const Growth& growth) {
  DemandCurve curve;
  for (int window = 0; window < kWindows; ++window) {
    // One that may make nothing more holds what it has until its last step is over.
    if (window > 0 && BeginOf(window) >= growth.may_make_tokens) break;
    const double lives = growth.survives(BeginOf(window));
    const double blocks =
        static_cast<double>(growth.blocks(std::min(EndOf(window), growth.may_make_tokens)));
    curve.mean_[static_cast<size_t>(window)] = lives * blocks;
    curve.variance_[static_cast<size_t>(window)] = lives * (1 - lives) * blocks * blocks;
    curve.most_[static_cast<size_t>(window)] = blocks;
  }
  return curve;
}

DemandCurve DemandCurve::Constant(int64_t blocks) {
  DemandCurve curve;
  curve.mean_.fill(static_cast<double>(blocks));
  curve.most_.fill(static_cast<double>(blocks));
  return curve;
}

void DemandCurve::Add(const DemandCurve& other) {
  for (size_t i = 0; i < kWindows; ++i) {
    mean_[i] += other.mean_[i];
    variance_[i] += other.variance_[i];
    most_[i] += other.most_[i];
  }
}

void DemandCurve::Subtract(const DemandCurve& other) {
  for (size_t i = 0; i < kWindows; ++i) {
    mean_[i] -= other.mean_[i];
    variance_[i] -= other.variance_[i];
    most_[i] -= other.most_[i];
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

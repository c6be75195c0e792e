#include "bench/memory/step_times.h"

#include <cmath>
#include <cstdint>

namespace ebb::bench {
namespace {

using engine::Lane;

struct Measured {
  int32_t sequences;  // Decode: rows of the step. Prefill: 1.
  int32_t tokens;     // Decode: the context of each row. Prefill: the prompt.
  double ms;
};

// Two cores of an AMD EPYC (Zen 5), path avx512, two threads, each line of a table in one run:
//
//   bazel run //bench:decode_bench -- --model FILE --no-probe --rounds 2 --steps 16
//       --context C --prefill C --sequences 1,2,4,8,16      for C of 64, 512, 1008
//       --context 64 --prefill 256 --sequences 32
constexpr Measured kDecode[] = {
    {1, 72, 3.062},   {2, 72, 2.865},    {4, 72, 4.578},    {8, 72, 8.124},
    {16, 72, 16.025}, {32, 72, 35.443},  {1, 520, 2.755},   {2, 520, 4.411},
    {4, 520, 9.696},  {8, 520, 14.715},  {16, 520, 29.599}, {1, 1016, 4.048},
    {2, 1016, 7.435}, {4, 1016, 13.693}, {8, 1016, 25.549}, {16, 1016, 41.499},
};
constexpr Measured kPrefill[] = {
    {1, 64, 48.488}, {1, 256, 189.638}, {1, 512, 396.339}, {1, 1008, 901.195}};

// docs/performance.md, "On an H100". A prompt of one token is a decode step of one.
constexpr Measured kH100Decode[] = {{1, 1024, 5.88}, {8, 1024, 6.37}, {64, 1024, 9.50}};
constexpr Measured kH100Prefill[] = {{1, 1, 5.88}, {1, 2048, 50.7}};

memory::StepShape ShapeOf(Lane lane, const Measured& measured) {
  memory::StepShape shape;
  const int64_t tokens = measured.tokens;
  if (lane == Lane::kDecode) {
    shape.rows = measured.sequences;
    shape.context_tokens = measured.sequences * tokens;
  } else {
    shape.rows = tokens;
    shape.context_tokens = tokens * (tokens + 1) / 2;
  }
  return shape;
}

// `prior`: the line where the table leaves it open.
template <size_t n>
memory::StepTimeModel Fit(Lane lane, const Measured (&table)[n],
                          memory::StepTimeModel::Options prior, double* error) {
  prior.decay = 1;
  memory::StepTimeModel model(prior);
  // Over and over, so that the prior counts for nothing.
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds; ++round) {
    for (const Measured& measured : table) {
      model.Observe(ShapeOf(lane, measured), absl::Milliseconds(measured.ms));
    }
  }
  for (const Measured& measured : table) {
    const double fitted = absl::ToDoubleMilliseconds(model.Predict(ShapeOf(lane, measured)));
    *error += std::abs(fitted - measured.ms) / measured.ms;
  }
  return model;
}

}  // namespace

StepTimes::StepTimes(Machine machine) {
  double error = 0;
  if (machine == Machine::kH100) {
    // Through the first and the last of each: with so few, rows and context cannot be told apart.
    const memory::StepTimeModel::Options prefill = {5.88e-3, (50.7e-3 - 5.88e-3) / 2047, 1};
    const memory::StepTimeModel::Options decode = {5.88e-3, (9.50e-3 - 5.88e-3) / 63, 1};
    models_[static_cast<int>(Lane::kPrefill)] = Fit(Lane::kPrefill, kH100Prefill, prefill, &error);
    models_[static_cast<int>(Lane::kDecode)] = Fit(Lane::kDecode, kH100Decode, decode, &error);
    relative_error_ = error / static_cast<double>(std::size(kH100Decode) + std::size(kH100Prefill));
    return;
  }
  models_[static_cast<int>(Lane::kPrefill)] = Fit(Lane::kPrefill, kPrefill, {}, &error);
  models_[static_cast<int>(Lane::kDecode)] = Fit(Lane::kDecode, kDecode, {}, &error);
  relative_error_ = error / static_cast<double>(std::size(kDecode) + std::size(kPrefill));
}

absl::Duration StepTimes::Of(Lane lane, const engine::StepShape& shape) const {
  memory::StepShape step;
  step.rows = shape.row_count;
  step.context_tokens = shape.context_tokens;
  return models_[static_cast<int>(lane)].Predict(step);
}

}  // namespace ebb::bench

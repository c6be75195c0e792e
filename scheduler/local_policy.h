// LocalPolicy: the StepPolicy of one engine: admission, chunks, and the pace of decode.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/options.h"
#include "engine/step_policy.h"
#include "scheduler/admission.h"
#include "scheduler/learned_tables.h"

namespace ebb::scheduler {

struct LocalPolicyOptions {
  AdmissionLimits admission;
  int32_t chunk_tokens_max = 512;
  // Prompt rows whose logits a step computes, at most: prompt log-probabilities make chunks
  // smaller, for a row of logits is as large as the vocabulary.
  int32_t logits_rows_max = 64;
  absl::Duration max_gap = absl::Milliseconds(200);
  int32_t growth_prior_tokens = 256;
  LearnedTables lengths;  // What an earlier process has learned.
};

// Immutable.
class LocalPolicy : public engine::StepPolicy {
 public:
  // The options that an engine's own options give.
  static LocalPolicyOptions OptionsFrom(const engine::LocalEngineOptions& options);

  explicit LocalPolicy(const LocalPolicyOptions& options) : options_(options) {}

  absl::Status Accept(const engine::ArrivalView& arrival) const override;

  // As many as the options say. Beside decode rows, no more than leave the predicted step within
  // max_gap, for it is the gap between their tokens; where that would leave less, the prompts get a
  // quarter of the decode rows' own time (not longer than the gap), as in NextDecodeStart.
  int32_t ChunkTokensMax(const engine::ChunkTiming& timing) const override;

  // Fills the chunk in order, several prompts to a chunk; while others wait, one prompt takes at
  // most three quarters of it.
  std::vector<int32_t> PlanChunk(const std::vector<engine::PromptView>& prompts,
                                 int32_t chunk_tokens_max) const override;

  std::vector<size_t> Admit(const engine::AdmissionInput& input) const override;

  // A step under way keeps prefill from the cores, so between steps decode waits, as long as
  // max_gap allows: the step must have ended before the gap is over. Where steps are nearly as long
  // as the gap, decode still waits a quarter of a step (not longer than the gap): prefill keeps a
  // fifth of the time, or it would stand still for as long as large batches decode.
  absl::Time NextDecodeStart(const engine::DecodeTiming& timing) const override;

  // One that learns, from the options' lengths on.
  std::unique_ptr<engine::LengthPredictor> MakeLengthPredictor() const override;

 private:
  // What prefill gets of decode's time whatever the gap, when decode's step takes so long.
  absl::Duration PrefillShare(absl::Duration decode_step) const;

  const LocalPolicyOptions options_;
};

}  // namespace ebb::scheduler

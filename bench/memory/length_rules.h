// Rules for the length of answers that others use, to stand beside what Ebb learns.
//
//   prior        min(max_tokens, 256), and half as many again once that is passed: no prediction
//   reserve_max  every answer has its max_tokens, as servers that reserve all they may need
//   past_future  a length drawn from those of the last 1,000 answers that were longer than what it
//                has made (Gong et al., "Past-Future Scheduler for LLM Serving under SLA
//                Guarantees", ASPLOS 2025)
//   learned      Ebb's own, with a number of standard deviations
#pragma once

#include <cstdint>
#include <memory>

#include "engine/length_predictor.h"
#include "scheduler/local_policy.h"

namespace ebb::bench {

enum class LengthRule { kPrior, kReserveMax, kPastFuture, kLearned };

// How often what was predicted came to be: of the answers that ended, the share whose length was
// within the predicted quantile. A length that has a probability of its own around the quantile,
// and an answer that was cut off before it, count in part.
struct Calibration {
  int64_t learning = 200;  // Answers from which nothing can be asked yet.
  int64_t answers = 0;
  double within[10] = {};  // For 10 %, 20 %, .. 90 %, by tenths.

  // The largest difference from what it should be, in points.
  double ErrorPoints() const;
};

// LocalPolicy but for how lengths are predicted.
class LengthRulePolicy final : public scheduler::LocalPolicy {
 public:
  LengthRulePolicy(const scheduler::LocalPolicyOptions& options, LengthRule rule,
                   Calibration* calibration)
      : LocalPolicy(options), rule_(rule), calibration_(calibration) {}
  std::unique_ptr<engine::LengthPredictor> MakeLengthPredictor() const override;

 private:
  const LengthRule rule_;
  Calibration* const calibration_;
};

}  // namespace ebb::bench

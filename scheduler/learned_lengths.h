// LearnedLengths: predicts how long answers will be from how long those before them were.
//
//   prior  <──  all answers  <──  answers of one class (tenant, prompt length, max_tokens)
//
// Each is a product-limit estimate that counts the one before it as a few answers of its own: a
// class of which little is known goes by all answers, and those at first by the prior: half of
// prior_tokens, then a heavy tail, so that prior_tokens are expected, and of what has run long that
// it runs on. Running, cancelled and capped answers are censored.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"
#include "engine/length_predictor.h"
#include "scheduler/survival_table.h"

namespace ebb::scheduler {

struct LearnedLengthsOptions {
  int32_t prior_tokens = 256;
  // Answers, of whatever class, after which counts weigh half.
  double half_life = 250;
  // How many answers the estimate before counts for.
  double prior_weight = 1;
  double all_weight = 2;
  size_t classes_max = 128;
};

// Thread-compatible.
class LearnedLengths final : public engine::LengthPredictor {
 public:
  explicit LearnedLengths(const LearnedLengthsOptions& options);

  void Pass(const std::vector<engine::AnswerView>& running) override;
  void End(const engine::AnswerView& answer, bool by_itself) override;
  void Survives(const engine::AnswerView& answer, absl::Span<const int64_t> more_tokens,
                absl::Span<double> probabilities) const override;
  int64_t ExpectedTokens(const engine::AnswerView& answer) const override;

 private:
  // Lengths by their powers of two.
  struct ClassKey {
    std::string tenant;
    int32_t prompt_bits = 0;
    int32_t max_bits = 0;
    bool operator<(const ClassKey& other) const;
  };
  struct Class {
    SurvivalTable table;
    mutable std::optional<SurvivalCurve> curve;  // None: to be estimated.
  };

  static ClassKey KeyOf(const engine::AnswerView& answer);
  Class& ClassOf(const ClassKey& key);
  // Counts what the answer has passed since it was last told of.
  void PassOne(const engine::AnswerView& answer);
  // The estimates are no longer those of the tables.
  void Forget();
  const SurvivalTable::Hazards& AllHazards() const;
  const SurvivalCurve& CurveOf(const engine::AnswerView& answer) const;

  const LearnedLengthsOptions options_;
  const SurvivalTable::Hazards prior_;
  Class all_;
  mutable std::optional<SurvivalTable::Hazards> all_hazards_;
  std::map<ClassKey, Class> classes_;
  std::unordered_map<uint64_t, size_t> bins_;  // Where each unfinished answer was seen last.
};

}  // namespace ebb::scheduler

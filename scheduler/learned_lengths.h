// LearnedLengths: predicts how long answers will be from how long those before them were.
//
//   prior  <──  all answers  <──  answers of one class (tenant, prompt length, max_tokens)
//
// Each is a product-limit estimate that counts the one before it as a few answers of its own: a
// class of which little is known goes by all answers, and those at first by the prior: half of
// prior_tokens, then a heavy tail, so that prior_tokens are expected, and of what has run long that
// it runs on. Running, cancelled and capped answers are censored. What the estimates say is then
// corrected by how right they were of late for this tenant (rank_calibration.h).
//
// It keeps score of itself: the rank of each answer's length in what was predicted when the answer
// was first seen (its probability integral transform). A length has a probability of its own, and
// one that was cut off is known only to be at least so long: an answer counts in part at all ranks
// that this leaves open. So ranks are uniform if the predictions are right, whoever is cut off for
// reasons other than the length; to leave those out would leave short ones over.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"
#include "engine/length_predictor.h"
#include "scheduler/learned_tables.h"
#include "scheduler/rank_calibration.h"
#include "scheduler/survival_table.h"

namespace ebb::scheduler {

struct LearnedLengthsOptions {
  int32_t prior_tokens = 256;
  // Answers, of whatever class, after which counts weigh half; of those that were cut off, counts
  // up to where they were.
  double half_life = 250;
  // How many answers the estimate before counts for.
  double prior_weight = 1;
  double all_weight = 4;
  RankCalibration::Options ranks;
  size_t classes_max = kLengthClassesMax;
};

// Thread-compatible.
class LearnedLengths final : public engine::LengthPredictor {
 public:
  // Goes on from what another has learned.
  explicit LearnedLengths(const LearnedLengthsOptions& options, const LearnedTables& tables = {});

  void Pass(const std::vector<engine::AnswerView>& running) override;
  void End(const engine::AnswerView& answer, bool by_itself) override;
  void Survives(const engine::AnswerView& answer, absl::Span<const int64_t> more_tokens,
                absl::Span<double> probabilities) const override;
  int64_t ExpectedTokens(const engine::AnswerView& answer) const override;
  engine::LengthScores Scores() const override { return scores_; }
  std::string Save() const override;

 private:
  // A table, and the curve by it. None: to be estimated.
  struct Estimated {
    SurvivalTable table;
    mutable std::shared_ptr<const SurvivalCurve> curve;
  };
  // A tenant that has a class. Its curve: of a class of which nothing is known. None: to be
  // estimated.
  struct Tenant {
    RankCalibration ranks;
    mutable std::shared_ptr<const SurvivalCurve> curve;
  };
  // An answer that is unfinished.
  struct Begun {
    size_t bin = 0;                                  // Where it was seen last.
    std::shared_ptr<const SurvivalCurve> predicted;  // When it was seen first.
    engine::LengthLevel level = engine::LengthLevel::kPrior;
  };

  static LengthClass KeyOf(const engine::AnswerView& answer);
  Estimated& ClassOf(const LengthClass& key);
  void ForgetLeastClass();
  Begun& BegunOf(const engine::AnswerView& answer);
  // Counts what the answer has passed since it was last told of.
  void PassOne(const engine::AnswerView& answer);
  void Score(const engine::AnswerView& answer, bool by_itself);
  // Counts where it fell in what was predicted for it.
  void Rank(const engine::AnswerView& answer, bool by_itself);
  // The estimates are no longer those of the tables.
  void Forget();
  const SurvivalTable::Hazards& AllHazards() const;
  engine::LengthLevel LevelOf(const engine::AnswerView& answer) const;
  const std::shared_ptr<const SurvivalCurve>& CurveOf(const engine::AnswerView& answer) const;

  const LearnedLengthsOptions options_;
  const SurvivalTable::Hazards prior_;
  Estimated all_;
  mutable std::optional<SurvivalTable::Hazards> all_hazards_;
  std::map<LengthClass, Estimated> classes_;
  std::map<std::string, Tenant, std::less<>> tenants_;
  std::unordered_map<uint64_t, Begun> begun_;  // By the answers' ids.
  engine::LengthScores scores_;
};

}  // namespace ebb::scheduler

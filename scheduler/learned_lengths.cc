#include "scheduler/learned_lengths.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace ebb::scheduler {
namespace {

int32_t BitsOf(int64_t number) {
  return number <= 0 ? 0 : 64 - __builtin_clzll(static_cast<uint64_t>(number));
}

// P(length >= t) of the prior: 1 up to half of the tokens, then (tokens / (t + half))^3, whose mean
// residual length is half of t + half.
SurvivalTable::Hazards PriorHazards(int32_t tokens) {
  const double half = tokens / 2.0;
  const auto survival = [&](int64_t t) {
    return static_cast<double>(t) <= half ? 1
                                          : std::pow(tokens / (static_cast<double>(t) + half), 3);
  };
  SurvivalTable::Hazards hazards = {};
  for (size_t bin = 0; bin < hazards.size(); ++bin) {
    const int64_t begin = SurvivalTable::BeginOf(bin);
    hazards[bin] = 1 - survival(begin + SurvivalTable::WidthOf(bin)) / survival(begin);
  }
  return hazards;
}

}  // namespace

LearnedLengths::LearnedLengths(const LearnedLengthsOptions& options, const LearnedTables& tables)
    : options_(options), prior_(PriorHazards(options.prior_tokens)) {
  all_.table = tables.all;
  for (const auto& [key, table] : tables.classes) classes_[key].table = table;
  for (const auto& [tenant, values] : tables.ranks) {
    tenants_.try_emplace(tenant, Tenant{RankCalibration(options_.ranks, values), nullptr});
  }
}

LengthClass LearnedLengths::KeyOf(const engine::AnswerView& answer) {
  return {std::string(answer.tenant), BitsOf(answer.prompt_tokens), BitsOf(answer.max_tokens)};
}

LearnedLengths::Estimated& LearnedLengths::ClassOf(const LengthClass& key) {
  const auto found = classes_.find(key);
  if (found != classes_.end()) return found->second;
  if (classes_.size() >= options_.classes_max) ForgetLeastClass();
  return classes_.try_emplace(key).first->second;
}

// The one of which the least is known.
void LearnedLengths::ForgetLeastClass() {
  auto least = classes_.begin();
  double least_weight = std::numeric_limits<double>::infinity();
  for (auto one = classes_.begin(); one != classes_.end(); ++one) {
    const double weight = one->second.table.weight();
    if (weight >= least_weight) continue;
    least = one;
    least_weight = weight;
  }
  const std::string tenant = least->first.tenant;
  classes_.erase(least);
  const auto other = classes_.lower_bound({tenant});
  if (other == classes_.end() || other->first.tenant != tenant) tenants_.erase(tenant);
}

void LearnedLengths::Forget() {
  all_hazards_.reset();
  all_.curve.reset();
  for (auto& [key, one] : classes_) one.curve.reset();
  for (auto& [name, tenant] : tenants_) tenant.curve.reset();
}

LearnedLengths::Begun& LearnedLengths::BegunOf(const engine::AnswerView& answer) {
  const auto [entry, is_new] = begun_.try_emplace(answer.id);
  // Before it has told anything of itself.
  if (is_new) entry->second = {0, CurveOf(answer), LevelOf(answer)};
  return entry->second;
}

void LearnedLengths::PassOne(const engine::AnswerView& answer) {
  Begun& begun = BegunOf(answer);
  ClassOf(KeyOf(answer)).table.Pass(begun.bin, answer.generated_tokens);
  begun.bin = all_.table.Pass(begun.bin, answer.generated_tokens);
}

void LearnedLengths::Pass(const std::vector<engine::AnswerView>& running) {
  for (const engine::AnswerView& answer : running) BegunOf(answer);
  for (const engine::AnswerView& answer : running) PassOne(answer);
  Forget();
}

void LearnedLengths::End(const engine::AnswerView& answer, bool by_itself) {
  if (answer.generated_tokens == 0 && !by_itself) {
    // It was never asked whether it would end.
    begun_.erase(answer.id);
    return;
  }
  BegunOf(answer);
  Score(answer, by_itself);
  PassOne(answer);
  Rank(answer, by_itself);
  begun_.erase(answer.id);
  all_.table.End(answer.generated_tokens, by_itself);
  ClassOf(KeyOf(answer)).table.End(answer.generated_tokens, by_itself);
  // One that was cut off tells nothing of what lies beyond: what is known of that is not forgotten
  // for it. Else a thousand requests for a single token would leave nothing known of long answers.
  const size_t told =
      by_itself ? size_t{SurvivalTable::kBins} : SurvivalTable::BinOf(answer.generated_tokens) + 1;
  const double factor = std::exp2(-1 / options_.half_life);
  all_.table.Fade(factor, told);
  for (auto& [key, one] : classes_) one.table.Fade(factor, told);
  Forget();
}

void LearnedLengths::Score(const engine::AnswerView& answer, bool by_itself) {
  const Begun& begun = BegunOf(answer);
  const int64_t length = answer.generated_tokens;
  const double reached = begun.predicted->Between(0, length);
  const double passed = by_itself ? begun.predicted->Between(0, length + 1) : 0;
  scores_.ranks[static_cast<size_t>(begun.level)].Add(1 - reached, 1 - passed);
}

// REQUIRES: the answer has a class.
void LearnedLengths::Rank(const engine::AnswerView& answer, bool by_itself) {
  const Begun& begun = BegunOf(answer);
  // How wrong the prior is says nothing of what was learned.
  if (begun.level == engine::LengthLevel::kPrior) return;
  const auto known = tenants_.try_emplace(std::string(answer.tenant),
                                          Tenant{RankCalibration(options_.ranks, {}), nullptr});
  RankCalibration& ranks = known.first->second.ranks;
  const double least = -std::expm1(begun.predicted->UncorrectedLogAt(answer.generated_tokens));
  if (!by_itself) return ranks.CutOff(least);
  ranks.End(least, -std::expm1(begun.predicted->UncorrectedLogAt(answer.generated_tokens + 1)));
}

const SurvivalTable::Hazards& LearnedLengths::AllHazards() const {
  if (!all_hazards_.has_value()) {
    all_hazards_ = all_.table.Estimate(prior_, options_.prior_weight);
  }
  return *all_hazards_;
}

engine::LengthLevel LearnedLengths::LevelOf(const engine::AnswerView& answer) const {
  const auto found = classes_.find(KeyOf(answer));
  if (found != classes_.end() && found->second.table.weight() >= options_.all_weight) {
    return engine::LengthLevel::kClass;
  }
  return all_.table.weight() >= options_.prior_weight ? engine::LengthLevel::kAll
                                                      : engine::LengthLevel::kPrior;
}

const std::shared_ptr<const SurvivalCurve>& LearnedLengths::CurveOf(
    const engine::AnswerView& answer) const {
  const auto found = classes_.find(KeyOf(answer));
  const bool is_known = found != classes_.end();
  const auto tenant = tenants_.find(answer.tenant);
  const bool is_ranked = tenant != tenants_.end();
  std::shared_ptr<const SurvivalCurve>& curve = is_known    ? found->second.curve
                                                : is_ranked ? tenant->second.curve
                                                            : all_.curve;
  if (curve != nullptr) return curve;
  const SurvivalTable::Hazards hazards =
      is_known ? found->second.table.Estimate(AllHazards(), options_.all_weight) : AllHazards();
  curve = is_ranked ? std::make_shared<SurvivalCurve>(hazards, tenant->second.ranks.Estimate())
                    : std::make_shared<SurvivalCurve>(hazards);
  return curve;
}

void LearnedLengths::Survives(const engine::AnswerView& answer,
                              absl::Span<const int64_t> more_tokens,
                              absl::Span<double> probabilities) const {
  const SurvivalCurve& curve = *CurveOf(answer);
  const int64_t made = answer.generated_tokens;
  for (size_t i = 0; i < more_tokens.size(); ++i) {
    probabilities[i] = curve.Between(made, made + more_tokens[i]);
  }
}

int64_t LearnedLengths::ExpectedTokens(const engine::AnswerView& answer) const {
  const double mean = CurveOf(answer)->Mean(answer.generated_tokens, answer.max_tokens);
  return std::min(answer.max_tokens, static_cast<int64_t>(std::ceil(mean)));
}

std::string LearnedLengths::Save() const {
  LearnedTables tables;
  tables.all = all_.table;
  for (const auto& [key, one] : classes_) tables.classes.emplace(key, one.table);
  for (const auto& [name, tenant] : tenants_) tables.ranks.emplace(name, tenant.ranks.values());
  return EncodeTables(tables);
}

}  // namespace ebb::scheduler

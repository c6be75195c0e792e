#include "scheduler/learned_lengths.h"

#include <algorithm>
#include <cmath>
#include <tuple>

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

bool LearnedLengths::ClassKey::operator<(const ClassKey& other) const {
  return std::tie(tenant, prompt_bits, max_bits) <
         std::tie(other.tenant, other.prompt_bits, other.max_bits);
}

LearnedLengths::LearnedLengths(const LearnedLengthsOptions& options)
    : options_(options), prior_(PriorHazards(options.prior_tokens)) {}

LearnedLengths::ClassKey LearnedLengths::KeyOf(const engine::AnswerView& answer) {
  return {std::string(answer.tenant), BitsOf(answer.prompt_tokens), BitsOf(answer.max_tokens)};
}

LearnedLengths::Class& LearnedLengths::ClassOf(const ClassKey& key) {
  const auto found = classes_.find(key);
  if (found != classes_.end()) return found->second;
  if (classes_.size() >= options_.classes_max) {
    // The one of which the least is known.
    classes_.erase(
        std::min_element(classes_.begin(), classes_.end(), [](const auto& a, const auto& b) {
          return a.second.table.weight() < b.second.table.weight();
        }));
  }
  return classes_.try_emplace(key).first->second;
}

void LearnedLengths::Forget() {
  all_hazards_.reset();
  all_.curve.reset();
  for (auto& [key, one] : classes_) one.curve.reset();
}

void LearnedLengths::PassOne(const engine::AnswerView& answer) {
  size_t& bin = bins_[answer.id];
  ClassOf(KeyOf(answer)).table.Pass(bin, answer.generated_tokens);
  bin = all_.table.Pass(bin, answer.generated_tokens);
}

void LearnedLengths::Pass(const std::vector<engine::AnswerView>& running) {
  for (const engine::AnswerView& answer : running) PassOne(answer);
  Forget();
}

void LearnedLengths::End(const engine::AnswerView& answer, bool by_itself) {
  PassOne(answer);
  bins_.erase(answer.id);
  all_.table.End(answer.generated_tokens, by_itself);
  ClassOf(KeyOf(answer)).table.End(answer.generated_tokens, by_itself);
  const double factor = std::exp2(-1 / options_.half_life);
  all_.table.Fade(factor);
  for (auto& [key, one] : classes_) one.table.Fade(factor);
  Forget();
}

const SurvivalTable::Hazards& LearnedLengths::AllHazards() const {
  if (!all_hazards_.has_value()) {
    all_hazards_ = all_.table.Estimate(prior_, options_.prior_weight);
  }
  return *all_hazards_;
}

const SurvivalCurve& LearnedLengths::CurveOf(const engine::AnswerView& answer) const {
  const auto found = classes_.find(KeyOf(answer));
  if (found == classes_.end()) {
    if (!all_.curve.has_value()) all_.curve.emplace(AllHazards());
    return *all_.curve;
  }
  const Class& one = found->second;
  if (!one.curve.has_value()) {
    one.curve.emplace(one.table.Estimate(AllHazards(), options_.all_weight));
  }
  return *one.curve;
}

void LearnedLengths::Survives(const engine::AnswerView& answer,
                              absl::Span<const int64_t> more_tokens,
                              absl::Span<double> probabilities) const {
  const SurvivalCurve& curve = CurveOf(answer);
  const int64_t made = answer.generated_tokens;
  for (size_t i = 0; i < more_tokens.size(); ++i) {
    probabilities[i] = curve.Between(made, made + more_tokens[i]);
  }
}

int64_t LearnedLengths::ExpectedTokens(const engine::AnswerView& answer) const {
  const double mean = CurveOf(answer).Mean(answer.generated_tokens, answer.max_tokens);
  return std::min(answer.max_tokens, static_cast<int64_t>(std::ceil(mean)));
}

}  // namespace ebb::scheduler

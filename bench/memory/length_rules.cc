#include "bench/memory/length_rules.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "scheduler/learned_lengths.h"

namespace ebb::bench {
namespace {

using engine::AnswerView;

constexpr int64_t kPriorTokens = 256;

// A rule that says how long each answer will be.
class PointRule : public engine::LengthPredictor {
 public:
  void Pass(const std::vector<AnswerView>&) override {}
  void End(const AnswerView&, bool) override {}
  void Survives(const AnswerView& answer, absl::Span<const int64_t> more_tokens,
                absl::Span<double> probabilities) const override {
    const int64_t expected = ExpectedTokens(answer);
    for (size_t i = 0; i < more_tokens.size(); ++i) {
      probabilities[i] = answer.generated_tokens + more_tokens[i] <= expected ? 1 : 0;
    }
  }
  // They predict no distribution, and what they know is not kept.
  engine::LengthScores Scores() const override { return {}; }
  std::string Save() const override { return ""; }
};

class Prior final : public PointRule {
 public:
  int64_t ExpectedTokens(const AnswerView& answer) const override {
    constexpr int64_t kGrowthTokensMin = 32;
    const int64_t made = answer.generated_tokens;
    const int64_t by_growth = made == 0 ? 0 : made + std::max(kGrowthTokensMin, made / 2);
    return std::min(answer.max_tokens, std::max(kPriorTokens, by_growth));
  }
};

class ReserveMax final : public PointRule {
 public:
  int64_t ExpectedTokens(const AnswerView& answer) const override { return answer.max_tokens; }
};

class PastFuture final : public PointRule {
 public:
  void Pass(const std::vector<AnswerView>&) override { ++draw_; }
  void End(const AnswerView& answer, bool) override {
    constexpr size_t kAnswers = 1000;
    lengths_.push_back(answer.generated_tokens);
    if (lengths_.size() > kAnswers) lengths_.pop_front();
  }
  int64_t ExpectedTokens(const AnswerView& answer) const override {
    std::vector<int64_t> longer;
    for (const int64_t length : lengths_) {
      if (length > answer.generated_tokens) longer.push_back(length);
    }
    if (longer.empty()) return answer.max_tokens;
    // The same each time that it is asked in one round of admission.
    const uint64_t bits =
        base::RandomBits(draw_ ^ static_cast<uint64_t>(answer.prompt_tokens) << 32,
                         static_cast<uint64_t>(answer.generated_tokens));
    return std::min(answer.max_tokens, longer[bits % longer.size()]);
  }

 private:
  std::deque<int64_t> lengths_;
  uint64_t draw_ = 1;
};

class Learned final : public engine::LengthPredictor {
 public:
  Learned(const scheduler::LearnedLengthsOptions& options, Calibration* calibration)
      : lengths_(options), calibration_(calibration) {}
  void Pass(const std::vector<AnswerView>& running) override {
    for (const AnswerView& answer : running) {
      if (predicted_.count(answer.id) == 0) predicted_.emplace(answer.id, Predict(answer));
    }
    lengths_.Pass(running);
  }
  void End(const AnswerView& answer, bool by_itself) override {
    Judge(answer, by_itself);
    predicted_.erase(answer.id);
    lengths_.End(answer, by_itself);
  }
  void Survives(const AnswerView& answer, absl::Span<const int64_t> more_tokens,
                absl::Span<double> probabilities) const override {
    lengths_.Survives(answer, more_tokens, probabilities);
  }
  int64_t ExpectedTokens(const AnswerView& answer) const override {
    return lengths_.ExpectedTokens(answer);
  }
  engine::LengthScores Scores() const override { return lengths_.Scores(); }
  std::string Save() const override { return lengths_.Save(); }

 private:
  // P(length >= t) for each t, when the answer began: it has not yet told anything of itself.
  std::vector<double> Predict(AnswerView answer) const {
    answer.generated_tokens = 0;
    std::vector<int64_t> lengths(static_cast<size_t>(answer.max_tokens) + 2);
    std::iota(lengths.begin(), lengths.end(), 0);
    std::vector<double> at_least(lengths.size());
    lengths_.Survives(answer, lengths, absl::MakeSpan(at_least));
    return at_least;
  }

  void Judge(const AnswerView& answer, bool by_itself) {
    // Some are over before anybody has looked.
    const auto predicted = predicted_.try_emplace(answer.id, Predict(answer)).first;
    const auto length = static_cast<size_t>(answer.generated_tokens);
    // P(length <= what it was) lies between these: a length has a probability of its own, and one
    // that was cut off would have been longer.
    const double least = 1 - predicted->second[length];
    const double most = by_itself ? 1 - predicted->second[length + 1] : 1;
    if (++seen_ <= calibration_->learning) return;
    ++calibration_->answers;
    for (int tenth = 1; tenth < 10; ++tenth) {
      const double quantile = tenth / 10.0;
      calibration_->within[tenth] +=
          most <= quantile ? 1 : std::clamp((quantile - least) / (most - least), 0.0, 1.0);
    }
  }

  scheduler::LearnedLengths lengths_;
  Calibration* const calibration_;
  std::unordered_map<uint64_t, std::vector<double>> predicted_;
  int64_t seen_ = 0;
};

}  // namespace

double Calibration::ErrorPoints() const {
  double most = 0;
  for (int tenth = 1; tenth < 10 && answers > 0; ++tenth) {
    const double share = within[tenth] / static_cast<double>(answers);
    most = std::max(most, std::abs(share - tenth / 10.0));
  }
  return 100 * most;
}

std::unique_ptr<engine::LengthPredictor> LengthRulePolicy::MakeLengthPredictor() const {
  switch (rule_) {
    case LengthRule::kPrior:
      return std::make_unique<Prior>();
    case LengthRule::kReserveMax:
      return std::make_unique<ReserveMax>();
    case LengthRule::kPastFuture:
      return std::make_unique<PastFuture>();
    case LengthRule::kLearned:
      break;
  }
  return std::make_unique<Learned>(scheduler::LearnedLengthsOptions{}, calibration_);
}

}  // namespace ebb::bench

#include "bench/memory/length_rules.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace ebb::bench {
namespace {

using engine::AnswerView;

constexpr int64_t kPriorTokens = 256;

// A rule that says how long each answer will be.
class PointRule : public engine::LengthPredictor {
 public:
  void SetRunning(const std::vector<AnswerView>&) override {}
  void Add(const AnswerView&, bool) override {}
  double Survives(const AnswerView& answer, int64_t more_tokens) const override {
    return answer.generated_tokens + more_tokens <= ExpectedTokens(answer) ? 1 : 0;
  }
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
  void SetRunning(const std::vector<AnswerView>&) override { ++draw_; }
  void Add(const AnswerView& answer, bool) override {
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
    const uint64_t bits = base::RandomBits(
        draw_ ^ static_cast<uint64_t>(answer.prompt_tokens) << 32,
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
  void SetRunning(const std::vector<AnswerView>& running) override {
    lengths_.SetRunning(running);
  }
  void Add(const AnswerView& answer, bool ended_by_itself) override {
    if (ended_by_itself) Judge(answer);
    lengths_.Add(answer, ended_by_itself);
  }
  double Survives(const AnswerView& answer, int64_t more_tokens) const override {
    return lengths_.Survives(answer, more_tokens);
  }
  int64_t ExpectedTokens(const AnswerView& answer) const override {
    return lengths_.ExpectedTokens(answer);
  }

 private:
  // As if it had been asked before the answer began.
  void Judge(AnswerView answer) {
    const int64_t length = answer.generated_tokens;
    answer.generated_tokens = 0;
    // A length has a probability of its own: half of it counts as below.
    const double below = 1 - (lengths_.Survives(answer, length) +
                              lengths_.Survives(answer, length + 1)) / 2;
    ++calibration_->answers;
    for (int tenth = 1; tenth < 10; ++tenth) calibration_->within[tenth] += below <= tenth / 10.0;
  }

  scheduler::LearnedLengths lengths_;
  Calibration* const calibration_;
};

}  // namespace

double Calibration::ErrorPoints() const {
  double most = 0;
  for (int tenth = 1; tenth < 10 && answers > 0; ++tenth) {
    const double share = static_cast<double>(within[tenth]) / static_cast<double>(answers);
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

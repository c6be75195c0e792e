// LengthPredictor: how long answers will be. Declared here, learned in scheduler/.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ebb::engine {

// What is known of an answer. It goes on until it has max_tokens.
struct AnswerView {
  uint64_t id = 0;           // The same as long as it is unfinished; 0 before it is accepted.
  absl::string_view tenant;  // Whose it is. Valid during the call.
  int64_t prompt_tokens = 0;
  int64_t max_tokens = 0;        // What it may make in all.
  int64_t generated_tokens = 0;  // What it has made; it has not ended with them.
};

// What a prediction went by: answers of the request's class, all answers, or nothing learned yet.
enum class LengthLevel { kClass, kAll, kPrior };
constexpr size_t kLengthLevels = 3;

// Where in its predicted distribution each length fell, from 0 (the shortest it could be) to 1: of
// predictions that are right, a share of p falls below p.
struct LengthRanks {
  static constexpr std::array<double, 12> kBounds = {.05, .1, .2, .3, .4,  .5,
                                                     .6,  .7, .8, .9, .95, .99};
  // By the first bound that is not below the rank; the last: above all bounds.
  std::array<double, kBounds.size() + 1> counts = {};
  double sum = 0;

  // An answer that is somewhere between these ranks: a part of it counts at each, 1 in all.
  void Add(double least, double most) {
    double before = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      const bool all = i == kBounds.size() || most <= kBounds[i];
      const double up_to = all ? 1 : std::clamp((kBounds[i] - least) / (most - least), 0.0, 1.0);
      counts[i] += up_to - before;
      before = up_to;
    }
    sum += (least + most) / 2;
  }
};

// How what was predicted came to be, by LengthLevel, since the start.
struct LengthScores {
  std::array<LengthRanks, kLengthLevels> ranks;
};

// The engine calls it under its mutex.
class LengthPredictor {
 public:
  virtual ~LengthPredictor() = default;

  // How far the answers that run have come.
  virtual void Pass(const std::vector<AnswerView>& running) = 0;
  // An answer ended: by itself, after all that it would say, or cut off.
  virtual void End(const AnswerView& answer, bool by_itself) = 0;

  // The probability that it makes so many more tokens, if it may; for each of a list.
  virtual void Survives(const AnswerView& answer, absl::Span<const int64_t> more_tokens,
                        absl::Span<double> probabilities) const = 0;
  // Tokens that it is expected to make in all, those that it has made included. At most max_tokens.
  virtual int64_t ExpectedTokens(const AnswerView& answer) const = 0;

  virtual LengthScores Scores() const = 0;
  // All that it has learned, for the policy that makes the next one: what this means, it knows.
  // Copies, and no more: the engine waits.
  virtual std::string Save() const = 0;
};

}  // namespace ebb::engine

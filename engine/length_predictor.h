// LengthPredictor: how long answers will be. Declared here, learned in scheduler/.
#pragma once

#include <cstdint>
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
};

}  // namespace ebb::engine

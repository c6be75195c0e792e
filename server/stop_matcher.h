// StopMatcher: finds the first stop string in text that arrives piece by piece, and holds back what
// may still become one.
//
//   stops "END", "\n\n"      Feed("the E") -> "the "     (holds "E")
//                            Feed("N")     -> ""         (holds "EN")
//                            Feed("D of")  -> ""         matched() is "END"; " of" is dropped
//
// "First" is the one whose last byte comes first; of several that end at the same byte, the
// longest. The result does not depend on how the text is cut into pieces. One automaton of Knuth,
// Morris and Pratt per stop string: linear in the text, whatever the strings.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ebb::server {

// Thread-compatible.
class StopMatcher {
 public:
  // REQUIRES: no stop string is empty.
  explicit StopMatcher(const std::vector<std::string>& stops);

  // Takes the next piece; returns what can be shown now. Without `may_stop`, stop strings that end
  // in this piece count as ordinary text. After a match it returns "".
  std::string Feed(absl::string_view piece, bool may_stop);

  // The text has ended: returns what was held back. "" after a match.
  std::string Flush();

  // The stop string that was found, or null.
  const std::string* matched() const { return matched_; }

 private:
  struct Automaton {
    std::string stop;
    std::vector<size_t> fallback;  // [n]: the longest border of the first n bytes.
    size_t length = 0;             // So many bytes of `stop` end the text.
    void Step(char byte);
  };

  std::vector<Automaton> automata_;
  std::string held_;  // The end of the text, not yet shown.
  const std::string* matched_ = nullptr;
};

}  // namespace ebb::server

#include "server/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ebb::server {

StopMatcher::StopMatcher(const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    CHECK(!stop.empty());
    Automaton automaton;
    automaton.stop = stop;
    automaton.fallback.assign(stop.size() + 1, 0);
    size_t border = 0;
    for (size_t n = 1; n < stop.size(); ++n) {
      while (border > 0 && stop[n] != stop[border]) border = automaton.fallback[border];
      if (stop[n] == stop[border]) ++border;
      automaton.fallback[n + 1] = border;
    }
    automata_.push_back(std::move(automaton));
  }
}

void StopMatcher::Automaton::Step(char byte) {
  if (length == stop.size()) length = fallback[length];
  while (length > 0 && stop[length] != byte) length = fallback[length];
  if (stop[length] == byte) ++length;
}

std::string StopMatcher::Feed(absl::string_view piece, bool may_stop) {
  if (matched_ != nullptr) return "";
  for (const char byte : piece) {
    held_.push_back(byte);
    for (Automaton& automaton : automata_) {
      automaton.Step(byte);
      if (may_stop && automaton.length == automaton.stop.size() &&
          (matched_ == nullptr || matched_->size() < automaton.stop.size())) {
        matched_ = &automaton.stop;
      }
    }
    if (matched_ != nullptr) {
      std::string shown = std::move(held_);
      held_.clear();
      shown.resize(shown.size() - matched_->size());
      return shown;
    }
  }
  size_t hold_bytes = 0;
  for (const Automaton& automaton : automata_) {
    // A whole stop string was let pass: only its longest border can still begin another.
    const bool whole = automaton.length == automaton.stop.size();
    hold_bytes =
        std::max(hold_bytes, whole ? automaton.fallback[automaton.length] : automaton.length);
  }
  std::string shown = held_.substr(0, held_.size() - hold_bytes);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopMatcher::Flush() { return std::exchange(held_, ""); }

}  // namespace ebb::server

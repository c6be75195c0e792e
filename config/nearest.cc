#include "config/nearest.h"

#include <algorithm>
#include <cstdint>

namespace ebb::config {
namespace {

// Levenshtein's distance: letters replaced, left out or put in.
int64_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<int64_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int64_t>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = static_cast<int64_t>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int64_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

absl::string_view Nearest(absl::string_view word, const std::vector<absl::string_view>& known) {
  constexpr size_t kWordBytesMax = 64;
  absl::string_view nearest;
  if (word.size() > kWordBytesMax) return nearest;
  // A third of the letters may be wrong, two in short words, but never all.
  const auto size = static_cast<int64_t>(word.size());
  int64_t best = std::min(std::max<int64_t>(2, size / 3) + 1, size);
  for (absl::string_view candidate : known) {
    // Half a name is no slip, but it is clear what is meant.
    const bool begins = size >= 3 && candidate.substr(0, word.size()) == word;
    const int64_t distance = begins ? 1 : EditDistance(word, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace ebb::config

// Nearest: what a mistyped name was probably meant to be.
#pragma once

#include <vector>

#include "absl/strings/string_view.h"

namespace ebb::config {

// The word among `known` that `word` is a slip of: it begins with it, or is within a few letters of
// it. Empty if none is near enough.
absl::string_view Nearest(absl::string_view word, const std::vector<absl::string_view>& known);

}  // namespace ebb::config

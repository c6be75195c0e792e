// NumberFlags: the command line of a measure: --model FILE, and numbers by their names.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/types/span.h"

namespace ebb::bench {

// False when a flag is none of these, has no value, or its number is not from 1 to `most`; or when
// there is no model. Numbers that are not given stay as they are.
inline bool ReadNumberFlags(int argc, char** argv, int64_t most, std::string* model,
                            absl::Span<const std::pair<const char*, int64_t*>> numbers) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--model") {
      *model = argv[i + 1];
      continue;
    }
    bool known = false;
    for (const auto& [name, value] : numbers) {
      if (flag != name) continue;
      known = absl::SimpleAtoi(argv[i + 1], value) && *value >= 1 && *value <= most;
    }
    if (!known) return false;
  }
  return argc % 2 == 1 && !model->empty();
}

}  // namespace ebb::bench

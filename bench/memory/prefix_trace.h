// PrefixTrace: Mooncake's conversation trace with the hash structure of its prompts, scaled so that
// one id of the trace is one block of the engine.
//
//   trace     [ id 0: 512 tokens ][ id 7: 512 tokens ][ id 9: 100 tokens ]     answer 350
//   engine    [ block of 16      ][ block of 16      ][ 4                ]     answer 11
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cli/bench/arrivals.h"

namespace ebb::bench {

inline constexpr int32_t kPrefixBlockTokens = 16;

struct PrefixTrace {
  std::vector<cli::Arrival> arrivals;
  // Of each request: an id for each block of its prompt, the last of which may be cut. Equal ids:
  // the prompts are equal up to there.
  std::vector<std::vector<int32_t>> blocks;

  // The prompt's tokens, a function of its ids and its length.
  std::vector<int32_t> PromptOf(size_t request) const;
};

// The first so many requests of the excerpt in bench/data. CHECKs that it is there: under bazel
// run, or in the repository's root.
PrefixTrace ReadPrefixTrace(size_t requests_max);

}  // namespace ebb::bench

// What a lane's steps are predicted to take, put together from its sequences. Under
// EngineCore::mutex.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/core.h"

namespace ebb::engine {

// Whether there is another lane, and something executes in it.
bool OtherExecutes(const EngineCore& core, Lane which);

// The predicted time of a step that makes a token for each of these.
absl::Duration PredictDecodeStep(const EngineCore& core, Lane which,
                                 const std::vector<Sequence*>& decoding, bool other_busy);

// Prompt tokens that the lane's next step may take: the policy's answer, at least 1.
int32_t ChunkTokensMax(const EngineCore& core, Lane which);

}  // namespace ebb::engine

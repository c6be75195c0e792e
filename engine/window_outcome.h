// How a window's prediction came out.
#pragma once

#include "absl/time/time.h"
#include "engine/core.h"

namespace ebb::engine {

// At a boundary: adds what the lane's open window predicted, and what its sequences now hold, to
// the lane's totals, if there is one and it has reached its end. REQUIRES: the mutex is held.
void CountWindow(EngineCore* core, Lane which, absl::Time now);

}  // namespace ebb::engine

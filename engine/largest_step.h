// The largest step of a lane that the options allow, for sizing its workspace.
#pragma once

#include "engine/options.h"
#include "engine/step_runner.h"

namespace ebb::engine {

// Without rows for a lane that the engine does not have.
StepShape LargestStep(const LocalEngineOptions& options, Lane lane);

}  // namespace ebb::engine

// What the clients of a simulated engine ask for.
#pragma once

#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "base/rng.h"
#include "engine/request.h"
#include "tests/sim/sim_client.h"

namespace ebb::sim {

// A prompt of random tokens, and all that may come with it.
engine::Request DrawRequest(absl::Time now, base::Rng* rng);

// Most prompts begin with what one before said, or with all of it and the answer, as chats do.
void BeginLikeAnother(const std::vector<std::shared_ptr<SimClient>>& clients, base::Rng* rng,
                      engine::Request* request);

}  // namespace ebb::sim

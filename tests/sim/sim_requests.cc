#include "tests/sim/sim_requests.h"

#include <algorithm>

namespace ebb::sim {

engine::Request DrawRequest(absl::Time now, base::Rng* rng) {
  engine::Request request;
  const int64_t prompt_tokens =
      rng->Chance(0.2) ? rng->Between(30, kContextTokens - 1) : rng->Between(1, 30);
  for (int64_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<int32_t>(rng->Between(0, kVocabulary - 1)));
  }
  request.sampling.temperature = rng->Chance(0.5) ? 0.0 : 1.0;
  request.sampling.seed = rng->Bits();
  if (rng->Chance(0.2)) {
    request.sampling.prompt_logprobs = static_cast<int32_t>(rng->Between(0, 2));
  }
  request.stopping.max_tokens = static_cast<int32_t>(rng->Between(1, 60));
  request.stopping.ignore_eos = rng->Chance(0.5);
  if (rng->Chance(0.3)) {
    request.stopping.min_tokens =
        static_cast<int32_t>(rng->Between(0, request.stopping.max_tokens));
  }
  if (rng->Chance(0.2)) request.stopping.stop_token_ids = {3, 11};
  AskForRules(&request);
  request.priority = static_cast<int32_t>(rng->Between(-1, 2));
  if (rng->Chance(0.1)) request.deadline = now + absl::Milliseconds(rng->Between(0, 2000));
  return request;
}

void BeginLikeAnother(const std::vector<std::shared_ptr<SimClient>>& clients, base::Rng* rng,
                      engine::Request* request) {
  if (rng->Chance(0.2)) request->tenant = "another";
  if (rng->Chance(0.1)) request->cache_salt = "salt";
  if (clients.empty() || rng->Chance(0.3)) return;
  const SimClient& other = *clients[static_cast<size_t>(rng->Between(0, clients.size() - 1))];
  std::vector<int32_t> tokens = other.request().prompt;
  if (rng->Chance(0.4)) tokens.insert(tokens.end(), other.answer().begin(), other.answer().end());
  const size_t count = static_cast<size_t>(rng->Between(1, tokens.size()));
  tokens.resize(std::min(count, static_cast<size_t>(kContextTokens - 1)));
  if (request->prompt.size() < tokens.size()) request->prompt.resize(tokens.size());
  std::copy(tokens.begin(), tokens.end(), request->prompt.begin());
}

}  // namespace ebb::sim

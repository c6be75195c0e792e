#include "tests/sim/canaries.h"

namespace ebb::sim {

const char* CanaryName(Canary canary) {
  static constexpr const char* kNames[kCanaryCount] = {"none",
                                                       "wrong_slot",
                                                       "stale_table",
                                                       "forgotten_seed",
                                                       "ignored_bans",
                                                       "stale_adjustments",
                                                       "crossed_results",
                                                       "lost_step",
                                                       "lost_prompt_logprob",
                                                       "early_unmap",
                                                       "leaked_memory",
                                                       "unopened_page",
                                                       "starving_policy",
                                                       "greedy_chunks",
                                                       "deaf_cancel",
                                                       "double_finish",
                                                       "repeated_token",
                                                       "hidden_loss",
                                                       "unpatched_table",
                                                       "forgotten_copy",
                                                       "done_abandoned",
                                                       "deaf_abandon",
                                                       "forgotten_fork",
                                                       "shared_write",
                                                       "short_swap",
                                                       "crossed_swap"};
  return kNames[static_cast<int>(canary)];
}

}  // namespace ebb::sim

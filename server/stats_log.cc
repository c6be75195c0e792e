#include "server/stats_log.h"

namespace ebb::server {

StatsLog::StatsLog(const engine::Engine* engine, const base::Clock* clock, base::Log* log,
                   absl::Duration interval)
    : engine_(engine), clock_(clock), log_(log), interval_(interval), last_(clock->Now()) {}

void StatsLog::Tick() {
  const absl::Time now = clock_->Now();
  if (now - last_ < interval_) return;
  const double seconds = absl::ToDoubleSeconds(now - last_);
  const engine::LoadView load = engine_->Load();
  const int64_t prompt = load.prefilled_tokens_total - before_.prefilled_tokens_total;
  const int64_t generation = load.completion_tokens_total - before_.completion_tokens_total;
  last_ = now;
  before_ = load;
  if (prompt + generation + load.running_requests + load.waiting_requests == 0) return;
  const engine::MemoryView memory = engine_->Memory();
  const double limit = static_cast<double>(memory.limit_bytes);
  log_->Write("stats",
              {{"seconds", seconds},
               {"prompt_tokens_per_second", static_cast<double>(prompt) / seconds},
               {"generation_tokens_per_second", static_cast<double>(generation) / seconds},
               {"running_requests", load.running_requests},
               {"waiting_requests", load.waiting_requests},
               {"held_ratio", limit > 0 ? static_cast<double>(memory.held_bytes) / limit : 0.0}});
}

}  // namespace ebb::server

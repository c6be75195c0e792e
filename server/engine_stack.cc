#include "server/engine_stack.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "server/request_reader.h"

namespace ebb::server {

engine::LocalEngineOptions EngineOptions(const config::ServerConfig& config) {
  engine::LocalEngineOptions options;
  options.queue.queues = config.scheduler.queues == config::Queues::kOne
                             ? engine::Queues::kOne
                             : engine::Queues::kSeparate;
  options.queue.queue_requests_max = config.scheduler.queue_requests_max;
  options.queue.queue_prompt_tokens_max = config.scheduler.queue_prompt_tokens_max;
  options.queue.running_sequences_max = config.scheduler.running_sequences_max;
  options.queue.ageing = config.scheduler.ageing;
  options.queue.resume_immunity_tokens = config.scheduler.resume_immunity_tokens;
  options.queue.growth_prior_tokens = config.scheduler.growth_prior_tokens;
  options.queue.growth_deviations_percent = config.scheduler.growth_deviations_percent;
  options.step.chunk_tokens_max = config.scheduler.chunk_tokens_max;
  options.step.logits_rows_max = config.scheduler.logits_rows_max;
  options.step.max_gap = config.scheduler.max_gap;
  options.window.prefill_min = config.prefill_window.min;
  options.window.prefill_max = config.prefill_window.max;
  options.window.decode_steps = config.decode_window.steps;
  options.window.decode_min = config.decode_window.min;
  options.window.decode_max = config.decode_window.max;
  options.memory.limit_bytes = config.memory.limit_bytes;
  options.memory.ceiling_bytes = config.memory.ceiling_bytes;
  options.memory.headroom_bytes = config.memory.headroom_bytes;
  options.memory.keep_bytes = config.memory.keep_bytes;
  options.memory.sharing_grace = config.sharing.grace;
  options.memory.block_tokens = config.kv.block_tokens;
  options.memory.slack_pages = config.memory.slack_pages;
  options.memory.prepared_pages = config.memory.prepared_pages;
  options.memory.idle = config.memory.idle;
  options.memory.shrink_windows = config.memory.shrink_windows;
  options.memory.shrink_after = config.memory.shrink_after;
  options.memory.shrink_pages_max = config.memory.shrink_pages_max;
  options.memory.compact_above_percent = config.memory.compact_above_percent;
  options.memory.compact_bytes_max = config.memory.compact_bytes_max;
  options.prefix_cache.enabled = config.prefix_cache.enabled;
  options.prefix_cache.idle = config.prefix_cache.idle;
  options.prefix_cache.floor_bytes = config.prefix_cache.floor_bytes;
  options.prefix_cache.ahead = config.prefix_cache.ahead;
  options.memory.swap_bytes_max = config.memory.swap_bytes_max;
  options.memory.swap_directory = config.memory.swap_directory;
  options.memory.static_estimator =
      config.memory.static_estimator == config::StaticEstimator::kByUsage
          ? engine::StaticEstimator::kByUsage
          : engine::StaticEstimator::kByTokens;
  options.log.windows = config.log.windows;
  options.log.requests = config.log.requests;
  return options;
}

namespace {

memory::Sharing::Options SharingOptions(const config::ServerConfig& config,
                                        const LoadedModel& model) {
  memory::Sharing::Options options;
  options.directory = config.sharing.path;
  options.device_id = model.compute->device_id();
  options.terms.name = absl::StrCat(config.server.listen, " ", model.name);
  options.terms.pid = getpid();
  options.terms.started_unix_ms = absl::ToUnixMillis(absl::Now());
  options.terms.floor_bytes = config.sharing.floor_bytes;
  options.terms.weight = config.sharing.weight;
  options.terms.capacity_bytes = config.sharing.capacity_bytes;
  return options;
}

// Which model lengths were learned from, and keys and values computed with. Weights are not
// compared: of two with the same name and shape, the second soon unlearns what the first has left
// of lengths, and no cache outlives its process.
std::string IdentityOf(const LoadedModel& model) {
  const model::ModelConfig& shape = model.config;
  return absl::StrCat(model.name, ", ", shape.architecture, ", ", shape.layers, " layers of width ",
                      shape.width, ", vocabulary ", shape.vocab);
}

}  // namespace

absl::StatusOr<std::unique_ptr<EngineStack>> EngineStack::Create(const config::ServerConfig& config,
                                                                 const LoadedModel& model,
                                                                 const base::Clock* clock,
                                                                 base::Log* log) {
  const engine::LocalEngineOptions options = EngineOptions(config);
  RETURN_IF_ERROR(engine::Validate(options));
  scheduler::LocalPolicyOptions policy = scheduler::LocalPolicy::OptionsFrom(options);
  std::unique_ptr<LengthsFile> lengths;
  if (!config.scheduler.lengths_file.empty()) {
    lengths =
        std::make_unique<LengthsFile>(config.scheduler.lengths_file, IdentityOf(model), clock, log);
    policy.lengths = lengths->Read();
  }
  std::unique_ptr<EngineStack> stack(new EngineStack(policy));
  stack->lengths_ = std::move(lengths);
  const std::vector<int32_t>& end_ids = model.codec->tokenizer().eos_ids();
  stack->runners_ = model.compute->MakeRunners(config.requests.stop_token_ids_max + kBadWordIdsMax +
                                               static_cast<int32_t>(end_ids.size()));
  engine::ModelEngineParts parts;
  parts.runners = stack->runners_.get();
  parts.vmm = model.compute->vmm();
  parts.clock = clock;
  parts.log = log;
  parts.policy = &stack->policy_;
  parts.end_ids = end_ids;
  parts.kv_identity = absl::StrCat(IdentityOf(model), ", ", model.compute->name(), ", ",
                                   kernels::TraitsOf(model.compute->kv_dtype()).name);
  if (config.sharing.enabled) {
    stack->sharing_ = std::make_unique<memory::Sharing>(SharingOptions(config, model), clock, log);
    parts.sharing = stack->sharing_.get();
  }
  ASSIGN_OR_RETURN(stack->engine_, engine::ModelEngine::Create(options, parts));
  if (stack->lengths_ != nullptr) {
    stack->saving_ = std::make_unique<Ticker>(
        absl::Seconds(1), [stack = stack.get()] { stack->lengths_->Tick(stack->engine()); });
  }
  return stack;
}

void EngineStack::SaveLengths() {
  saving_.reset();
  if (lengths_ != nullptr) lengths_->Save(engine());
}

}  // namespace ebb::server

#include "server/engine_stack.h"

#include <utility>

#include "base/status_macros.h"
#include "engine/core.h"
#include "kernels/paged_kv.h"
#include "memory/kv_geometry.h"

namespace ebb::server {
namespace {

constexpr int32_t kBlockTokensDefault = 16;

int32_t BlockTokens(const engine::LocalEngineOptions& options) {
  return options.memory.block_tokens != 0 ? options.memory.block_tokens : kBlockTokensDefault;
}

kernels::PagedKv KvLayout(const LoadedModel& model, kernels::DType dtype,
                          const engine::LocalEngineOptions& options) {
  const model::ModelConfig& shape = model.llama->config();
  kernels::PagedKv kv;
  kv.dtype = dtype;
  kv.layers = shape.layers;
  kv.kv_heads = shape.kv_heads;
  kv.head_dim = shape.head_dim;
  kv.block_tokens = BlockTokens(options);
  kv.layer_block_bytes =
      kernels::PagedKv::LayerBlockBytes(dtype, shape.kv_heads, shape.head_dim, kv.block_tokens);
  return kv;
}

memory::KvMemory::Options MemoryOptions(const engine::LocalEngineOptions& options,
                                        const model::LlamaModel& llama) {
  memory::KvMemory::Options memory;
  memory.ceiling_bytes = options.memory.ceiling_bytes;
  memory.limit_bytes = options.memory.limit_bytes;
  memory.headroom_bytes = options.memory.headroom_bytes;
  memory.idle_after = options.memory.idle;
  memory.shrink.windows_kept = options.memory.shrink_windows;
  memory.shrink.pages_at_once = options.memory.shrink_pages_max;
  memory.prepare_ahead_pages = options.memory.prepared_pages;
  // By lane: the engine takes workspace 0 for prefill and 1 for decode.
  for (const engine::Lane lane : {engine::Lane::kPrefill, engine::Lane::kDecode}) {
    const engine::StepShape shape = engine::LargestStep(options, lane);
    memory.workspaces.push_back(
        {lane == engine::Lane::kPrefill ? "workspace.prefill" : "workspace.decode",
         static_cast<int64_t>(llama.WorkspaceBytes(shape.row_count, shape.logits_row_count))});
  }
  return memory;
}

}  // namespace

engine::LocalEngineOptions EngineOptions(const config::ServerConfig& config) {
  engine::LocalEngineOptions options;
  options.queue.queue_requests_max = config.scheduler.queue_requests_max;
  options.queue.running_sequences_max = config.scheduler.running_sequences_max;
  options.queue.ageing = config.scheduler.ageing;
  options.queue.resume_immunity_tokens = config.scheduler.resume_immunity_tokens;
  options.queue.growth_prior_tokens = config.scheduler.growth_prior_tokens;
  options.step.chunk_tokens_max = config.scheduler.chunk_tokens_max;
  options.step.max_gap = config.scheduler.max_gap;
  options.window.prefill_min = config.prefill_window.min;
  options.window.prefill_max = config.prefill_window.max;
  options.window.decode_steps = config.decode_window.steps;
  options.window.decode_min = config.decode_window.min;
  options.window.decode_max = config.decode_window.max;
  options.memory.limit_bytes = config.memory.limit_bytes;
  options.memory.ceiling_bytes = config.memory.ceiling_bytes;
  options.memory.headroom_bytes = config.memory.headroom_bytes;
  options.memory.block_tokens = config.kv.block_tokens;
  options.memory.slack_pages = config.memory.slack_pages;
  options.memory.prepared_pages = config.memory.prepared_pages;
  options.memory.idle = config.memory.idle;
  options.memory.shrink_windows = config.memory.shrink_windows;
  options.memory.shrink_pages_max = config.memory.shrink_pages_max;
  options.memory.static_estimator =
      config.memory.static_estimator == config::StaticEstimator::kByUsage
          ? engine::StaticEstimator::kByUsage
          : engine::StaticEstimator::kByTokens;
  options.log.windows = config.log.windows;
  options.log.requests = config.log.requests;
  return options;
}

EngineStack::EngineStack(const engine::LocalEngineOptions& options, base::Log* log)
    : log_(log), policy_(scheduler::LocalPolicy::OptionsFrom(options)) {}

absl::StatusOr<std::unique_ptr<EngineStack>> EngineStack::Create(const config::ServerConfig& config,
                                                                 const LoadedModel& model,
                                                                 const base::Clock* clock,
                                                                 base::Log* log) {
  const engine::LocalEngineOptions options = EngineOptions(config);
  RETURN_IF_ERROR(engine::Validate(options));
  std::unique_ptr<EngineStack> stack(new EngineStack(options, log));

  kernels::PagedKv kv = KvLayout(model, KvDTypeOf(config), options);
  ASSIGN_OR_RETURN(const memory::KvGeometry geometry,
                   memory::KvGeometry::Create({kv.layers, kv.block_tokens, kv.layer_block_bytes},
                                              stack->vmm_.granularity_bytes()));
  ASSIGN_OR_RETURN(
      stack->memory_,
      memory::KvMemory::Create(geometry, MemoryOptions(options, *model.llama), &stack->vmm_));
  memory::KvMemory& memory = *stack->memory_;
  kv.base = memory.base();
  kv.blocks_per_page = geometry.blocks_per_page();

  stack->runner_ = std::make_unique<engine::ModelStepRunner>(
      model.llama.get(), clock, kv,
      engine::LaneResources{&stack->prefill_stream_, memory.workspace(0).base(),
                            memory.workspace(0).bytes_max()},
      engine::LaneResources{&stack->decode_stream_, memory.workspace(1).base(),
                            memory.workspace(1).bytes_max()});
  engine::EngineParts parts;
  parts.clock = clock;
  parts.log = log;
  parts.vmm = &stack->vmm_;
  parts.memory = &memory;
  parts.runner = stack->runner_.get();
  parts.policy = &stack->policy_;
  parts.limits.vocabulary_size = model.llama->config().vocab;
  parts.limits.context_tokens_max = model.llama->config().context_tokens;
  parts.limits.end_ids = model.codec->tokenizer().eos_ids();
  ASSIGN_OR_RETURN(stack->engine_, engine::LocalEngine::Create(options, parts));
  stack->threads_ = std::make_unique<engine::EngineThreads>(stack->engine_.get());
  return stack;
}

EngineStack::~EngineStack() {
  threads_.reset();
  if (engine_ == nullptr) return;
  if (const absl::Status status = engine_->Shutdown(); !status.ok()) {
    log_->Write("memory_not_returned", {{"reason", std::string(status.message())}});
  }
}

}  // namespace ebb::server

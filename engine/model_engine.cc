#include "engine/model_engine.h"

#include <string>
#include <utility>

#include "base/status_macros.h"
#include "kernels/paged_kv.h"
#include "memory/kv_geometry.h"

namespace ebb::engine {
namespace {

constexpr int32_t kDefaultBlockTokens = 16;

memory::KvMemory::Options MemoryOptionsOf(const LocalEngineOptions& options,
                                          const model::LlamaModel& model) {
  const auto workspace_bytes = [&](Lane lane) {
    const StepShape shape = LargestStep(options, lane);
    return static_cast<int64_t>(model.WorkspaceBytes(shape.row_count, shape.logits_row_count));
  };
  memory::KvMemory::Options memory;
  memory.ceiling_bytes = options.memory.ceiling_bytes;
  memory.limit_bytes = options.memory.limit_bytes;
  memory.headroom_bytes = options.memory.headroom_bytes;
  memory.idle_after = options.memory.idle;
  memory.shrink.windows_kept = options.memory.shrink_windows;
  memory.shrink.after = options.memory.shrink_after;
  memory.shrink.pages_at_once = options.memory.shrink_pages_max;
  memory.prepare_ahead_pages = options.memory.prepared_pages;
  memory.workspaces = {{"workspace.prefill", workspace_bytes(Lane::kPrefill)},
                       {"workspace.decode", workspace_bytes(Lane::kDecode)}};
  return memory;
}

kernels::PagedKv PagedKvOf(const memory::KvMemory& memory, const model::ModelConfig& config,
                           kernels::DType dtype) {
  const memory::KvGeometry& geometry = memory.geometry();
  kernels::PagedKv kv;
  kv.base = memory.base();
  kv.dtype = dtype;
  kv.layers = config.layers;
  kv.kv_heads = config.kv_heads;
  kv.head_dim = config.head_dim;
  kv.block_tokens = geometry.block_tokens();
  kv.blocks_per_page = geometry.blocks_per_page();
  kv.layer_block_bytes = geometry.layer_block_bytes();
  return kv;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelEngine>> ModelEngine::Create(const LocalEngineOptions& options,
                                                                 const ModelEngineParts& parts) {
  RETURN_IF_ERROR(Validate(options));
  const model::ModelConfig& config = parts.model->config();
  memory::KvShape shape;
  shape.layers = config.layers;
  shape.block_tokens =
      options.memory.block_tokens == 0 ? kDefaultBlockTokens : options.memory.block_tokens;
  shape.layer_block_bytes = kernels::PagedKv::LayerBlockBytes(parts.kv_dtype, config.kv_heads,
                                                              config.head_dim, shape.block_tokens);
  ASSIGN_OR_RETURN(const memory::KvGeometry geometry,
                   memory::KvGeometry::Create(shape, parts.vmm->granularity_bytes()));
  std::unique_ptr<ModelEngine> self(new ModelEngine(parts.log));
  ASSIGN_OR_RETURN(self->memory_, memory::KvMemory::Create(
                                      geometry, MemoryOptionsOf(options, *parts.model), parts.vmm));
  self->prefill_stream_ = std::make_unique<device::HostStream>();
  self->decode_stream_ = std::make_unique<device::HostStream>();
  const auto resources = [&](Lane lane, device::Stream* stream) {
    memory::Workspace& workspace = self->memory_->workspace(static_cast<int>(lane));
    return LaneResources{stream, workspace.base(), workspace.bytes_max()};
  };
  self->runner_ = std::make_unique<ModelStepRunner>(
      parts.model, parts.clock, PagedKvOf(*self->memory_, config, parts.kv_dtype),
      resources(Lane::kPrefill, self->prefill_stream_.get()),
      resources(Lane::kDecode, self->decode_stream_.get()));
  EngineParts engine;
  engine.clock = parts.clock;
  engine.log = parts.log;
  engine.vmm = parts.vmm;
  engine.memory = self->memory_.get();
  engine.runner = self->runner_.get();
  engine.policy = parts.policy;
  engine.limits = {config.vocab, config.context_tokens, parts.end_ids};
  ASSIGN_OR_RETURN(self->engine_, LocalEngine::Create(options, engine));
  self->threads_ = std::make_unique<EngineThreads>(self->engine_.get());
  return self;
}

ModelEngine::~ModelEngine() {
  threads_.reset();
  if (engine_ == nullptr) return;
  // A step's result may have been taken while its stream was still on the way to say so: nobody may
  // be left who wakes an actor of the engine.
  for (const auto& stream : {prefill_stream_.get(), decode_stream_.get()}) {
    stream->Wait(stream->submitted());
  }
  // What the device refuses to take back stays quarantined until the process ends.
  if (const absl::Status status = engine_->Shutdown(); !status.ok()) {
    log_->Write("memory_not_returned", {{"reason", std::string(status.message())}});
  }
}

}  // namespace ebb::engine

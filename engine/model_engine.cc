#include "engine/model_engine.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "engine/kv_memory_options.h"
#include "engine/lanes.h"
#include "kernels/paged_kv.h"
#include "memory/kv_geometry.h"

namespace ebb::engine {
namespace {

constexpr int32_t kDefaultBlockTokens = 16;

memory::KvMemory::Options MemoryOptionsOf(const LocalEngineOptions& options,
                                          const StepRunnerFactory& runners) {
  memory::KvMemory::Options memory = KvMemoryOptionsFrom(options);
  const Lanes lanes(options.queue.queues);
  for (const Lane lane : lanes.all()) {
    memory.workspaces.push_back(
        {absl::StrCat("workspace.", memory::WindowQueueName(lanes.queue(lane))),
         runners.WorkspaceBytesMax(options, lane)});
  }
  return memory;
}

kernels::PagedKv PagedKvOf(const memory::KvMemory& memory, const StepRunnerFactory& runners) {
  const memory::KvGeometry& geometry = memory.geometry();
  kernels::PagedKv kv;
  kv.base = memory.base();
  kv.dtype = runners.kv_dtype();
  kv.layers = runners.config().layers;
  kv.kv_heads = runners.config().kv_heads;
  kv.head_dim = runners.config().head_dim;
  kv.block_tokens = geometry.block_tokens();
  kv.blocks_per_page = geometry.blocks_per_page();
  kv.layer_block_bytes = geometry.layer_block_bytes();
  return kv;
}

StepRunnerPlace PlaceIn(memory::KvMemory* memory, const Lanes& lanes,
                        const StepRunnerFactory& runners) {
  StepRunnerPlace place;
  place.kv = PagedKvOf(*memory, runners);
  for (const Lane lane : lanes.all()) {
    memory::Workspace& workspace = memory->workspace(lanes.index(lane));
    (lane == Lane::kPrefill ? place.prefill : place.decode) = {workspace.base(),
                                                               workspace.bytes_max()};
  }
  return place;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelEngine>> ModelEngine::Create(
    const LocalEngineOptions& given_options, const ModelEngineParts& parts) {
  RETURN_IF_ERROR(Validate(given_options));
  LocalEngineOptions options = given_options;
  if (options.memory.block_tokens == 0) options.memory.block_tokens = kDefaultBlockTokens;
  const StepRunnerFactory& runners = *parts.runners;
  const model::ModelConfig& config = runners.config();
  memory::KvShape shape;
  shape.layers = config.layers;
  shape.block_tokens = options.memory.block_tokens;
  shape.layer_block_bytes = kernels::PagedKv::LayerBlockBytes(runners.kv_dtype(), config.kv_heads,
                                                              config.head_dim, shape.block_tokens);
  ASSIGN_OR_RETURN(
      const memory::KvGeometry geometry,
      memory::KvGeometry::Create(shape, parts.vmm->granularity_bytes(), parts.blocks_per_page));
  std::unique_ptr<ModelEngine> self(new ModelEngine(parts.log));
  ASSIGN_OR_RETURN(self->memory_, memory::KvMemory::Create(
                                      geometry, MemoryOptionsOf(options, runners), parts.vmm));
  ASSIGN_OR_RETURN(
      self->runner_,
      runners.Make(options, PlaceIn(self->memory_.get(), Lanes(options.queue.queues), runners)));
  if (options.memory.swap_bytes_max > 0) RETURN_IF_ERROR(self->OpenSwap(options, parts));
  EngineParts engine;
  engine.clock = parts.clock;
  engine.log = parts.log;
  engine.vmm = parts.vmm;
  engine.memory = self->memory_.get();
  engine.runner = self->runner_.get();
  engine.policy = parts.policy;
  engine.sharing = parts.sharing;
  engine.kv_identity = parts.kv_identity;
  engine.swapper = self->swapper_.get();
  engine.limits = {config.vocab, config.context_tokens, parts.end_ids};
  ASSIGN_OR_RETURN(self->engine_, LocalEngine::Create(options, engine));
  self->threads_ = std::make_unique<EngineThreads>(self->engine_.get());
  return self;
}

absl::Status ModelEngine::OpenSwap(const LocalEngineOptions& options,
                                   const ModelEngineParts& parts) {
  ASSIGN_OR_RETURN(copier_,
                   parts.runners->MakeCopier(options, PagedKvOf(*memory_, *parts.runners)));
  swap_stream_ = std::make_unique<device::HostStream>();
  swapper_ = std::make_unique<KvSwapper>(copier_.get(), swap_stream_.get(), parts.clock);
  return absl::OkStatus();
}

ModelEngine::~ModelEngine() {
  threads_.reset();
  if (engine_ == nullptr) return;
  // A step's result may have been taken while its stream was still on the way to say so: nobody may
  // be left who wakes an actor of the engine.
  runner_->WaitIdle();
  if (swapper_ != nullptr) swapper_->WaitIdle();
  // What the device refuses to take back stays quarantined until the process ends.
  if (const absl::Status status = engine_->Shutdown(); !status.ok()) {
    log_->Write("memory_not_returned", {{"reason", std::string(status.message())}});
  }
}

}  // namespace ebb::engine

// The parts of a small engine over fakes: blocks of 4 tokens, pages of 16, a model of two layers.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "device/vmm_fake.h"
#include "engine/lanes.h"
#include "engine/options.h"
#include "engine/step_runner_fake.h"
#include "kernels/paged_kv.h"
#include "memory/kv_geometry.h"
#include "memory/kv_memory.h"

namespace ebb::engine {

inline memory::KvGeometry SmallGeometry(int64_t granularity_bytes) {
  const memory::KvShape shape{2, 4,
                              kernels::PagedKv::LayerBlockBytes(kernels::DType::kF32, 1, 2, 4)};
  return *memory::KvGeometry::Create(shape, granularity_bytes, 4);
}

// A device of so much memory, which the runner reads and writes.
inline device::FakeVmm::Options SmallVmm(int64_t granularity_bytes, int64_t capacity_bytes) {
  device::FakeVmm::Options options;
  options.granularity_bytes = granularity_bytes;
  options.capacity_bytes = capacity_bytes;
  options.backed = true;
  return options;
}

// Bounds and idle time of the engine's options, and a workspace of this size for each lane.
inline memory::KvMemory::Options SmallMemory(const LocalEngineOptions& options,
                                             int64_t workspace_bytes) {
  memory::KvMemory::Options memory;
  memory.ceiling_bytes = options.memory.ceiling_bytes;
  memory.limit_bytes = options.memory.limit_bytes;
  memory.idle_after = options.memory.idle;
  memory.workspaces.assign(Lanes(options.queue.queues).all().size(),
                           {"workspace", workspace_bytes});
  return memory;
}

// Keys and values in this memory, of SmallGeometry.
inline kernels::PagedKv SmallKv(memory::KvMemory* memory) {
  return {
      memory->base(), kernels::DType::kF32, 2, 1, 2, 4, 4, memory->geometry().layer_block_bytes()};
}

// A runner in this memory, of SmallGeometry, on two streams: prefill's and decode's.
template <typename Stream>
FakeStepRunner::Options SmallRunner(memory::KvMemory* memory, Stream (&streams)[2],
                                    device::FakeVmm* vmm, const base::Clock* clock,
                                    int32_t vocabulary_size, Queues queues = Queues::kSeparate) {
  FakeStepRunner::Options runner;
  runner.kv = SmallKv(memory);
  const Lanes lanes(queues);
  for (const Lane lane : lanes.all()) {
    runner.workspace_base[static_cast<int>(lane)] = memory->workspace(lanes.index(lane)).base();
  }
  for (int stream = 0; stream < 2; ++stream) runner.stream[stream] = &streams[stream];
  runner.vmm = vmm;
  runner.clock = clock;
  runner.vocabulary_size = vocabulary_size;
  return runner;
}

}  // namespace ebb::engine

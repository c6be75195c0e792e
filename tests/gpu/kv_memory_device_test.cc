// The whole of memory on a CUDA device: what is held is what the device has given, and blocks keep
// what kernels wrote while pages come and go. By default on the fake library; on a device with
// EBB_CUDA_LIBRARY=libebb_cuda.so in the environment.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/clock_fake.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "device/cuda/cuda_device.h"
#include "device/cuda/cuda_library.h"
#include "device/cuda/cuda_stream.h"
#include "device/cuda/cuda_vmm.h"
#include "device/launch_gate.h"
#include "device/vmm_gated.h"
#include "gtest/gtest.h"
#include "kernels/cuda/library/fake_api.h"
#include "memory/kv_memory.h"
#include "memory/page_keeper.h"

namespace ebb::memory {
namespace {

constexpr AccountId kDecode = AccountId::kDecode;

std::unique_ptr<device::CudaLibrary> LoadLibrary() {
  const char* const path = std::getenv("EBB_CUDA_LIBRARY");
  if (path == nullptr) return std::make_unique<device::CudaLibrary>(EbbCudaFakeApi());
  return device::CudaLibrary::Load(path).value();
}

// SEED=n in the environment replays a run.
uint64_t TestSeed(uint64_t otherwise) {
  const char* const given = std::getenv("SEED");
  const uint64_t seed = given == nullptr ? otherwise : std::strtoull(given, nullptr, 10);
  std::cout << "SEED=" << seed << "\n";
  return seed;
}

class KvMemoryDeviceTest : public testing::Test {
 protected:
  KvMemoryDeviceTest()
      : library_(LoadLibrary()),
        device_(device::CudaDevice::Open(library_.get(), 0).value()),
        vmm_(device::CudaVmm::Create(device_.get()).value()),
        stream_(device::CudaStream::Create(device_.get(), {}).value()) {}

  const EbbCudaApi& api() const { return device_->api(); }
  void Expect(int32_t code) const { ASSERT_EQ(code, EBB_CUDA_OK) << api().error_text(); }

  // Pages of one granule: 2 layers, some padding.
  KvGeometry Geometry() const {
    const int64_t granularity = vmm_->granularity_bytes();
    const int64_t layer_block_bytes = granularity / 16;
    return KvGeometry::Create({2, 16, layer_block_bytes}, granularity, 7).value();
  }
  KvMemory::Options Options(int64_t pages) const {
    KvMemory::Options options;
    options.ceiling_bytes = pages * Geometry().page_bytes();
    options.limit_bytes = options.ceiling_bytes;
    options.idle_after = absl::ZeroDuration();
    options.shrink.after = absl::ZeroDuration();
    options.shrink.windows_kept = 1;
    return options;
  }

  // Queues random numbers that (seed, index) fix for one layer's part of a block.
  void Write(const KvMemory& memory, int32_t layer, int32_t index, uint64_t seed) const {
    EbbCudaFillRandom op = {};
    op.out = reinterpret_cast<uint16_t*>(PartOf(memory, layer, index));
    op.count = memory.geometry().layer_block_bytes() / 2;
    op.first_index = static_cast<uint64_t>(index) << 20;
    op.seed = seed;
    op.scale = 1;
    Expect(api().fill_random(stream_->native(), &op));
  }
  std::vector<uint16_t> Read(const uint8_t* from, int64_t bytes) const {
    std::vector<uint16_t> numbers(static_cast<size_t>(bytes / 2));
    Expect(api().copy_to_host(stream_->native(), numbers.data(), from, bytes));
    Expect(api().stream_synchronize(stream_->native()));
    return numbers;
  }
  uint8_t* PartOf(const KvMemory& memory, int32_t layer, int32_t index) const {
    const KvGeometry& geometry = memory.geometry();
    return memory.base() +
           (int64_t{layer} * geometry.blocks_per_page() + index) * geometry.layer_block_bytes();
  }

  const std::unique_ptr<device::CudaLibrary> library_;
  const std::unique_ptr<device::CudaDevice> device_;
  const std::unique_ptr<device::CudaVmm> vmm_;
  const std::unique_ptr<device::CudaStream> stream_;
};

void Want(KvMemory* memory, int64_t blocks) {
  memory->OnBoundary();
  WindowPlan plan;
  plan.grant_blocks = blocks;
  memory->OpenWindow(kDecode, plan);
}

TEST_F(KvMemoryDeviceTest, TheDevicesFreeMemoryFollowsWhatIsHeld) {
  base::FakeClock clock;
  base::Mutex mutex;
  const auto memory = KvMemory::Create(Geometry(), Options(64), vmm_.get()).value();
  PageKeeper keeper({}, memory.get(), vmm_.get(), &clock, &mutex);
  const auto settle = [&] {
    while (keeper.RunOnce().progressed) {
    }
  };
  settle();
  const int64_t free_before = vmm_->FreeBytes().value();
  Want(memory.get(), 40 * 7);
  settle();
  const int64_t held = memory->held_bytes();
  EXPECT_EQ(held, 40 * Geometry().page_bytes());
  // The driver may round up, and give a little to itself.
  constexpr int64_t kOthersBytes = int64_t{32} << 20;
  EXPECT_LE(vmm_->FreeBytes().value(), free_before - held);
  EXPECT_GE(vmm_->FreeBytes().value(), free_before - held - kOthersBytes);
  memory->CloseWindow(kDecode);
  settle();
  EXPECT_EQ(memory->held_bytes(), 0);
  EXPECT_GE(vmm_->FreeBytes().value(), free_before - kOthersBytes);
  EXPECT_TRUE(keeper.Shutdown().ok());
}

// A loop that writes blocks by kernels and reads them back, and the keeper in a thread of its own,
// which maps and unmaps pages only while no step runs, as the server's default has it.
TEST_F(KvMemoryDeviceTest, BlocksKeepWhatKernelsWroteWhilePagesComeAndGo) {
  base::Rng rng(TestSeed(1));
  base::RealClock clock;
  base::Mutex mutex;
  device::LaunchGate gate;
  device::GatedVmm gated(vmm_.get(), &gate);
  const KvGeometry geometry = Geometry();
  const auto memory = KvMemory::Create(geometry, Options(32), &gated).value();
  const Readers::Id reader = memory->readers().Add("decode");
  PageKeeper keeper({}, memory.get(), &gated, &clock, &mutex);
  base::CondVar kept;  // A pass of the keeper is over.
  std::atomic<bool> stop = false;
  std::thread keeping([&] {
    while (!stop) {
      keeper.RunOnce();
      base::MutexLock lock(&mutex);
      kept.SignalAll();
    }
  });
  const int64_t part_bytes = geometry.layer_block_bytes();
  int64_t mapped_max = 0;
  for (uint64_t round = 0; round < 40 && !HasFatalFailure(); ++round) {
    BlockTable table = memory->NewTable(kDecode);
    const int64_t blocks = rng.Between(1, 32 * 7);
    uint64_t ticket = 0;
    {
      base::MutexLock lock(&mutex);
      Want(memory.get(), blocks);
      while (memory->accounts().TopUp(kDecode) < blocks) kept.Wait(&mutex);
      EXPECT_TRUE(table.TryExtendTo(blocks * geometry.block_tokens()));
      ticket = memory->readers().Submit(reader);
      mapped_max = std::max(mapped_max, memory->held_bytes());
    }
    gate.BeginLaunch();
    std::vector<int32_t> indices(table.indices().begin(), table.indices().end());
    const std::vector<int32_t> tried = {indices.front(), indices.back(),
                                        indices[indices.size() / 2]};
    for (const int32_t layer : {0, 1}) {
      for (const int32_t index : tried) {
        Write(*memory, layer, index, round * 2 + static_cast<uint64_t>(layer));
      }
    }
    for (const int32_t layer : {1, 0}) {
      for (const int32_t index : tried) {
        const std::vector<uint16_t> got = Read(PartOf(*memory, layer, index), part_bytes);
        Write(*memory, layer, index, round * 2 + static_cast<uint64_t>(layer));
        EXPECT_EQ(got, Read(PartOf(*memory, layer, index), part_bytes))
            << "round " << round << ", layer " << layer << ", index " << index;
      }
    }
    gate.EndLaunch();
    base::MutexLock lock(&mutex);
    memory->readers().Complete(reader, ticket);
    table.ShrinkTo(0);
    memory->CloseWindow(kDecode);
  }
  stop = true;
  keeping.join();
  EXPECT_GT(mapped_max, geometry.page_bytes());
  EXPECT_TRUE(keeper.Shutdown().ok());
  EXPECT_EQ(memory->held_bytes(), 0);
}

}  // namespace
}  // namespace ebb::memory

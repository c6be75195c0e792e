#include "bench/gpu/driver_costs.h"

#include <algorithm>
#include <chrono>

#include "device/address_range.h"

namespace ebb::bench {
namespace {

using device::VmmHandle;

template <typename Call>
void Time(std::vector<double>* us, const Call& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  us->push_back(
      std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
}

}  // namespace

std::vector<CallCost> MeasureCalls(Gpu* gpu, device::CudaVmm* vmm, int64_t bytes, int32_t pieces,
                                   int rounds) {
  if (ValueOrDie(gpu->device().FreeBytes()) / 2 < bytes * pieces) return {};
  const device::AddressRange range = ValueOrDie(device::AddressRange::Reserve(vmm, bytes * pieces));
  std::vector<double> create, map, open_one, open_all, unmap, release;
  for (int round = 0; round < 2 * rounds; ++round) {
    const bool one_by_one = round % 2 == 0;
    std::vector<VmmHandle> handles(static_cast<size_t>(pieces));
    for (VmmHandle& handle : handles) {
      Time(&create, [&] { handle = ValueOrDie(vmm->Create(bytes)); });
    }
    for (int32_t i = 0; i < pieces; ++i) {
      Time(&map, [&] { OrDie(vmm->Map(range.base() + i * bytes, bytes, handles[i])); });
    }
    if (one_by_one) {
      for (int32_t i = 0; i < pieces; ++i) {
        Time(&open_one, [&] { OrDie(vmm->SetAccess(range.base() + i * bytes, bytes)); });
      }
    } else {
      Time(&open_all, [&] { OrDie(vmm->SetAccess(range.base(), range.bytes())); });
    }
    for (int32_t i = 0; i < pieces; ++i) {
      Time(&unmap, [&] { OrDie(vmm->Unmap(range.base() + i * bytes, bytes)); });
    }
    for (const VmmHandle handle : handles) Time(&release, [&] { OrDie(vmm->Release(handle)); });
  }
  std::vector<CallCost> costs;
  for (auto& [call, us] : {std::pair{"create", &create},
                           {"map", &map},
                           {"set_access", &open_one},
                           {"set_access of all", &open_all},
                           {"unmap", &unmap},
                           {"release", &release}}) {
    std::sort(us->begin(), us->end());
    costs.push_back({call, bytes, pieces, std::move(*us)});
  }
  return costs;
}

CallCost MeasureMemoryInfo(device::CudaVmm* vmm, int rounds) {
  CallCost cost;
  cost.call = "memory_info";
  for (int i = 0; i < rounds; ++i) Time(&cost.us, [&] { OrDie(vmm->FreeBytes().status()); });
  std::sort(cost.us.begin(), cost.us.end());
  return cost;
}

std::vector<CallCost> MeasureWaits(Gpu* gpu, int rounds) {
  const device::CudaBuffer buffer = gpu->Alloc(256);
  device::CudaEvent event = ValueOrDie(device::CudaEvent::Create(&gpu->device()));
  const auto queue = [&] {
    gpu->Check(gpu->api().fill_bytes(gpu->stream(), buffer.data(), 0, buffer.bytes()));
    OrDie(event.Record(gpu->stream()));
  };
  CallCost sleeping, polling;
  sleeping.call = "wait, sleeping";
  polling.call = "wait, polling";
  for (int i = 0; i < rounds; ++i) {
    Time(&sleeping.us, [&] {
      queue();
      OrDie(event.Wait());
    });
    Time(&polling.us, [&] {
      queue();
      while (!ValueOrDie(event.Done())) {
      }
    });
  }
  std::sort(sleeping.us.begin(), sleeping.us.end());
  std::sort(polling.us.begin(), polling.us.end());
  return {sleeping, polling};
}

}  // namespace ebb::bench

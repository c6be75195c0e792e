#include "tests/sim/faults.h"

namespace ebb::sim {
namespace {

constexpr const char* kFaultNames[kFaultCount] = {
    "create fails",     "map fails",     "set_access fails", "unmap fails", "release fails",
    "free_bytes fails", "thief",         "slow call",        "step fails",  "step abandoned",
    "device lost",      "limit moved",   "limit awaited",    "cancel",      "drain",
    "swap out fails",   "swap in fails", "swap room fails"};

constexpr struct {
  Fault fault;
  device::VmmCall call;
} kCalls[] = {{Fault::kCreateFails, device::VmmCall::kCreate},
              {Fault::kMapFails, device::VmmCall::kMap},
              {Fault::kSetAccessFails, device::VmmCall::kSetAccess},
              {Fault::kUnmapFails, device::VmmCall::kUnmap},
              {Fault::kReleaseFails, device::VmmCall::kRelease},
              {Fault::kFreeBytesFails, device::VmmCall::kFreeBytes}};

}  // namespace

const char* FaultName(Fault fault) { return kFaultNames[static_cast<int>(fault)]; }

FaultCounts Faults::counts() const {
  FaultCounts counts = counts_;
  for (const auto& [fault, call] : kCalls) {
    counts[static_cast<int>(fault)] = vmm_->failed_count(call);
  }
  return counts;
}

}  // namespace ebb::sim

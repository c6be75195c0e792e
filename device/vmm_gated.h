// GatedVmm: a Vmm that edits addresses only while no work runs.
//
// Mapping beside running kernels is said to be safe by no driver's documentation, and has been seen
// to end one (kvcached, pull request 465: unmapping and mapping beside work on a V100). So pages
// are made ahead beside the work, and mapped and unmapped at moments when all streams are idle.
#pragma once

#include "device/launch_gate.h"
#include "device/vmm.h"

namespace ebb::device {

// As thread-safe as the Vmm inside, but only one thread edits. Both outlive it.
class GatedVmm final : public Vmm {
 public:
  GatedVmm(Vmm* vmm, LaunchGate* gate) : vmm_(vmm), gate_(gate) {}

  int64_t granularity_bytes() const override { return vmm_->granularity_bytes(); }
  absl::StatusOr<uint8_t*> Reserve(int64_t bytes) override { return vmm_->Reserve(bytes); }
  absl::Status Free(uint8_t* address, int64_t bytes) override { return vmm_->Free(address, bytes); }
  absl::StatusOr<VmmHandle> Create(int64_t bytes) override { return vmm_->Create(bytes); }
  absl::Status Map(uint8_t* address, int64_t bytes, VmmHandle handle) override {
    return vmm_->Map(address, bytes, handle);
  }
  absl::Status SetAccess(uint8_t* address, int64_t bytes) override {
    return vmm_->SetAccess(address, bytes);
  }
  absl::Status Unmap(uint8_t* address, int64_t bytes) override {
    return vmm_->Unmap(address, bytes);
  }
  absl::Status Release(VmmHandle handle) override { return vmm_->Release(handle); }
  absl::StatusOr<int64_t> FreeBytes() override { return vmm_->FreeBytes(); }

  void BeginEdits() override { gate_->Close(); }
  void EndEdits() override { gate_->Open(); }

 private:
  Vmm* const vmm_;
  LaunchGate* const gate_;
};

}  // namespace ebb::device

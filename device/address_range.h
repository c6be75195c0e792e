// AddressRange: reserved addresses that are freed with their owner.
#pragma once

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "device/vmm.h"

namespace ebb::device {

// Move-only. The Vmm outlives it. Thread-compatible.
class AddressRange {
 public:
  // An empty range.
  AddressRange() = default;
  // Reserves `bytes`, a positive multiple of the granularity.
  static absl::StatusOr<AddressRange> Reserve(Vmm* vmm, int64_t bytes) {
    ASSIGN_OR_RETURN(uint8_t* const base, vmm->Reserve(bytes));
    return AddressRange(vmm, base, bytes);
  }
  // REQUIRES: nothing is mapped in it.
  ~AddressRange() {
    if (vmm_ != nullptr) CHECK_OK(vmm_->Free(base_, bytes_));
  }
  AddressRange(AddressRange&& other) noexcept { *this = std::move(other); }
  AddressRange& operator=(AddressRange&& other) noexcept {
    std::swap(vmm_, other.vmm_);
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  uint8_t* base() const { return base_; }
  int64_t bytes() const { return bytes_; }

  // Leaves the addresses reserved for the rest of the process's life: for a range in which a
  // mapping is stuck, so that nobody else is ever given these addresses.
  void Abandon() { vmm_ = nullptr; }

 private:
  AddressRange(Vmm* vmm, uint8_t* base, int64_t bytes) : vmm_(vmm), base_(base), bytes_(bytes) {}

  Vmm* vmm_ = nullptr;
  uint8_t* base_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace ebb::device

#include "device/vmm_fake.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "device/device_lost.h"

namespace ebb::device {
namespace {

constexpr const char* kCallNames[kVmmCallCount] = {"Reserve",   "Free",  "Create",  "Map",
                                                   "SetAccess", "Unmap", "Release", "FreeBytes"};

// Whether [a, a + a_bytes) and [b, b + b_bytes) meet.
bool Overlap(const uint8_t* a, int64_t a_bytes, const uint8_t* b, int64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

// Addresses with real pages behind them, without access, aligned to `alignment`.
uint8_t* ReserveBacked(int64_t bytes, int64_t alignment) {
  void* const raw = mmap(nullptr, bytes + alignment, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(raw != MAP_FAILED);
  uint8_t* const start = static_cast<uint8_t*>(raw);
  const int64_t head = (alignment - reinterpret_cast<uintptr_t>(start) % alignment) % alignment;
  if (head > 0) munmap(start, head);
  munmap(start + head + bytes, alignment - head);
  return start + head;
}

}  // namespace

FakeVmm::FakeVmm(Options options) : options_(options) {
  CHECK_GT(options_.granularity_bytes, 0);
  CHECK_EQ(options_.granularity_bytes & (options_.granularity_bytes - 1), 0);
}

FakeVmm::~FakeVmm() {
  base::MutexLock lock(&mutex_);
  CHECK(uses_.empty()) << uses_.size() << " uses are left";
  CHECK(mappings_.empty()) << mappings_.size() << " mappings are left";
  CHECK(memory_.empty()) << memory_.size() << " handles are left";
  CHECK(ranges_.empty()) << ranges_.size() << " ranges are left";
  CHECK_EQ(created_bytes_, 0);
}

absl::StatusOr<uint8_t*> FakeVmm::Reserve(int64_t bytes) {
  RETURN_IF_ERROR(Enter(VmmCall::kReserve));
  CheckAligned(nullptr, bytes);
  base::MutexLock lock(&mutex_);
  uint8_t* address = nullptr;
  if (options_.backed) {
    address = ReserveBacked(bytes, options_.granularity_bytes);
  } else {
    // Addresses of nothing: they are only compared.
    address = reinterpret_cast<uint8_t*>(next_address_);  // NOLINT(performance-no-int-to-ptr)
    // One granule between ranges: running over an end never lands in the next range.
    next_address_ += bytes + options_.granularity_bytes;
  }
  ranges_[address] = bytes;
  return address;
}

absl::Status FakeVmm::Free(uint8_t* address, int64_t bytes) {
  RETURN_IF_ERROR(Enter(VmmCall::kFree));
  base::MutexLock lock(&mutex_);
  const auto range = ranges_.find(address);
  CHECK(range != ranges_.end() && range->second == bytes) << "not a reserved range";
  for (const auto& [start, mapping] : mappings_) {
    CHECK(!Overlap(address, bytes, start, mapping.bytes)) << "freed while mapped";
  }
  if (options_.backed) munmap(address, bytes);
  ranges_.erase(range);
  return absl::OkStatus();
}

absl::StatusOr<VmmHandle> FakeVmm::Create(int64_t bytes) {
  RETURN_IF_ERROR(Enter(VmmCall::kCreate));
  CheckAligned(nullptr, bytes);
  base::MutexLock lock(&mutex_);
  if (bytes > options_.capacity_bytes - created_bytes_ - peer_bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the fake device is full: ", bytes, " bytes are asked for"));
  }
  created_bytes_ += bytes;
  memory_[next_handle_].bytes = bytes;
  return next_handle_++;
}

absl::Status FakeVmm::Map(uint8_t* address, int64_t bytes, VmmHandle handle) {
  RETURN_IF_ERROR(Enter(VmmCall::kMap));
  CheckAligned(address, bytes);
  base::MutexLock lock(&mutex_);
  const auto memory = memory_.find(handle);
  CHECK(memory != memory_.end() && !memory->second.released) << "no handle " << handle;
  CHECK(!memory->second.mapped) << "handle " << handle << " is mapped already";
  CHECK_EQ(memory->second.bytes, bytes);
  auto range = ranges_.upper_bound(address);
  CHECK(range != ranges_.begin()) << "not reserved";
  --range;
  CHECK(address + bytes <= range->first + range->second) << "not reserved";
  for (const auto& [start, mapping] : mappings_) {
    CHECK(!Overlap(address, bytes, start, mapping.bytes)) << "mapped already";
  }
  CheckUnused(address, bytes);
  mappings_[address] = Mapping{bytes, handle, false};
  memory->second.mapped = true;
  return absl::OkStatus();
}

absl::Status FakeVmm::SetAccess(uint8_t* address, int64_t bytes) {
  RETURN_IF_ERROR(Enter(VmmCall::kSetAccess));
  CheckAligned(address, bytes);
  base::MutexLock lock(&mutex_);
  uint8_t* next = address;
  while (next < address + bytes) {
    const auto mapping = mappings_.find(next);
    CHECK(mapping != mappings_.end()) << "SetAccess of memory that is not mapped";
    if (!mapping->second.open && options_.backed) {
      CHECK_EQ(mprotect(next, mapping->second.bytes, PROT_READ | PROT_WRITE), 0);
      std::memset(next, 0xFF, mapping->second.bytes);
    }
    mapping->second.open = true;
    next += mapping->second.bytes;
  }
  CHECK_EQ(next, address + bytes) << "SetAccess of a part of a mapping";
  return absl::OkStatus();
}

absl::Status FakeVmm::Unmap(uint8_t* address, int64_t bytes) {
  RETURN_IF_ERROR(Enter(VmmCall::kUnmap));
  base::MutexLock lock(&mutex_);
  const auto mapping = mappings_.find(address);
  CHECK(mapping != mappings_.end()) << "Unmap of memory that is not mapped";
  CHECK_EQ(mapping->second.bytes, bytes) << "Unmap of a part of a mapping";
  CheckUnused(address, bytes);
  if (options_.backed) {
    CHECK_EQ(mprotect(address, bytes, PROT_NONE), 0);
    CHECK_EQ(madvise(address, bytes, MADV_DONTNEED), 0);
  }
  const VmmHandle handle = mapping->second.handle;
  mappings_.erase(mapping);
  memory_.at(handle).mapped = false;
  GiveBackIfGone(handle);
  return absl::OkStatus();
}

absl::Status FakeVmm::Release(VmmHandle handle) {
  RETURN_IF_ERROR(Enter(VmmCall::kRelease));
  base::MutexLock lock(&mutex_);
  const auto memory = memory_.find(handle);
  CHECK(memory != memory_.end() && !memory->second.released) << "no handle " << handle;
  memory->second.released = true;
  GiveBackIfGone(handle);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> FakeVmm::FreeBytes() {
  RETURN_IF_ERROR(Enter(VmmCall::kFreeBytes));
  base::MutexLock lock(&mutex_);
  return std::max<int64_t>(0, options_.capacity_bytes - created_bytes_ - peer_bytes_);
}

void FakeVmm::FailNth(VmmCall call, int64_t nth) {
  CHECK_GT(nth, 0);
  base::MutexLock lock(&mutex_);
  failures_[static_cast<int>(call)].in_calls = nth;
}

void FakeVmm::FailByChance(VmmCall call, double probability, uint64_t seed) {
  base::MutexLock lock(&mutex_);
  failures_[static_cast<int>(call)].probability = probability;
  failures_[static_cast<int>(call)].rng.emplace(seed);
}

void FakeVmm::StopFailing() {
  base::MutexLock lock(&mutex_);
  failures_ = {};
}

void FakeVmm::LoseDevice(const std::string& text) {
  base::MutexLock lock(&mutex_);
  loss_ = DeviceLostError(text);
}

void FakeVmm::SetBeforeCall(std::function<void(VmmCall)> before_call) {
  before_call_ = std::move(before_call);
}

void FakeVmm::SetPeerBytes(int64_t bytes) {
  base::MutexLock lock(&mutex_);
  peer_bytes_ = bytes;
}

uint64_t FakeVmm::BeginUse(const uint8_t* address, int64_t bytes) {
  base::MutexLock lock(&mutex_);
  CheckOpenLocked(address, bytes);
  uses_[next_use_] = Use{address, bytes};
  return next_use_++;
}

void FakeVmm::EndUse(uint64_t use) {
  base::MutexLock lock(&mutex_);
  CHECK_EQ(uses_.erase(use), 1u);
}

void FakeVmm::CheckOpen(const uint8_t* address, int64_t bytes) {
  base::MutexLock lock(&mutex_);
  CheckOpenLocked(address, bytes);
}

int64_t FakeVmm::created_bytes() const {
  base::MutexLock lock(&mutex_);
  return created_bytes_;
}

int64_t FakeVmm::mapped_bytes() const {
  base::MutexLock lock(&mutex_);
  int64_t bytes = 0;
  for (const auto& [start, mapping] : mappings_) bytes += mapping.bytes;
  return bytes;
}

int64_t FakeVmm::call_count(VmmCall call) const {
  base::MutexLock lock(&mutex_);
  return call_counts_[static_cast<int>(call)];
}

int64_t FakeVmm::failed_count(VmmCall call) const {
  base::MutexLock lock(&mutex_);
  return failed_counts_[static_cast<int>(call)];
}

absl::Status FakeVmm::Enter(VmmCall call) {
  if (before_call_) before_call_(call);
  base::MutexLock lock(&mutex_);
  ++call_counts_[static_cast<int>(call)];
  const bool takes_down =
      call == VmmCall::kUnmap || call == VmmCall::kRelease || call == VmmCall::kFree;
  if (!takes_down) RETURN_IF_ERROR(loss_);
  Failure& failure = failures_[static_cast<int>(call)];
  bool fails = failure.in_calls > 0 && --failure.in_calls == 0;
  if (failure.rng.has_value() && failure.rng->Chance(failure.probability)) fails = true;
  if (!fails) return absl::OkStatus();
  ++failed_counts_[static_cast<int>(call)];
  return absl::InternalError(
      absl::StrCat("injected failure of ", kCallNames[static_cast<int>(call)]));
}

void FakeVmm::CheckAligned(const uint8_t* address, int64_t bytes) const {
  CHECK_GT(bytes, 0);
  CHECK_EQ(bytes % options_.granularity_bytes, 0) << "not a multiple of the granularity";
  CHECK_EQ(reinterpret_cast<uintptr_t>(address) % options_.granularity_bytes, 0u)
      << "not a multiple of the granularity";
}

void FakeVmm::CheckUnused(const uint8_t* address, int64_t bytes) const {
  for (const auto& [id, use] : uses_) {
    CHECK(!Overlap(address, bytes, use.address, use.bytes)) << "work in flight touches the range";
  }
}

void FakeVmm::CheckOpenLocked(const uint8_t* address, int64_t bytes) const {
  const uint8_t* next = address;
  while (next < address + bytes) {
    auto mapping = mappings_.upper_bound(next);
    CHECK(mapping != mappings_.begin()) << "access to memory that is not mapped";
    --mapping;
    CHECK(next < mapping->first + mapping->second.bytes) << "access to memory that is not mapped";
    CHECK(mapping->second.open) << "access before SetAccess";
    next = mapping->first + mapping->second.bytes;
  }
}

void FakeVmm::GiveBackIfGone(VmmHandle handle) {
  const auto memory = memory_.find(handle);
  if (memory->second.mapped || !memory->second.released) return;
  created_bytes_ -= memory->second.bytes;
  memory_.erase(memory);
}

}  // namespace ebb::device

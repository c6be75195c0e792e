#include "device/cuda/fake/fake_cuda.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/fake/fake_stream.h"

namespace ebb::device {
namespace {

constexpr int64_t kAlignment = 256;

base::Mutex options_mutex;
FakeCudaOptions options_of_process ABSL_GUARDED_BY(options_mutex);

// Whether [memory, memory + bytes) lies in one entry of a map of starts to lengths.
template <typename Map>
bool Inside(const Map& map, const uint8_t* memory, int64_t bytes) {
  auto found = map.upper_bound(const_cast<uint8_t*>(memory));
  if (found == map.begin()) return false;
  --found;
  return memory + bytes <= found->first + found->second;
}

void* TakeMemory(int64_t bytes) {
  const int64_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* const memory = std::aligned_alloc(kAlignment, rounded);
  CHECK(memory != nullptr);
  std::memset(memory, 0xFF, rounded);
  return memory;
}

// FakeVmm's answers as codes.
int32_t CodeOf(const absl::Status& status) {
  if (status.ok()) return EBB_CUDA_OK;
  return SetError(absl::IsResourceExhausted(status) ? EBB_CUDA_OUT_OF_MEMORY : EBB_CUDA_INTERNAL,
                  std::string(status.message()));
}

}  // namespace

void SetFakeCudaOptions(const FakeCudaOptions& options) {
  base::MutexLock lock(&options_mutex);
  options_of_process = options;
}

FakeCudaOptions GetFakeCudaOptions() {
  base::MutexLock lock(&options_mutex);
  return options_of_process;
}

FakeCuda& FakeCuda::Of(EbbCudaContext* context) { return context->fake; }

FakeCuda::FakeCuda(const FakeCudaOptions& options, int32_t index)
    : options_(options),
      index_(index),
      vmm_({options.granularity_bytes, options.capacity_bytes, /*backed=*/true}),
      lose_in_launches_(options.lose_at_launch) {}

FakeCuda::~FakeCuda() {
  if (lost()) GiveUpVirtualMemory();
  base::MutexLock lock(&mutex_);
  CHECK(streams_.empty()) << streams_.size() << " streams are left";
  CHECK_EQ(object_count_, 0) << "events and graphs are left";
  CHECK(lost_ || allocs_.empty()) << allocs_.size() << " pieces of device memory are left";
  CHECK(lost_ || host_allocs_.empty()) << host_allocs_.size() << " pieces of host memory are left";
  for (const auto& [memory, bytes] : allocs_) std::free(const_cast<uint8_t*>(memory));
  for (const auto& [memory, bytes] : host_allocs_) std::free(const_cast<uint8_t*>(memory));
}

// A lost device refuses to give anything back; its virtual memory ends with it.
void FakeCuda::GiveUpVirtualMemory() {
  base::MutexLock lock(&mutex_);
  vmm_.StopFailing();
  for (const auto& [address, bytes] : mappings_) CHECK_OK(vmm_.Unmap(address, bytes));
  for (const uint64_t handle : handles_) CHECK_OK(vmm_.Release(handle));
  for (const auto& [address, bytes] : ranges_) CHECK_OK(vmm_.Free(address, bytes));
}

void FakeCuda::FailNth(FakeCudaCall call, int64_t nth) {
  CHECK_GT(nth, 0);
  base::MutexLock lock(&mutex_);
  fail_in_calls_[static_cast<int>(call)] = nth;
}

void FakeCuda::LoseAtLaunch(int64_t nth) {
  CHECK_GT(nth, 0);
  base::MutexLock lock(&mutex_);
  lose_in_launches_ = nth;
}

void FakeCuda::Lose() {
  lost_ = true;
  WakeStreams();
}

void FakeCuda::Hold(EbbCudaStream* stream) { stream->SetHeld(true); }
void FakeCuda::Release(EbbCudaStream* stream) { stream->SetHeld(false); }

void FakeCuda::SetPeerBytes(int64_t bytes) {
  base::MutexLock lock(&mutex_);
  peer_bytes_ = bytes;
  vmm_.SetPeerBytes(peer_bytes_ + alloc_bytes_);
}

int64_t FakeCuda::run_count() const {
  base::MutexLock lock(&mutex_);
  return run_count_;
}

int64_t FakeCuda::alloc_bytes() const {
  base::MutexLock lock(&mutex_);
  return alloc_bytes_;
}

int64_t FakeCuda::host_alloc_bytes() const {
  base::MutexLock lock(&mutex_);
  int64_t bytes = 0;
  for (const auto& [memory, size] : host_allocs_) bytes += size;
  return bytes;
}

int32_t FakeCuda::Enter() const {
  if (!lost()) return EBB_CUDA_OK;
  return SetError(EBB_CUDA_DEVICE_LOST, "the fake device is lost, as was asked for");
}

int32_t FakeCuda::Enter(FakeCudaCall call) {
  const int32_t code = Enter();
  if (code != EBB_CUDA_OK) return code;
  base::MutexLock lock(&mutex_);
  int64_t& in_calls = fail_in_calls_[static_cast<int>(call)];
  if (in_calls == 0 || --in_calls > 0) return EBB_CUDA_OK;
  const bool memory = call == FakeCudaCall::kAlloc || call == FakeCudaCall::kHostAlloc;
  return SetError(memory ? EBB_CUDA_OUT_OF_MEMORY : EBB_CUDA_INTERNAL, "injected failure");
}

bool FakeCuda::BeginRun() {
  {
    base::MutexLock lock(&mutex_);
    if (lost_) return false;
    if (lose_in_launches_ == 0 || --lose_in_launches_ > 0) {
      ++run_count_;
      return true;
    }
    lost_ = true;
  }
  WakeStreams();
  return false;
}

void FakeCuda::WakeStreams() {
  base::MutexLock lock(&mutex_);
  for (EbbCudaStream* const stream : streams_) stream->Wake();
}

int64_t FakeCuda::FreeBytesLocked() const {
  return std::max<int64_t>(
      0, options_.capacity_bytes - vmm_.created_bytes() - alloc_bytes_ - peer_bytes_);
}

int32_t FakeCuda::MemoryInfo(int64_t* free_bytes, int64_t* total_bytes) {
  const int32_t code = Enter();
  if (code != EBB_CUDA_OK) return code;
  const absl::StatusOr<int64_t> bytes = vmm_.FreeBytes();
  *free_bytes = bytes.ok() ? *bytes : 0;
  *total_bytes = options_.capacity_bytes;
  return CodeOf(bytes.status());
}

int32_t FakeCuda::Alloc(int64_t bytes, void** memory) {
  const int32_t code = Enter(FakeCudaCall::kAlloc);
  if (code != EBB_CUDA_OK) return code;
  base::MutexLock lock(&mutex_);
  if (bytes <= 0) return SetError(EBB_CUDA_INVALID_ARGUMENT, "alloc: no bytes are asked for");
  if (bytes > FreeBytesLocked()) {
    return SetError(EBB_CUDA_OUT_OF_MEMORY,
                    "the fake device is full: " + std::to_string(bytes) + " bytes are asked for");
  }
  *memory = TakeMemory(bytes);
  allocs_[static_cast<uint8_t*>(*memory)] = bytes;
  alloc_bytes_ += bytes;
  vmm_.SetPeerBytes(peer_bytes_ + alloc_bytes_);
  return EBB_CUDA_OK;
}

int32_t FakeCuda::Free(void* memory) {
  const int32_t code = Enter();
  if (code != EBB_CUDA_OK) return code;
  base::MutexLock lock(&mutex_);
  const auto found = allocs_.find(static_cast<uint8_t*>(memory));
  if (found == allocs_.end()) {
    return SetError(EBB_CUDA_INVALID_ARGUMENT, "free: not a piece of device memory");
  }
  alloc_bytes_ -= found->second;
  vmm_.SetPeerBytes(peer_bytes_ + alloc_bytes_);
  allocs_.erase(found);
  std::free(memory);
  return EBB_CUDA_OK;
}

int32_t FakeCuda::HostAlloc(int64_t bytes, void** memory) {
  const int32_t code = Enter(FakeCudaCall::kHostAlloc);
  if (code != EBB_CUDA_OK) return code;
  if (bytes <= 0) return SetError(EBB_CUDA_INVALID_ARGUMENT, "host_alloc: no bytes are asked for");
  *memory = TakeMemory(bytes);
  base::MutexLock lock(&mutex_);
  host_allocs_[static_cast<uint8_t*>(*memory)] = bytes;
  return EBB_CUDA_OK;
}

int32_t FakeCuda::HostFree(void* memory) {
  const int32_t code = Enter();
  if (code != EBB_CUDA_OK) return code;
  base::MutexLock lock(&mutex_);
  if (host_allocs_.erase(static_cast<uint8_t*>(memory)) == 0) {
    return SetError(EBB_CUDA_INVALID_ARGUMENT, "host_free: not a piece of pinned memory");
  }
  std::free(memory);
  return EBB_CUDA_OK;
}

bool FakeCuda::IsDeviceMemory(const void* memory, int64_t bytes) const {
  base::MutexLock lock(&mutex_);
  const auto* const start = static_cast<const uint8_t*>(memory);
  return Inside(allocs_, start, bytes) || Inside(ranges_, start, bytes);
}

bool FakeCuda::IsReserved(const void* memory) const {
  base::MutexLock lock(&mutex_);
  return Inside(ranges_, static_cast<const uint8_t*>(memory), 1);
}

void FakeCuda::AddStream(EbbCudaStream* stream) {
  base::MutexLock lock(&mutex_);
  streams_.insert(stream);
}

void FakeCuda::RemoveStream(EbbCudaStream* stream) {
  base::MutexLock lock(&mutex_);
  streams_.erase(stream);
}

std::set<EbbCudaStream*> FakeCuda::streams() const {
  base::MutexLock lock(&mutex_);
  return streams_;
}

void FakeCuda::CountObject(int change) {
  base::MutexLock lock(&mutex_);
  object_count_ += change;
}

// ---- virtual memory: FakeVmm's answers, and a list of what would be left on a lost device

int32_t FakeCuda::Reserve(int64_t bytes, uint8_t** address) {
  int32_t code = Enter();
  if (code != EBB_CUDA_OK) return code;
  const absl::StatusOr<uint8_t*> reserved = vmm_.Reserve(bytes);
  code = CodeOf(reserved.status());
  if (code != EBB_CUDA_OK) return code;
  *address = *reserved;
  base::MutexLock lock(&mutex_);
  ranges_[*address] = bytes;
  return EBB_CUDA_OK;
}

int32_t FakeCuda::FreeRange(uint8_t* address, int64_t bytes) {
  int32_t code = Enter();
  if (code == EBB_CUDA_OK) code = CodeOf(vmm_.Free(address, bytes));
  if (code != EBB_CUDA_OK) return code;
  base::MutexLock lock(&mutex_);
  ranges_.erase(address);
  return EBB_CUDA_OK;
}

int32_t FakeCuda::Create(int64_t bytes, uint64_t* handle) {
  int32_t code = Enter();
  if (code != EBB_CUDA_OK) return code;
  const absl::StatusOr<VmmHandle> created = vmm_.Create(bytes);
  code = CodeOf(created.status());
  if (code != EBB_CUDA_OK) return code;
  *handle = *created;
  base::MutexLock lock(&mutex_);
  handles_.insert(*handle);
  return EBB_CUDA_OK;
}

int32_t FakeCuda::Map(uint8_t* address, int64_t bytes, uint64_t handle) {
  int32_t code = Enter();
  if (code == EBB_CUDA_OK) code = CodeOf(vmm_.Map(address, bytes, handle));
  if (code != EBB_CUDA_OK) return code;
  base::MutexLock lock(&mutex_);
  mappings_[address] = bytes;
  return EBB_CUDA_OK;
}

int32_t FakeCuda::SetAccess(uint8_t* address, int64_t bytes) {
  const int32_t code = Enter();
  return code == EBB_CUDA_OK ? CodeOf(vmm_.SetAccess(address, bytes)) : code;
}

int32_t FakeCuda::Unmap(uint8_t* address, int64_t bytes) {
  int32_t code = Enter();
  if (code == EBB_CUDA_OK) code = CodeOf(vmm_.Unmap(address, bytes));
  if (code != EBB_CUDA_OK) return code;
  base::MutexLock lock(&mutex_);
  mappings_.erase(address);
  return EBB_CUDA_OK;
}

int32_t FakeCuda::ReleaseHandle(uint64_t handle) {
  int32_t code = Enter();
  if (code == EBB_CUDA_OK) code = CodeOf(vmm_.Release(handle));
  if (code != EBB_CUDA_OK) return code;
  base::MutexLock lock(&mutex_);
  handles_.erase(handle);
  return EBB_CUDA_OK;
}

}  // namespace ebb::device

// The fixture of the tests of CUDA operations, over the CUDA library's table: by default the fake
// library (kernels on the SIMT emulator), with EBB_CUDA_LIBRARY=PATH in the environment the real
// one on a real device. A test sees no difference.
//
//   DeviceArray<float> x = Upload(values);     device memory with guard zones around it
//   DeviceArray<uint16_t> y = Poisoned<uint16_t>(count);   all bytes 0xFF: NaN
//   Expect(api()->op(stream(), &op));          fails the test with the library's words
//   Download(y)                                waits for the stream, then copies
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "base/check.h"
#include "device/cuda/cuda_api.h"
#include "device/cuda/cuda_library.h"
#include "gtest/gtest.h"
#include "kernels/cuda/library/fake_api.h"
#include "kernels/cuda/simt/machine.h"

namespace ebb::kernels::cuda {

// The library, a context on device 0 and a stream, all made once in a test program.
class CudaRig {
 public:
  static CudaRig& Get() {
    static CudaRig rig;
    return rig;
  }
  CudaRig(const CudaRig&) = delete;
  CudaRig& operator=(const CudaRig&) = delete;

  const EbbCudaApi& api() const { return library_->api(); }
  EbbCudaContext* context() const { return context_; }
  EbbCudaStream* stream() const { return stream_; }
  bool is_fake() const { return is_fake_; }
  void CheckOk(int32_t code) const { CHECK_EQ(code, EBB_CUDA_OK) << api().error_text(); }

 private:
  CudaRig() : library_(Load()) {
    simt::CheckRaces();  // Of the fake's kernels, under ThreadSanitizer.
    CheckOk(api().open(0, &context_));
    api().use_hopper(context_, std::getenv("EBB_CUDA_HOPPER") != nullptr);
    CheckOk(api().stream_create(context_, 0, &stream_));
  }
  ~CudaRig() {
    api().stream_destroy(stream_);
    api().close(context_);
  }

  std::unique_ptr<device::CudaLibrary> Load() {
    const char* path = std::getenv("EBB_CUDA_LIBRARY");
    is_fake_ = path == nullptr;
    if (is_fake_) return std::make_unique<device::CudaLibrary>(EbbCudaFakeApi());
    auto library = device::CudaLibrary::Load(path);
    CHECK(library.ok()) << library.status().ToString();
    return std::move(library).value();
  }

  bool is_fake_ = false;
  const std::unique_ptr<device::CudaLibrary> library_;
  EbbCudaContext* context_ = nullptr;
  EbbCudaStream* stream_ = nullptr;
};

// `size()` elements in device memory, aligned to 256 bytes, between guard zones: what is written to
// them fails the test when the array goes. With the fake library under AddressSanitizer, a kernel
// that so much as reads them ends the process.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t size) : size_(size) {
    void* memory = nullptr;
    rig().CheckOk(rig().api().alloc(rig().context(), AllBytes(), &memory));
    memory_ = static_cast<uint8_t*>(memory);
    rig().CheckOk(rig().api().fill_bytes(rig().stream(), memory_, kMark, AllBytes()));
    Poison();
    rig().CheckOk(rig().api().stream_synchronize(rig().stream()));
    SetGuarded(true);
  }
  DeviceArray(DeviceArray&& other) noexcept
      : size_(other.size_), memory_(std::exchange(other.memory_, nullptr)) {}
  DeviceArray& operator=(DeviceArray&&) = delete;
  ~DeviceArray() {
    if (memory_ == nullptr) return;
    rig().CheckOk(rig().api().stream_synchronize(rig().stream()));
    SetGuarded(false);
    CheckGuards();
    rig().CheckOk(rig().api().free(rig().context(), memory_));
  }

  // A device address: not to be read or written by the test.
  T* data() const { return reinterpret_cast<T*>(memory_ + kGuardBytes); }
  size_t size() const { return size_; }

  // Makes all bytes 0xFF.
  void Poison() const {
    if (size_ == 0) return;
    rig().CheckOk(rig().api().fill_bytes(rig().stream(), data(), 0xFF, Bytes()));
  }
  void Upload(const std::vector<T>& values) const {
    CHECK_EQ(values.size(), size_);
    if (size_ == 0) return;
    rig().CheckOk(rig().api().copy_to_device(rig().stream(), data(), values.data(), Bytes()));
    rig().CheckOk(rig().api().stream_synchronize(rig().stream()));
  }
  std::vector<T> Download() const {
    std::vector<T> values(size_);
    if (size_ != 0) {
      rig().CheckOk(rig().api().copy_to_host(rig().stream(), values.data(), data(), Bytes()));
    }
    rig().CheckOk(rig().api().stream_synchronize(rig().stream()));
    return values;
  }

 private:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr int64_t kGuardBytes = 16 << 10;  // Rows, not only elements, past the end.
#else
  static constexpr int64_t kGuardBytes = 256;
#endif
  static constexpr uint8_t kMark = 0xA5;

  static CudaRig& rig() { return CudaRig::Get(); }
  int64_t Bytes() const { return static_cast<int64_t>(size_ * sizeof(T)); }
  int64_t AllBytes() const { return Bytes() + 2 * kGuardBytes; }

  void SetGuarded([[maybe_unused]] bool guarded) const {
#if defined(__SANITIZE_ADDRESS__)
    if (!rig().is_fake()) return;
    for (uint8_t* zone : {memory_, memory_ + kGuardBytes + Bytes()}) {
      if (guarded) {
        ASAN_POISON_MEMORY_REGION(zone, kGuardBytes);
      } else {
        ASAN_UNPOISON_MEMORY_REGION(zone, kGuardBytes);
      }
    }
#endif
  }

  void CheckGuards() const {
    std::vector<uint8_t> before(kGuardBytes), after(kGuardBytes);
    const auto copy = [](std::vector<uint8_t>& to, const uint8_t* from) {
      rig().CheckOk(rig().api().copy_to_host(rig().stream(), to.data(), from, kGuardBytes));
    };
    copy(before, memory_);
    copy(after, memory_ + kGuardBytes + Bytes());
    rig().CheckOk(rig().api().stream_synchronize(rig().stream()));
    const std::vector<uint8_t> untouched(kGuardBytes, kMark);
    EXPECT_EQ(before, untouched) << "written before a buffer of " << Bytes() << " bytes";
    EXPECT_EQ(after, untouched) << "written past a buffer of " << Bytes() << " bytes";
  }

  const size_t size_;
  uint8_t* memory_ = nullptr;
};

class OpFixture : public testing::Test {
 protected:
  static const EbbCudaApi* api() { return &CudaRig::Get().api(); }
  static EbbCudaContext* context() { return CudaRig::Get().context(); }
  static EbbCudaStream* stream() { return CudaRig::Get().stream(); }

  template <typename T>
  static DeviceArray<T> Upload(const std::vector<T>& values) {
    DeviceArray<T> array(values.size());
    array.Upload(values);
    return array;
  }
  template <typename T>
  static DeviceArray<T> Poisoned(size_t size) {
    return DeviceArray<T>(size);
  }
  template <typename T>
  static std::vector<T> Download(const DeviceArray<T>& array) {
    return array.Download();
  }
  static void Expect(int32_t code) { EXPECT_EQ(code, EBB_CUDA_OK) << api()->error_text(); }
  // An answer of INVALID_ARGUMENT whose text holds `part`.
  static void ExpectInvalid(int32_t code, const std::string& part) {
    EXPECT_EQ(code, EBB_CUDA_INVALID_ARGUMENT);
    EXPECT_NE(std::string(api()->error_text()).find(part), std::string::npos)
        << api()->error_text();
  }
};

}  // namespace ebb::kernels::cuda

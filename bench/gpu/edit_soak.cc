#include "bench/gpu/edit_soak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "device/address_range.h"

namespace ebb::bench {
namespace {

using device::CudaBuffer;
using device::CudaEvent;
using device::CudaHostBuffer;
using device::VmmHandle;

constexpr int32_t kEditedPages = 16;  // Half of them before the matrix, half behind it.
constexpr int32_t kMappedAtOnce = 8;
constexpr int32_t kCheckEach = 16;  // Cycles between two pages that are written and read back.
constexpr int64_t kCheckedBytes = 4096;

double Since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

double Quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
}

// The addresses: the pages to be edited, and between them the matrix, mapped and filled.
class Memory {
 public:
  Memory(Gpu* gpu, device::CudaVmm* vmm)
      : gpu_(gpu),
        vmm_(vmm),
        page_bytes_(vmm->granularity_bytes()),
        // More than a device's cache holds, so that addresses are translated and memory is read.
        matrix_bytes_(gpu->smoke() ? page_bytes_ : std::max<int64_t>(page_bytes_, 128 << 20)),
        range_(ValueOrDie(
            device::AddressRange::Reserve(vmm, matrix_bytes_ + kEditedPages * page_bytes_))) {
    for (int64_t at = 0; at < matrix_bytes_; at += page_bytes_) {
      handles_.push_back(ValueOrDie(vmm->Create(page_bytes_)));
      OrDie(vmm->Map(matrix() + at, page_bytes_, handles_.back()));
    }
    OrDie(vmm->SetAccess(matrix(), matrix_bytes_));
    EbbCudaFillRandom op = {};
    op.out = reinterpret_cast<uint16_t*>(matrix());
    op.count = matrix_bytes_ / 2;
    op.seed = 1;
    op.scale = 0.02f;
    gpu->Check(gpu->api().fill_random(gpu->stream(), &op));
    gpu->Synchronize();
  }
  // On a lost device these calls do nothing.
  ~Memory() {
    for (size_t i = 0; i < handles_.size(); ++i) {
      OrDie(vmm_->Unmap(matrix() + static_cast<int64_t>(i) * page_bytes_, page_bytes_));
      OrDie(vmm_->Release(handles_[i]));
    }
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  int64_t page_bytes() const { return page_bytes_; }
  int64_t matrix_bytes() const { return matrix_bytes_; }
  uint8_t* matrix() const { return range_.base() + kEditedPages / 2 * page_bytes_; }
  uint8_t* edited(int64_t index) const {
    const int64_t page = index % kEditedPages;
    const bool before = page < kEditedPages / 2;
    return range_.base() + page * page_bytes_ + (before ? 0 : matrix_bytes_);
  }

 private:
  Gpu* const gpu_;
  device::CudaVmm* const vmm_;
  const int64_t page_bytes_;
  const int64_t matrix_bytes_;
  const device::AddressRange range_;
  std::vector<VmmHandle> handles_;
};

// The kernels: rounds of products over the matrix, two in flight, each compared with the first.
class Reader {
 public:
  Reader(Gpu* gpu, const Memory& memory)
      : gpu_(gpu),
        inputs_(gpu->smoke() ? 256 : 8192),
        outputs_(static_cast<int32_t>(memory.matrix_bytes() / 2 / inputs_)),
        launches_(gpu->smoke() ? 1 : 16),
        x_(gpu->Random(inputs_ * 2, 1)) {
    op_.weight = reinterpret_cast<const uint16_t*>(memory.matrix());
    op_.x = x_.As<uint16_t>();
    op_.rows = 1;
    op_.outputs = outputs_;
    op_.inputs = inputs_;
    op_.output = EBB_CUDA_F32_ACCUMULATE;
    for (Round& round : rounds_) {
      round.y = gpu->Alloc(outputs_ * 4);
      round.host = ValueOrDie(gpu->device().AllocHost(outputs_ * 4));
      round.begin = ValueOrDie(CudaEvent::Create(&gpu->device(), true));
      round.end = ValueOrDie(CudaEvent::Create(&gpu->device(), true));
      round.copied = ValueOrDie(CudaEvent::Create(&gpu->device()));
    }
  }

  // Runs rounds until `stop` answers true, at least two. The first run's first result is what all
  // others are compared with. Adds to `times`.
  absl::Status Run(const std::function<bool()>& stop, std::vector<double>* times) {
    RETURN_IF_ERROR(Queue(&rounds_[0]));
    for (int next = 1;; next = 1 - next) {
      const bool last = stop();
      if (!last) RETURN_IF_ERROR(Queue(&rounds_[next]));
      RETURN_IF_ERROR(Finish(&rounds_[1 - next], times));
      if (last) return absl::OkStatus();
    }
  }

  int64_t rounds() const { return finished_; }
  int64_t wrong_rounds() const { return wrong_; }

 private:
  struct Round {
    CudaBuffer y;
    CudaHostBuffer host;
    CudaEvent begin, end;  // Around the kernels,
    CudaEvent copied;      // and behind the copy.
  };

  absl::Status Queue(Round* round) {
    const EbbCudaApi& api = gpu_->api();
    const device::CudaDevice& device = gpu_->device();
    RETURN_IF_ERROR(round->begin.Record(gpu_->stream()));
    RETURN_IF_ERROR(
        device.Check(api.fill_bytes(gpu_->stream(), round->y.data(), 0, round->y.bytes()), "fill"));
    op_.y = round->y.data();
    for (int i = 0; i < launches_; ++i) {
      RETURN_IF_ERROR(device.Check(api.linear(gpu_->stream(), &op_), "linear"));
    }
    RETURN_IF_ERROR(round->end.Record(gpu_->stream()));
    RETURN_IF_ERROR(device.Check(
        api.copy_to_host(gpu_->stream(), round->host.data(), round->y.data(), round->y.bytes()),
        "copy"));
    return round->copied.Record(gpu_->stream());
  }

  absl::Status Finish(Round* round, std::vector<double>* times) {
    RETURN_IF_ERROR(round->copied.Wait());
    ASSIGN_OR_RETURN(const float ms,
                     device::MillisecondsBetween(gpu_->device(), round->begin, round->end));
    times->push_back(1e3 * double{ms});
    const uint8_t* const bytes = round->host.data();
    if (expected_.empty()) expected_.assign(bytes, bytes + round->host.bytes());
    if (std::memcmp(bytes, expected_.data(), expected_.size()) != 0) ++wrong_;
    ++finished_;
    return absl::OkStatus();
  }

  Gpu* const gpu_;
  const int32_t inputs_;
  const int32_t outputs_;
  const int launches_;
  const CudaBuffer x_;
  EbbCudaLinear op_ = {};
  Round rounds_[2];
  std::vector<uint8_t> expected_;
  int64_t finished_ = 0;
  int64_t wrong_ = 0;
};

// The edits, in a thread of their own.
class Editor {
 public:
  Editor(Gpu* gpu, device::CudaVmm* vmm, const Memory& memory, const SoakOptions& options)
      : device_(gpu->device()),
        vmm_(vmm),
        memory_(memory),
        options_(options),
        stream_(ValueOrDie(device::CudaStream::Create(&device_, {}))),
        checked_(ValueOrDie(device_.AllocHost(kCheckedBytes))) {
    for (VmmHandle& handle : handles_) {
      if (!options.with_create) handle = ValueOrDie(vmm->Create(memory.page_bytes()));
    }
  }
  // Takes down what an error has left.
  ~Editor() {
    for (int32_t page = 0; page < kEditedPages; ++page) {
      if (mapped_[page]) OrDie(vmm_->Unmap(memory_.edited(page), memory_.page_bytes()));
      if (handles_[page] != 0) OrDie(vmm_->Release(handles_[page]));
    }
  }

  absl::Status Run(SoakResult* result) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t cycle = 0; cycle < options_.cycles + kMappedAtOnce; ++cycle) {
      if (cycle >= kMappedAtOnce) RETURN_IF_ERROR(Close(cycle - kMappedAtOnce));
      if (cycle >= options_.cycles) continue;
      RETURN_IF_ERROR(Open(cycle));
      if (cycle % kCheckEach == 0) RETURN_IF_ERROR(Check(cycle, result));
      result->cycles = cycle + 1;
      result->cycle_us = Since(begin) / static_cast<double>(result->cycles);
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Open(int64_t cycle) {
    VmmHandle& handle = handles_[cycle % kEditedPages];
    if (options_.with_create) {
      ASSIGN_OR_RETURN(handle, vmm_->Create(memory_.page_bytes()));
    }
    RETURN_IF_ERROR(vmm_->Map(memory_.edited(cycle), memory_.page_bytes(), handle));
    mapped_[cycle % kEditedPages] = true;
    return vmm_->SetAccess(memory_.edited(cycle), memory_.page_bytes());
  }

  absl::Status Close(int64_t cycle) {
    VmmHandle& handle = handles_[cycle % kEditedPages];
    RETURN_IF_ERROR(vmm_->Unmap(memory_.edited(cycle), memory_.page_bytes()));
    mapped_[cycle % kEditedPages] = false;
    if (!options_.with_create) return absl::OkStatus();
    return vmm_->Release(std::exchange(handle, 0));
  }

  // A page is written and read as soon as it is open.
  absl::Status Check(int64_t cycle, SoakResult* result) {
    const EbbCudaApi& api = device_.api();
    const int byte = static_cast<int>(cycle / kCheckEach % 251);
    uint8_t* const end = memory_.edited(cycle) + memory_.page_bytes();
    RETURN_IF_ERROR(device_.Check(
        api.fill_bytes(stream_->native(), memory_.edited(cycle), byte, memory_.page_bytes()),
        "fill"));
    RETURN_IF_ERROR(device_.Check(
        api.copy_to_host(stream_->native(), checked_.data(), end - kCheckedBytes, kCheckedBytes),
        "copy"));
    RETURN_IF_ERROR(device_.Check(api.stream_synchronize(stream_->native()), "work on a page"));
    ++result->pages_checked;
    for (int64_t i = 0; i < kCheckedBytes; ++i) {
      if (checked_.data()[i] == byte) continue;
      ++result->wrong_pages;
      break;
    }
    return absl::OkStatus();
  }

  const device::CudaDevice& device_;
  device::CudaVmm* const vmm_;
  const Memory& memory_;
  const SoakOptions options_;
  const std::unique_ptr<device::CudaStream> stream_;
  const CudaHostBuffer checked_;
  VmmHandle handles_[kEditedPages] = {};
  bool mapped_[kEditedPages] = {};
};

}  // namespace

SoakResult RunSoak(Gpu* gpu, device::CudaVmm* vmm, const SoakOptions& options) {
  SoakResult result;
  const Memory memory(gpu, vmm);
  Reader reader(gpu, memory);
  std::vector<double> quiet, beside;
  const int64_t quiet_rounds = gpu->smoke() ? 2 : 50;
  OrDie(reader.Run([&] { return reader.rounds() + 1 >= quiet_rounds; }, &quiet));
  if (reader.wrong_rounds() > 0) {
    Die(absl::InternalError("the same product gives different bits without any edits"));
  }
  Editor editor(gpu, vmm, memory, options);
  std::atomic<bool> done = false;
  absl::Status edited;
  std::thread thread([&] {
    edited = editor.Run(&result);
    done = true;
  });
  const absl::Status read = reader.Run([&] { return done.load(); }, &beside);
  thread.join();
  result.rounds = reader.rounds() - static_cast<int64_t>(quiet.size());
  result.wrong_rounds = reader.wrong_rounds();
  for (const absl::Status& status : {edited, read}) {
    if (!status.ok() && result.error.empty()) result.error = status.ToString();
  }
  result.quiet_round_us = Quantile(quiet, 0.5);
  result.beside_round_us = Quantile(beside, 0.5);
  result.beside_p99_us = Quantile(beside, 0.99);
  return result;
}

}  // namespace ebb::bench

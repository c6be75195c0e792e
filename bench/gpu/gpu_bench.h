// What the GPU benches share: the device, its measured ceilings, timing, and a report of figures
// beside their floors.
//
//   floor = the larger of (bytes that must move) / (bandwidth of a copy, read + written)
//                     and (operations that must be done) / (rate of a large bf16 product)
//
// Both ceilings are measured by the same program in the same run, so that clocks and neighbours
// weigh on both sides. Times are medians by device events, each of a captured graph, so that
// launching costs nothing; buffers rotate where one would stay in the L2 cache.
//
// A failure ends the program with its text: a bench has nobody to hand a status to.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "device/cuda/cuda_device.h"
#include "device/cuda/cuda_library.h"
#include "device/cuda/cuda_stream.h"
#include "nlohmann/json.hpp"

namespace ebb::bench {

struct GpuOptions {
  std::string library;  // Empty: beside this executable.
  std::string json;     // A file for the figures, a JSON object a line; empty: none.
  std::string only;     // Only measurements whose name contains this.
  int32_t device = 0;
  bool hopper = false;  // What compute capability 9.0 alone has is used.
  bool smoke = false;   // Tiny shapes and one round, to see that it works: on the fake.
};

// Exits with status 64 and the usage when the command line is wrong, with 0 after --help.
GpuOptions ParseGpuOptions(int argc, char** argv, absl::string_view what);

[[noreturn]] void Die(const absl::Status& status);
void OrDie(const absl::Status& status);
template <typename T>
T ValueOrDie(absl::StatusOr<T> value) {
  if (!value.ok()) Die(value.status());
  return std::move(value).value();
}

// Device, one stream and scratch for matrix products. Used from one thread.
class Gpu {
 public:
  explicit Gpu(const GpuOptions& options);

  const device::CudaDevice& device() const { return *device_; }
  device::CudaDevice* mutable_device() { return device_.get(); }
  const EbbCudaApi& api() const { return device_->api(); }
  EbbCudaStream* stream() const { return stream_->native(); }
  bool smoke() const { return smoke_; }

  // Device memory of random bf16 numbers in [-scale, scale).
  device::CudaBuffer Random(int64_t bytes, float scale);
  device::CudaBuffer Alloc(int64_t bytes) { return ValueOrDie(device_->Alloc(bytes)); }
  template <typename T>
  device::CudaBuffer Upload(const std::vector<T>& values) {
    return UploadBytes(values.data(), static_cast<int64_t>(values.size() * sizeof(T)));
  }
  void Synchronize() { Check(api().stream_synchronize(stream())); }
  // Dies unless `code` is OK.
  void Check(int32_t code) const { OrDie(device_->Check(code, "bench")); }

  // Gives `op` this stream's scratch, and queues it.
  void Linear(EbbCudaLinear op);

  // Milliseconds of each of `rounds` replays of what `work` queues, ascending; after warming up.
  std::vector<double> TimeGraph(int rounds, const std::function<void()>& work);
  // The same without a graph, where each round may queue something else.
  std::vector<double> TimeLaunches(int rounds, const std::function<void()>& work);

 private:
  device::CudaBuffer UploadBytes(const void* from, int64_t bytes);
  std::vector<double> TimeRounds(int rounds, const std::function<void()>& launch);

  const bool smoke_;
  std::unique_ptr<device::CudaLibrary> library_;
  std::unique_ptr<device::CudaDevice> device_;
  std::unique_ptr<device::CudaStream> stream_;
  device::CudaBuffer scratch_;
};

struct Ceilings {
  double bytes_per_s = 0;       // Of its memory, by clock and bus width; else of a copy.
  double copy_bytes_per_s = 0;  // A copy on the device, bytes read plus bytes written.
  double operations_per_s = 0;  // A bf16 product of 8192 x 8192 x 8192 on random numbers.
};

Ceilings MeasureCeilings(Gpu* gpu);

// What was measured, and what it had to do.
struct Figure {
  std::string name;
  std::vector<double> milliseconds;  // Ascending, of the whole.
  int32_t repeats = 1;               // How often one of `milliseconds` did the thing.
  double bytes = 0;                  // Of one.
  double operations = 0;             // Of one.
  nlohmann::ordered_json more;       // Further keys of the JSON line.
};

// Prints a table row for each figure, and writes its JSON line.
class Report {
 public:
  Report(const GpuOptions& options, const Gpu& gpu, const Ceilings& ceilings);

  bool Wants(absl::string_view name) const;
  // The least time that one of what the figure counts can take.
  double FloorSeconds(const Figure& figure) const;
  void Add(const Figure& figure);

 private:
  void WriteLine(nlohmann::ordered_json line);

  const std::string only_;
  const Ceilings ceilings_;
  std::string device_name_;
  std::ofstream json_;
};

}  // namespace ebb::bench

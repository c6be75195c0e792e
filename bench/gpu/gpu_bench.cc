#include "bench/gpu/gpu_bench.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace ebb::bench {
namespace {

using device::CudaBuffer;

// Of a sorted list.
double Quantile(const std::vector<double>& sorted, double share) {
  CHECK(!sorted.empty());
  return sorted[static_cast<size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5)];
}

[[noreturn]] void Usage(absl::string_view what, int status) {
  (status == 0 ? std::cout : std::cerr)
      << what
      << "\n\n"
         "  --library PATH   libebb_cuda.so (default: the one beside this program)\n"
         "  --device N       the device's number (0)\n"
         "  --json FILE      write the figures there too, one JSON object a line\n"
         "  --only NAME      only measurements whose name contains NAME\n"
         "  --hopper         use what compute capability 9.0 alone has, as cuda.hopper does\n"
         "  --smoke          tiny shapes and one round: shows that it works, measures nothing\n";
  std::exit(status);
}

}  // namespace

GpuOptions ParseGpuOptions(int argc, char** argv, absl::string_view what) {
  GpuOptions options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--help") Usage(what, 0);
    if (flag == "--smoke" || flag == "--hopper") {
      (flag == "--smoke" ? options.smoke : options.hopper) = true;
      continue;
    }
    if (i + 1 == argc) {
      std::cerr << "unknown flag, or one without its value: " << flag << "\n";
      Usage(what, 64);
    }
    const std::string value = argv[++i];
    if (flag == "--library") {
      options.library = value;
    } else if (flag == "--json") {
      options.json = value;
    } else if (flag == "--only") {
      options.only = value;
    } else if (flag != "--device" || !absl::SimpleAtoi(value, &options.device)) {
      std::cerr << "not understood: " << flag << " " << value << "\n";
      Usage(what, 64);
    }
  }
  return options;
}

void Die(const absl::Status& status) {
  std::cerr << status << "\n";
  std::exit(1);
}

void OrDie(const absl::Status& status) {
  if (!status.ok()) Die(status);
}

Gpu::Gpu(const GpuOptions& options) : smoke_(options.smoke) {
  library_ = ValueOrDie(device::CudaLibrary::Load(options.library));
  OrDie(library_->Find().status());
  device_ = ValueOrDie(device::CudaDevice::Open(library_.get(), options.device));
  if (options.hopper) device_->UseHopper();
  stream_ = ValueOrDie(device::CudaStream::Create(device_.get(), {}));
  scratch_ = Alloc(std::max<int64_t>(256, api().linear_scratch_bytes(device_->context())));
}

CudaBuffer Gpu::Random(int64_t bytes, float scale) {
  CudaBuffer buffer = Alloc(bytes);
  EbbCudaFillRandom op = {};
  op.out = buffer.As<uint16_t>();
  op.count = bytes / 2;
  op.seed = 1;
  op.scale = scale;
  Check(api().fill_random(stream(), &op));
  Synchronize();
  return buffer;
}

CudaBuffer Gpu::UploadBytes(const void* from, int64_t bytes) {
  CudaBuffer buffer = Alloc(std::max<int64_t>(1, bytes));
  if (bytes > 0) Check(api().copy_to_device(stream(), buffer.data(), from, bytes));
  Synchronize();
  return buffer;
}

void Gpu::Linear(EbbCudaLinear op) {
  op.scratch = scratch_.data();
  op.scratch_bytes = scratch_.bytes();
  Check(api().linear(stream(), &op));
}

std::vector<double> Gpu::TimeGraph(int rounds, const std::function<void()>& work) {
  work();  // Plans of matrix products are made once, outside the capture.
  Synchronize();
  const device::CudaGraph graph =
      ValueOrDie(device::CudaGraph::Capture(device_.get(), stream(), [&work] {
        work();
        return absl::OkStatus();
      }));
  std::vector<double> times = TimeRounds(rounds, [&] { OrDie(graph.Launch(stream())); });
  Synchronize();
  return times;
}

std::vector<double> Gpu::TimeLaunches(int rounds, const std::function<void()>& work) {
  return TimeRounds(rounds, work);
}

std::vector<double> Gpu::TimeRounds(int rounds, const std::function<void()>& launch) {
  device::CudaEvent begin = ValueOrDie(device::CudaEvent::Create(device_.get(), true));
  device::CudaEvent end = ValueOrDie(device::CudaEvent::Create(device_.get(), true));
  const int warm_up = smoke_ ? 0 : 3;
  std::vector<double> times;
  for (int i = 0; i < warm_up + rounds; ++i) {
    OrDie(begin.Record(stream()));
    launch();
    OrDie(end.Record(stream()));
    OrDie(end.Wait());
    if (i >= warm_up) {
      times.push_back(double{ValueOrDie(device::MillisecondsBetween(*device_, begin, end))});
    }
  }
  std::sort(times.begin(), times.end());
  return times;
}

Ceilings MeasureCeilings(Gpu* gpu) {
  Ceilings ceilings;
  const int64_t copy_bytes = gpu->smoke() ? int64_t{1} << 16 : int64_t{2} << 30;
  const int32_t side = gpu->smoke() ? 32 : 8192;
  const int rounds = gpu->smoke() ? 1 : 15;
  {
    const CudaBuffer from = gpu->Random(copy_bytes, 1);
    const CudaBuffer to = gpu->Alloc(copy_bytes);
    const std::vector<double> times = gpu->TimeGraph(rounds, [&] {
      gpu->Check(gpu->api().copy_on_device(gpu->stream(), to.data(), from.data(), copy_bytes));
    });
    ceilings.copy_bytes_per_s =
        2.0 * static_cast<double>(copy_bytes) / (std::max(Quantile(times, 0.5), 1e-6) / 1e3);
  }
  const int64_t memory_bytes_per_s = gpu->device().info().memory_bytes_per_s;
  ceilings.bytes_per_s =
      memory_bytes_per_s > 0 ? static_cast<double>(memory_bytes_per_s) : ceilings.copy_bytes_per_s;
  const int64_t elements = int64_t{side} * side;
  const CudaBuffer weight = gpu->Random(elements * 2, 0.02f);
  const CudaBuffer x = gpu->Random(elements * 2, 1);
  const CudaBuffer y = gpu->Alloc(elements * 2);
  EbbCudaLinear op = {};
  op.weight = weight.As<uint16_t>();
  op.x = x.As<uint16_t>();
  op.y = y.data();
  op.rows = op.outputs = op.inputs = side;
  op.output = EBB_CUDA_BF16;
  const std::vector<double> times = gpu->TimeGraph(rounds, [&] { gpu->Linear(op); });
  ceilings.operations_per_s =
      2.0 * static_cast<double>(elements) * side / (std::max(Quantile(times, 0.5), 1e-6) / 1e3);
  return ceilings;
}

Report::Report(const GpuOptions& options, const Gpu& gpu, const Ceilings& ceilings)
    : only_(options.only), ceilings_(ceilings), device_name_(gpu.device().info().name) {
  if (!options.json.empty()) {
    json_.open(options.json, std::ios::trunc);
    if (!json_) Die(absl::UnavailableError(absl::StrCat("cannot write ", options.json)));
  }
  std::printf(
      "%s%s: memory %.0f GB/s, of which a copy moves %.0f; a bf16 product does %.1f "
      "TFLOP/s\n",
      gpu.smoke() ? "SMOKE TEST, no measurement. " : "", device_name_.c_str(),
      ceilings.bytes_per_s / 1e9, ceilings.copy_bytes_per_s / 1e9,
      ceilings.operations_per_s / 1e12);
  std::printf("%-44s %10s %10s %9s %9s %10s %9s\n", "", "median us", "p90 us", "GB/s", "TFLOP/s",
              "floor us", "of floor");
  WriteLine({{"name", "ceilings"},
             {"memory_bytes_per_s", ceilings.bytes_per_s},
             {"copy_bytes_per_s", ceilings.copy_bytes_per_s},
             {"product_operations_per_s", ceilings.operations_per_s}});
}

bool Report::Wants(absl::string_view name) const {
  return name.find(only_) != absl::string_view::npos;
}

double Report::FloorSeconds(const Figure& figure) const {
  return std::max(figure.bytes / ceilings_.bytes_per_s,
                  figure.operations / ceilings_.operations_per_s);
}

void Report::Add(const Figure& figure) {
  const double median = Quantile(figure.milliseconds, 0.5) / figure.repeats / 1e3;
  const double p90 = Quantile(figure.milliseconds, 0.9) / figure.repeats / 1e3;
  const double floor = FloorSeconds(figure);
  const double seconds = std::max(median, 1e-12);
  std::printf("%-44s %10.1f %10.1f %9.0f %9.2f %10.1f %8.0f%%\n", figure.name.c_str(), median * 1e6,
              p90 * 1e6, figure.bytes / seconds / 1e9, figure.operations / seconds / 1e12,
              floor * 1e6, floor / seconds * 100);
  std::fflush(stdout);
  nlohmann::ordered_json line = {
      {"name", figure.name},
      {"median_us", median * 1e6},
      {"p10_us", Quantile(figure.milliseconds, 0.1) / figure.repeats * 1e3},
      {"p90_us", p90 * 1e6},
      {"rounds", figure.milliseconds.size()},
      {"bytes", figure.bytes},
      {"operations", figure.operations},
      {"floor_us", floor * 1e6},
      {"of_floor", floor / seconds}};
  for (const auto& [key, value] : figure.more.items()) line[key] = value;
  WriteLine(std::move(line));
}

void Report::WriteLine(nlohmann::ordered_json line) {
  if (!json_.is_open()) return;
  line["device"] = device_name_;
  json_ << line.dump() << std::endl;
  if (!json_) Die(absl::UnavailableError("the JSON file cannot be written"));
}

}  // namespace ebb::bench

// driver_probe: what the CUDA driver's virtual memory calls cost, and whether addresses may be
// edited beside running kernels. Its figures decide the defaults of the pool: how many pages are
// made ahead, how many are mapped at a boundary, and whether boundaries must be joint.
//
// Ends with status 1 when an edit beside work gave a wrong result or an error.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "bench/gpu/driver_costs.h"
#include "bench/gpu/edit_soak.h"
#include "bench/gpu/gpu_bench.h"
#include "device/cuda/cuda_vmm.h"
#include "nlohmann/json.hpp"

namespace ebb::bench {
namespace {

constexpr absl::string_view kUsage =
    "usage: driver_probe [--cycles N] [FLAGS]: what the driver's calls cost by size and number, "
    "and\n"
    "N cycles (100000) of map, set_access and unmap beside running kernels\n"
    "  --only costs|soak runs one of the two";

double Quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<size_t>(std::lround(share * static_cast<double>(sorted.size() - 1)))];
}

// Takes "--cycles N" out of the command line; the rest is as in every bench of a device.
int64_t TakeCycles(int* argc, char** argv) {
  int64_t cycles = 100000;
  int kept = 1;
  for (int i = 1; i < *argc; ++i) {
    if (std::string(argv[i]) != "--cycles") {
      argv[kept++] = argv[i];
    } else if (i + 1 == *argc || !absl::SimpleAtoi(argv[++i], &cycles) || cycles < 1) {
      std::fprintf(stderr, "--cycles takes a positive number\n");
      std::exit(64);
    }
  }
  *argc = kept;
  return cycles;
}

// A JSON object a line, as the other benches write them; nothing without a file.
class Json {
 public:
  Json(const std::string& path, std::string device) : device_(std::move(device)) {
    if (path.empty()) return;
    file_.open(path, std::ios::trunc);
    if (!file_) Die(absl::UnavailableError(absl::StrCat("cannot write ", path)));
  }
  void Write(nlohmann::ordered_json line) {
    if (!file_.is_open()) return;
    line["device"] = device_;
    file_ << line.dump() << std::endl;
    if (!file_) Die(absl::UnavailableError("the JSON file cannot be written"));
  }

 private:
  const std::string device_;
  std::ofstream file_;
};

void Print(const CallCost& cost, Json* json) {
  const double median = Quantile(cost.us, 0.5), p99 = Quantile(cost.us, 0.99);
  std::printf("%-18s %9.2f %8d %11.2f %11.2f %11.2f\n", cost.call.c_str(),
              static_cast<double>(cost.bytes) / (1 << 20), cost.pieces, median, p99,
              cost.us.back());
  std::fflush(stdout);
  json->Write({{"name", "driver call"},
               {"call", cost.call},
               {"bytes", cost.bytes},
               {"pieces", cost.pieces},
               {"calls", cost.us.size()},
               {"median_us", median},
               {"p99_us", p99},
               {"max_us", cost.us.back()}});
}

void MeasureCosts(Gpu* gpu, device::CudaVmm* vmm, Json* json) {
  std::printf("%-18s %9s %8s %11s %11s %11s\n", "call", "MiB", "pieces", "median us", "p99 us",
              "max us");
  const int rounds = gpu->smoke() ? 1 : 8;
  for (const int64_t units : kPieceUnits) {
    for (const int32_t pieces : {1, 16, 128}) {
      if (gpu->smoke() && (pieces > 16 || units > 4)) continue;
      const int64_t bytes = units * vmm->granularity_bytes();
      // Single pieces need more rounds to have a 99th percentile.
      const int more = gpu->smoke() ? 1 : pieces == 1 ? 25 : 1;
      const std::vector<CallCost> costs = MeasureCalls(gpu, vmm, bytes, pieces, rounds * more);
      if (costs.empty()) {
        std::printf("%d pieces of %.0f MiB: too little memory is free\n", pieces,
                    static_cast<double>(bytes) / (1 << 20));
      }
      for (const CallCost& cost : costs) Print(cost, json);
    }
  }
  Print(MeasureMemoryInfo(vmm, gpu->smoke() ? 10 : 1000), json);
  for (const CallCost& cost : MeasureWaits(gpu, gpu->smoke() ? 10 : 1000)) Print(cost, json);
}

bool Soak(Gpu* gpu, device::CudaVmm* vmm, const SoakOptions& options, Json* json) {
  const SoakResult result = RunSoak(gpu, vmm, options);
  std::printf(
      "%s beside running kernels: %s\n"
      "  %lld cycles of %.1f us; %lld results compared, %lld wrong; %lld pages written and read "
      "back, %lld wrong\n"
      "  a round of kernels takes %.1f us without edits, %.1f us beside them (p99 %.1f us)\n",
      options.with_create ? "create, map, set_access, unmap, release" : "map, set_access, unmap",
      result.ok() ? "no fault seen" : "NOT SAFE", static_cast<long long>(result.cycles),
      result.cycle_us, static_cast<long long>(result.rounds),
      static_cast<long long>(result.wrong_rounds), static_cast<long long>(result.pages_checked),
      static_cast<long long>(result.wrong_pages), result.quiet_round_us, result.beside_round_us,
      result.beside_p99_us);
  if (!result.error.empty()) std::printf("  ended by: %s\n", result.error.c_str());
  std::fflush(stdout);
  json->Write({{"name", "edits beside kernels"},
               {"with_create", options.with_create},
               {"ok", result.ok()},
               {"cycles", result.cycles},
               {"cycle_us", result.cycle_us},
               {"rounds", result.rounds},
               {"wrong_rounds", result.wrong_rounds},
               {"pages_checked", result.pages_checked},
               {"wrong_pages", result.wrong_pages},
               {"error", result.error},
               {"quiet_round_us", result.quiet_round_us},
               {"beside_round_us", result.beside_round_us},
               {"beside_p99_us", result.beside_p99_us}});
  return result.ok();
}

int Main(int argc, char** argv) {
  int64_t cycles = TakeCycles(&argc, argv);
  GpuOptions options = ParseGpuOptions(argc, argv, kUsage);
  if (!options.only.empty() && options.only != "costs" && options.only != "soak") {
    std::fprintf(stderr, "--only takes costs or soak\n");
    return 64;
  }
  Gpu gpu(options);
  const auto vmm = ValueOrDie(device::CudaVmm::Create(&gpu.device()));
  const EbbCudaDeviceInfo& info = gpu.device().info();
  Json json(options.json, info.name);
  std::printf("%s%s: pieces of device memory are multiples of %.2f MiB\n",
              gpu.smoke() ? "SMOKE TEST, no measurement. " : "", info.name,
              static_cast<double>(vmm->granularity_bytes()) / (1 << 20));
  json.Write({{"name", "granularity"}, {"bytes", vmm->granularity_bytes()}});
  if (options.only != "soak") MeasureCosts(&gpu, vmm.get(), &json);
  if (options.only == "costs") return 0;
  if (gpu.smoke()) cycles = std::min<int64_t>(cycles, 200);
  bool ok = Soak(&gpu, vmm.get(), {cycles, /*with_create=*/false}, &json);
  // A lost device takes no second run. Creating is slow on some hosts: a tenth of the cycles.
  if (!gpu.device().lost()) {
    ok &= Soak(&gpu, vmm.get(), {std::max<int64_t>(1, cycles / 10), /*with_create=*/true}, &json);
  }
  return ok ? 0 : 1;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::Main(argc, argv); }

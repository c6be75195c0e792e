#include "kernels/cpu/cpu_features.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <thread>

namespace ebb::kernels::cpu {
namespace {

// Processors that `quota` of each `period` microseconds amounts to.
double ProcessorsOf(double quota, double period) {
  return quota > 0 && period > 0 ? quota / period : std::numeric_limits<double>::infinity();
}

// cgroup v2: "max 100000" or "150000 100000".
double QuotaV2(const std::string& directory) {
  std::ifstream file(directory + "/cpu.max");
  double quota = 0;
  double period = 0;
  if (!(file >> quota >> period)) return std::numeric_limits<double>::infinity();
  return ProcessorsOf(quota, period);
}

// cgroup v1: two files, a quota of -1 for none.
double QuotaV1(const std::string& directory) {
  std::ifstream quota_file(directory + "/cpu.cfs_quota_us");
  std::ifstream period_file(directory + "/cpu.cfs_period_us");
  double quota = 0;
  double period = 0;
  if (!(quota_file >> quota) || !(period_file >> period)) {
    return std::numeric_limits<double>::infinity();
  }
  return ProcessorsOf(quota, period);
}

// The least quota of `path` and all above it: each level limits those below.
template <typename Quota>
double LeastUpwards(const std::string& root, std::string path, const Quota& quota) {
  double least = quota(root);
  while (!path.empty() && path != "/") {
    least = std::min(least, quota(root + path));
    path.erase(path.find_last_of('/'));
  }
  return least;
}

double CgroupProcessors(const std::string& cgroup_root, const std::string& self_cgroup) {
  double least = std::numeric_limits<double>::infinity();
  std::ifstream file(self_cgroup);
  std::string line;  // "0::/user.slice" (v2), "4:cpu,cpuacct:/docker/1f" (v1).
  while (std::getline(file, line)) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    if (path.empty() || path[0] != '/') continue;
    if (controllers == ",,") {
      least = std::min(least, LeastUpwards(cgroup_root, path, QuotaV2));
    } else if (controllers.find(",cpu,") != std::string::npos) {
      least = std::min(least, LeastUpwards(cgroup_root + "/cpu", path, QuotaV1));
    }
  }
  return least;
}

}  // namespace

#if defined(__x86_64__)

std::string MissingForAvx2() {
  if (!__builtin_cpu_supports("avx2")) return "avx2";
  if (!__builtin_cpu_supports("fma")) return "fma";
  if (!__builtin_cpu_supports("f16c")) return "f16c";
  return "";
}

std::string MissingForAvx512() {
  if (std::string missing = MissingForAvx2(); !missing.empty()) return missing;
  if (!__builtin_cpu_supports("avx512f")) return "avx512f";
  if (!__builtin_cpu_supports("avx512bw")) return "avx512bw";
  if (!__builtin_cpu_supports("avx512vl")) return "avx512vl";
  if (!__builtin_cpu_supports("avx512dq")) return "avx512dq";
  if (!__builtin_cpu_supports("avx512vnni")) return "avx512_vnni";
  return "";
}

#else

std::string MissingForAvx2() { return "an x86-64 processor"; }
std::string MissingForAvx512() { return "an x86-64 processor"; }

#endif

int UsableProcessors(const std::string& cgroup_root, const std::string& self_cgroup) {
  int allowed = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) allowed = CPU_COUNT(&set);
  const double quota = CgroupProcessors(cgroup_root, self_cgroup);
  if (quota < allowed) allowed = static_cast<int>(std::ceil(quota));
  return std::max(allowed, 1);
}

}  // namespace ebb::kernels::cpu

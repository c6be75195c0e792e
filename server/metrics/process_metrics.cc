#include "server/metrics/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

namespace ebb::server {
namespace {

// In /proc/self/stat, from 1: when the process started, in ticks since the machine did.
constexpr int kStartField = 22;

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

double Seconds(const timespec& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

void AddOpenFiles(Families* out) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/fd"), closedir);
  if (directory == nullptr) return;
  int64_t count = -1;  // Without the directory itself.
  while (const dirent* const entry = readdir(directory.get())) {
    if (entry->d_name[0] != '.') ++count;
  }
  out->Gauge("process_open_fds", "Open file descriptors.", static_cast<double>(count));
}

}  // namespace

double ProcessStartSeconds() {
  std::string line;
  if (!std::getline(std::ifstream("/proc/self/stat"), line)) return 0;
  // The second field, a name in brackets, may hold anything.
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int i = 3; i < kStartField; ++i) fields >> skipped;
  double start_ticks = 0;
  timespec boot;
  timespec wall;
  if (!(fields >> start_ticks) || clock_gettime(CLOCK_BOOTTIME, &boot) != 0 ||
      clock_gettime(CLOCK_REALTIME, &wall) != 0) {
    return 0;
  }
  return Seconds(wall) - Seconds(boot) + start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

void AddProcess(double start_seconds, Families* out) {
  out->Gauge("process_start_time_seconds", "When the process started, since 1970.", start_seconds);
  rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    out->Counter("process_cpu_seconds_total", "Time on processors, user and system together.",
                 Seconds(usage.ru_utime) + Seconds(usage.ru_stime));
  }
  int64_t all_pages = 0;
  int64_t resident_pages = 0;
  if (std::ifstream("/proc/self/statm") >> all_pages >> resident_pages) {
    out->Gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.",
               static_cast<double>(resident_pages * sysconf(_SC_PAGESIZE)));
  }
  AddOpenFiles(out);
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    out->Gauge("process_max_fds", "How many file descriptors may be open.",
               static_cast<double>(files.rlim_cur));
  }
}

}  // namespace ebb::server

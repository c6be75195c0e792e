// What this host can do at best, to print beside what we reach: read bandwidth and int8
// multiply-adds, over the same number of threads.
#pragma once

namespace ebb::bench {

struct HostLimits {
  int threads = 0;
  double read_gb_per_s = 0;    // Streaming over 256 MiB, far beyond the caches.
  double int8_gmac_per_s = 0;  // Independent products in registers.
  const char* int8_instruction = "";
};

// Takes about half a second; the best of several short runs, for others may share the host.
HostLimits ProbeHost(int threads);

}  // namespace ebb::bench

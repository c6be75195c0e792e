// ResidentBytes: what a range of addresses really holds, by the kernel's own count.
#pragma once

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

namespace ebb::device {

// Bytes of [base, base + bytes) that are in memory, as the kernel counts them.
inline int64_t ResidentBytes(const uint8_t* base, int64_t bytes) {
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  int64_t resident = 0;
  while (std::getline(smaps, line)) {
    unsigned long start = 0, end = 0;
    long kib = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &start, &end) == 2) {
      inside = start >= reinterpret_cast<uintptr_t>(base) &&
               end <= reinterpret_cast<uintptr_t>(base + bytes);
    } else if (inside && std::sscanf(line.c_str(), "Rss: %ld kB", &kib) == 1) {
      resident += kib * 1024;
    }
  }
  return resident;
}

}  // namespace ebb::device

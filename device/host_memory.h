// How much memory this host can still give this process.
//
//   min( MemAvailable,                                    /proc/meminfo
//        for every cgroup from ours up to the root:       /proc/self/cgroup names ours
//          its limit - what it uses + its page cache that can go )
//
// cgroup v2: memory.max, memory.current, memory.stat (inactive_file).
// cgroup v1: memory.limit_in_bytes, memory.usage_in_bytes, memory.stat (total_inactive_file).
// Inside a container the path that /proc/self/cgroup names may lie outside what is mounted; then
// the mount's own root is read, for that is where the container's limit stands.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace ebb::device {

// Where the kernel's files stand. Tests point these at trees of their own.
struct HostMemoryFiles {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

// UNAVAILABLE, with the path and the line, when /proc/meminfo cannot be read. A cgroup file that is
// missing or says "max" bounds nothing; one that cannot be understood is an error.
absl::StatusOr<int64_t> HostFreeBytes(const HostMemoryFiles& files);

}  // namespace ebb::device

// What the processor and the system allow this process.
#pragma once

#include <string>

namespace ebb::kernels::cpu {

// The first feature that a path needs and this processor lacks, as Linux names it; empty when it
// has them all.
std::string MissingForAvx2();
std::string MissingForAvx512();

// The processors that the process may use at once: those of its affinity mask, and no more than its
// cgroup's quota gives (rounded up). At least 1. `cgroup_root` and `self_cgroup` are
// /sys/fs/cgroup and /proc/self/cgroup, or a test's own.
int UsableProcessors(const std::string& cgroup_root, const std::string& self_cgroup);

}  // namespace ebb::kernels::cpu

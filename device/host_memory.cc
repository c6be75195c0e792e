#include "device/host_memory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace ebb::device {
namespace {

constexpr int64_t kUnbounded = std::numeric_limits<int64_t>::max();

// Where one version of cgroups keeps its figures.
struct CgroupVersion {
  const char* limits[2];  // Null: none.
  const char* usage;
  const char* page_cache_key;  // In memory.stat: page cache that can go at once.
};
constexpr CgroupVersion kV1 = {
    {"memory.limit_in_bytes", nullptr}, "memory.usage_in_bytes", "total_inactive_file"};
// Past memory.high a process is slowed down until it hardly moves: as good as a limit.
constexpr CgroupVersion kV2 = {{"memory.max", "memory.high"}, "memory.current", "inactive_file"};

// Empty when the file is not there.
std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A number of bytes, or "max". Figures past int64 (v1's "no limit") saturate.
absl::StatusOr<int64_t> ParseBytes(absl::string_view text, const std::string& path) {
  text = absl::StripAsciiWhitespace(text);
  if (text == "max") return kUnbounded;
  uint64_t bytes = 0;
  if (!absl::SimpleAtoi(text, &bytes)) {
    return absl::UnavailableError(
        absl::StrCat(path, ": expected bytes or \"max\", found \"", text.substr(0, 40), "\""));
  }
  return static_cast<int64_t>(std::min<uint64_t>(bytes, kUnbounded));
}

// The figure of "key value" lines; 0 when the file or the key is not there.
int64_t StatFigure(const std::string& path, absl::string_view key) {
  const std::optional<std::string> text = ReadFile(path);
  if (!text) return 0;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    int64_t bytes = 0;
    if (absl::ConsumePrefix(&line, key) && absl::ConsumePrefix(&line, " ") &&
        absl::SimpleAtoi(line, &bytes)) {
      return bytes;
    }
  }
  return 0;
}

// What one cgroup still allows; kUnbounded when it sets no limit.
absl::StatusOr<int64_t> CgroupFreeBytes(const std::string& directory,
                                        const CgroupVersion& version) {
  int64_t limit = kUnbounded;
  for (const char* name : version.limits) {
    if (name == nullptr) continue;
    const std::string path = absl::StrCat(directory, "/", name);
    if (const std::optional<std::string> text = ReadFile(path)) {
      ASSIGN_OR_RETURN(const int64_t bytes, ParseBytes(*text, path));
      limit = std::min(limit, bytes);
    }
  }
  if (limit == kUnbounded) return kUnbounded;
  const std::string usage_path = absl::StrCat(directory, "/", version.usage);
  const std::optional<std::string> usage_text = ReadFile(usage_path);
  if (!usage_text) {
    return absl::UnavailableError(absl::StrCat(usage_path, ": a limit is set, but no usage"));
  }
  ASSIGN_OR_RETURN(const int64_t usage, ParseBytes(*usage_text, usage_path));
  const int64_t cache = StatFigure(absl::StrCat(directory, "/memory.stat"), version.page_cache_key);
  const int64_t charged = std::max<int64_t>(0, usage - std::max<int64_t>(0, cache));
  return std::max<int64_t>(0, limit - charged);
}

// The least over our cgroup and all above it.
absl::StatusOr<int64_t> HierarchyFreeBytes(const std::string& root, absl::string_view group,
                                           const CgroupVersion& version) {
  std::error_code ignored;
  std::string path(group == "/" ? "" : group);
  // A group outside of what is mounted here: the mount's root is the nearest that can be seen.
  const bool outside = absl::StrContains(path, "..") ||
                       !std::filesystem::is_directory(absl::StrCat(root, path), ignored);
  if (outside) path.clear();
  int64_t least = kUnbounded;
  while (true) {
    ASSIGN_OR_RETURN(const int64_t bytes, CgroupFreeBytes(absl::StrCat(root, path), version));
    least = std::min(least, bytes);
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return least;
    path.resize(slash);
  }
}

absl::StatusOr<int64_t> AvailableBytes(const std::string& path) {
  const std::optional<std::string> text = ReadFile(path);
  if (!text) return absl::UnavailableError(absl::StrCat(path, ": cannot be read"));
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (!absl::ConsumePrefix(&line, "MemAvailable:")) continue;
    int64_t kib = 0;
    line = absl::StripAsciiWhitespace(line);
    if (!absl::ConsumeSuffix(&line, " kB") || !absl::SimpleAtoi(line, &kib) || kib < 0 ||
        kib > kUnbounded / 1024) {
      break;
    }
    return kib * 1024;
  }
  return absl::UnavailableError(absl::StrCat(path, ": no line \"MemAvailable: N kB\""));
}

}  // namespace

absl::StatusOr<int64_t> HostFreeBytes(const HostMemoryFiles& files) {
  ASSIGN_OR_RETURN(int64_t least, AvailableBytes(absl::StrCat(files.proc, "/meminfo")));
  const std::optional<std::string> groups = ReadFile(absl::StrCat(files.proc, "/self/cgroup"));
  if (!groups) return least;  // A kernel without cgroups.
  for (absl::string_view line : absl::StrSplit(*groups, '\n', absl::SkipEmpty())) {
    // hierarchy:controllers:path
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    if (fields[0] == "0" && fields[1].empty()) {
      for (const char* mount : {"", "/unified"}) {
        ASSIGN_OR_RETURN(const int64_t bytes,
                         HierarchyFreeBytes(absl::StrCat(files.cgroup, mount), fields[2], kV2));
        least = std::min(least, bytes);
      }
      continue;
    }
    for (absl::string_view controller : absl::StrSplit(fields[1], ',')) {
      if (controller != "memory") continue;
      ASSIGN_OR_RETURN(const int64_t bytes,
                       HierarchyFreeBytes(absl::StrCat(files.cgroup, "/memory"), fields[2], kV1));
      least = std::min(least, bytes);
    }
  }
  return least;
}

}  // namespace ebb::device

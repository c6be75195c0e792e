// ReplaceFile: a file's new contents, all or nothing, whatever happens meanwhile.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ebb::server {

// Writes PATH.new, for its owner alone, syncs it and renames it to PATH: a process that dies in the
// midst of it, or a machine that stops, leaves the old file. UNAVAILABLE, "PATH: PROBLEM", when it
// cannot; also while another process does the same.
absl::Status ReplaceFile(const std::string& path, absl::string_view bytes);

}  // namespace ebb::server

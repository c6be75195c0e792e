// LoadError: how every refusal of a model file reads.
//
//   models/x.gguf: refused (reason=length, offset=812): key 3 says it is 99999 bytes long, but
//   only 40 bytes of the file are left. The file is damaged or cut off: fetch it again.
//
// `reason` is one word that does not change between versions; docs/hostile-inputs.md lists them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ebb::model {

// Offsets that no single place in the file explains.
inline constexpr int64_t kNoOffset = -1;

// `file` may hold any bytes; it is escaped here. `message` is a sentence and must already be
// printable: pass what comes out of a file through Printable.
absl::Status LoadError(absl::StatusCode code, absl::string_view file, absl::string_view reason,
                       int64_t offset, absl::string_view message);

// Text from a file for an error or a log: every byte outside printable ASCII is escaped, and what
// is longer than 80 bytes is cut, with a mark.
std::string Printable(absl::string_view bytes);

// The reason word of a status made by LoadError, or "" for any other.
std::string LoadErrorReason(const absl::Status& status);

}  // namespace ebb::model

// Text and token ids from files, checked before they go to a server.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::cli {

// The whole of a file, or of `in` if `path` is "-". At most 256 MiB.
absl::StatusOr<std::string> ReadInput(const std::string& path, std::istream* in);

// INVALID_ARGUMENT naming the first byte that is not UTF-8; `what` names the text.
absl::Status CheckUtf8(absl::string_view text, absl::string_view what);

// A JSON list of whole numbers; `source` names it in errors. Whether the model has such ids is for
// the server to say.
absl::StatusOr<std::vector<int64_t>> ParseIds(absl::string_view json, absl::string_view source);

}  // namespace ebb::cli

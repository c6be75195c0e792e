// ZipOf: files as the bytes of a zip archive, nothing compressed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace ebb::server {

// ASCII names and contents, in the order given; the same files give the same bytes. REQUIRES: the
// archive stays under 4 GiB.
std::string ZipOf(absl::Span<const std::pair<std::string, std::string>> files);

}  // namespace ebb::server

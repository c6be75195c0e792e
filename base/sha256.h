// Sha256: the digest of FIPS 180-4, by OpenSSL.
#pragma once

#include <array>

#include "absl/strings/string_view.h"

namespace ebb::base {

using Sha256Digest = std::array<unsigned char, 32>;

Sha256Digest Sha256(absl::string_view bytes);

}  // namespace ebb::base

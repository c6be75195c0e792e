// Text from outside, made harmless for an XML or HTML document.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace ebb::cli {

// `utf8` as character data or as the value of a quoted attribute: markup becomes references, and
// what XML 1.0 does not allow (control characters, U+FFFE and U+FFFF) or what turns the direction
// of the text around becomes U+FFFD. After `characters_max` code points it is cut, with an
// ellipsis. REQUIRES: `utf8` is UTF-8.
std::string EscapeXml(absl::string_view utf8, size_t characters_max);

}  // namespace ebb::cli

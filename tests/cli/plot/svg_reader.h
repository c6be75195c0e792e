// Reads a picture back: its elements, checked for nesting, and its paths as points.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace ebb::cli {

struct SvgElement {
  std::string name;
  std::map<std::string, std::string> attributes;
  std::string text;  // Its own, references resolved, without that of elements within.

  bool HasClass(const std::string& name) const;
};

// In the order of their starts. CHECKs that every element is closed in turn, that no attribute
// comes twice, and that text holds neither markup nor unknown references.
std::vector<SvgElement> ReadSvg(absl::string_view svg);

std::vector<const SvgElement*> WithClass(const std::vector<SvgElement>& elements,
                                         const std::string& name);

// Absolute M, H, V and Z only: the pieces between moves, each a list of (x, y).
using Polyline = std::vector<std::pair<double, double>>;
std::vector<Polyline> ReadSteps(const std::string& path);

}  // namespace ebb::cli

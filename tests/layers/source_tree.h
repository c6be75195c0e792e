// SourceTree: the repository's own text files, as they lie in the checkout.
#pragma once

#include <string>
#include <vector>

namespace ebb::layers {

struct SourceFile {
  std::string path;  // From the repository's root: "engine/core.cc".
  std::vector<std::string> lines;

  std::string top() const { return path.substr(0, path.find('/')); }
  std::string name() const { return path.substr(path.rfind('/') + 1); }
  bool IsCpp() const;
  bool IsBuild() const { return name() == "BUILD.bazel"; }
};

// Every file that people write. Left out: what git or Bazel keeps, third_party, data, and whatever
// is not text. Tests that use it are tagged `external`, since what they read is not declared to
// Bazel: a new directory cannot escape them by being left out of a list.
std::vector<SourceFile> ReadSourceTree();

}  // namespace ebb::layers

#include "tests/layers/source_tree.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/check.h"

namespace ebb::layers {
namespace {

namespace fs = std::filesystem;

// The test's own copy of this file is a link, or a link to a link, to the one in the checkout.
fs::path RepositoryRoot() {
  const fs::path marker = fs::canonical(".clang-format");
  CHECK(fs::exists(marker.parent_path() / "WORKSPACE")) << marker.string();
  return marker.parent_path();
}

bool IsText(const fs::path& path) {
  static const auto& endings = *new std::set<std::string>{
      ".h", ".cc", ".cu", ".cuh", ".inc", ".proto", ".py", ".bazel", ".json", ".md", ".sh", ".bzl"};
  static const auto& names =
      *new std::set<std::string>{"run", "test", "Dockerfile", "WORKSPACE", ".bazelrc"};
  return endings.count(path.extension().string()) > 0 || names.count(path.filename().string()) > 0;
}

bool IsSkipped(const fs::path& relative) {
  const std::string name = relative.filename().string();
  const std::string path = relative.string();
  return (name[0] == '.' && name != ".bazelrc" && name != ".ci") || name.rfind("bazel-", 0) == 0 ||
         path == "third_party" || path == "tests/golden" || path == "gpu_pack" ||
         name == "__pycache__" || name == "node_modules";
}

SourceFile Read(const fs::path& root, const fs::path& relative) {
  SourceFile file;
  file.path = relative.string();
  std::ifstream in(root / relative);
  for (std::string line; std::getline(in, line);) file.lines.push_back(line);
  return file;
}

}  // namespace

bool SourceFile::IsCpp() const {
  const std::string ending = fs::path(path).extension().string();
  return ending == ".h" || ending == ".cc" || ending == ".cu" || ending == ".cuh";
}

std::vector<SourceFile> ReadSourceTree() {
  const fs::path root = RepositoryRoot();
  std::vector<SourceFile> files;
  for (auto it = fs::recursive_directory_iterator(root); it != fs::recursive_directory_iterator();
       ++it) {
    const fs::path relative = fs::relative(it->path(), root);
    if (IsSkipped(relative) || it->is_symlink()) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file() && IsText(relative)) {
      files.push_back(Read(root, relative));
    }
  }
  std::sort(files.begin(), files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return files;
}

}  // namespace ebb::layers

// Who may include whom, read from the sources and from the BUILD files.
//
//   server ──> scheduler ──> engine ──> model ──> kernels ──> device ──> base
//                                └────> memory ─────────────────┘
//   cli ──> proto, config
//   bench ──> all but server (one program opens it)
//   tests ──> everything
//
// The table below is the rule; docs/ARCHITECTURE.md explains it.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/layers/source_tree.h"

namespace ebb::layers {
namespace {

// What a directory may open beside itself: whole directories, or single files of one.
const std::map<std::string, std::set<std::string>>& Allowed() {
  static const auto& allowed = *new std::map<std::string, std::set<std::string>>{
      {"base", {}},
      {"proto", {}},
      {"config", {"base"}},
      {"device", {"base"}},
      {"kernels", {"device", "base"}},
      {"memory", {"device/vmm", "device/address_range", "base"}},
      {"model", {"kernels", "device", "base"}},
      {"engine", {"model", "memory", "kernels", "device", "base"}},
      {"scheduler", {"engine", "memory/demand_curve", "base"}},
      {"server", {"engine", "scheduler", "model", "config", "proto", "base"}},
      {"cli", {"proto", "config", "memory/ledger", "memory/ledger_file", "base"}},
      {"bench",
       {"base", "config", "device", "kernels", "memory", "model", "engine", "scheduler", "proto",
        "cli"}},
      {"tools", {"model", "kernels", "base"}},
      {"docs", {}},
      {"docker", {}},
      {"configs", {}},
  };
  return allowed;
}

// The server's composition, and a measure of the whole: these put the parts together, and so may
// open every directory.
bool IsComposition(const std::string& path) {
  static const auto& stems = *new std::set<std::string>{
      "server/main",         "server/compute",      "server/compute_cpu", "server/compute_cuda",
      "server/engine_stack", "server/loaded_model", "bench/front_end"};
  return stems.count(path.substr(0, path.rfind('.'))) > 0;
}

// The forms and fakes of an interface count as the interface: "device/vmm_host" is "device/vmm".
bool IsAllowed(const std::string& from, const std::string& to_directory,
               const std::string& to_stem) {
  if (from == to_directory || from == "tests") return true;
  const auto rule = Allowed().find(from);
  if (rule == Allowed().end()) return false;
  for (const std::string& entry : rule->second) {
    if (entry == to_directory || entry == to_stem || entry + "_fake" == to_stem) return true;
  }
  return false;
}

struct Edge {
  std::string file;
  size_t line;
  std::string to;  // "device/vmm.h", "//device:vmm".
  bool allowed;
};

// What stands between two quotes after `prefix`, from `from` on; npos ends the search.
std::string Quoted(const std::string& line, const std::string& prefix, size_t* from) {
  const size_t begin = line.find(prefix, *from);
  const size_t end = begin == std::string::npos ? begin : line.find('"', begin + prefix.size());
  *from = end;
  return end == std::string::npos ? "" : line.substr(begin + 1, end - begin - 1);
}

std::vector<Edge> IncludeEdges(const SourceFile& file) {
  std::vector<Edge> edges;
  for (size_t i = 0; i < file.lines.size(); ++i) {
    const std::string& line = file.lines[i];
    if (line.rfind("#include \"", 0) != 0) continue;
    size_t from = 0;
    const std::string path = Quoted(line, "\"", &from);
    const std::string directory = path.substr(0, path.find('/'));
    // Headers of system libraries stand in directories that are none of ours.
    if (Allowed().count(directory) == 0 && directory != "tests") continue;
    const bool allowed = IsComposition(file.path) ||
                         IsAllowed(file.top(), directory, path.substr(0, path.rfind('.')));
    edges.push_back({file.path, i + 1, path, allowed});
  }
  return edges;
}

// "//device:vmm" or "//device/cpu:x" or "//device" as "device/vmm", "device/cpu/x", "device".
std::string LabelStem(std::string label) {
  std::replace(label.begin(), label.end(), ':', '/');
  return label.substr(2);
}

// Labels in the `deps` of each target; those of visibility and data are other matters.
std::vector<Edge> DependencyEdges(const SourceFile& file) {
  std::vector<Edge> edges;
  bool in_deps = false;
  bool is_composition = false;
  for (size_t i = 0; i < file.lines.size(); ++i) {
    const std::string& line = file.lines[i];
    if (!line.empty() && line[0] == ')') is_composition = false;
    for (const char* source : {"main.cc", "compute.cc", "engine_stack.cc", "loaded_model.cc"}) {
      is_composition |= file.top() == "server" && line.find(source) != std::string::npos;
    }
    is_composition |= file.top() == "bench" && line.find("front_end.cc") != std::string::npos;
    if (line.find("deps = ") != std::string::npos) in_deps = true;
    for (size_t from = 0; in_deps && from != std::string::npos;) {
      const std::string label = Quoted(line, "\"//", &from);
      if (label.empty()) break;
      ++from;
      const std::string stem = LabelStem(label);
      const bool allowed =
          is_composition || IsAllowed(file.top(), stem.substr(0, stem.find('/')), stem);
      edges.push_back({file.path, i + 1, label, allowed});
    }
    if (line.find(']') != std::string::npos) in_deps = false;
  }
  return edges;
}

TEST(LayersTest, IncludesGoInAllowedDirections) {
  size_t count = 0;
  for (const SourceFile& file : ReadSourceTree()) {
    if (!file.IsCpp()) continue;
    for (const Edge& edge : IncludeEdges(file)) {
      ++count;
      EXPECT_TRUE(edge.allowed) << edge.file << ":" << edge.line << ": " << file.top()
                                << "/ may not include " << edge.to;
    }
  }
  EXPECT_GT(count, 100u) << "the sources were not found";
}

TEST(LayersTest, DependenciesGoInAllowedDirections) {
  size_t count = 0;
  for (const SourceFile& file : ReadSourceTree()) {
    if (!file.IsBuild()) continue;
    for (const Edge& edge : DependencyEdges(file)) {
      ++count;
      EXPECT_TRUE(edge.allowed) << edge.file << ":" << edge.line << ": " << file.top()
                                << "/ may not depend on " << edge.to;
    }
  }
  EXPECT_GT(count, 100u) << "the BUILD files were not found";
}

// A C++ file outside the table's directories belongs to nobody.
TEST(LayersTest, EveryDirectoryIsInTheTable) {
  for (const SourceFile& file : ReadSourceTree()) {
    if (!file.IsCpp()) continue;
    EXPECT_TRUE(file.top() == "tests" || Allowed().count(file.top()) > 0) << file.path;
  }
}

// The checks above would pass if they saw nothing: these are seen.
TEST(LayersTest, WrongDirectionsAreSeen) {
  const SourceFile include{
      "memory/pool.cc",
      {"// x", "#include \"engine/core.h\"", "#include <vector>", "#include \"device/vmm_fake.h\"",
       "#include \"device/stream.h\"", "#include \"absl/status/status.h\""}};
  const std::vector<Edge> edges = IncludeEdges(include);
  ASSERT_EQ(edges.size(), 3u);
  EXPECT_FALSE(edges[0].allowed);
  EXPECT_EQ(edges[0].line, 2u);
  EXPECT_TRUE(edges[1].allowed);
  EXPECT_FALSE(edges[2].allowed);
  EXPECT_FALSE(IncludeEdges({"engine/a.h", {"#include \"server/main.h\""}})[0].allowed);
  EXPECT_FALSE(IncludeEdges({"engine/a.h", {"#include \"tests/x/y.h\""}})[0].allowed);
  EXPECT_FALSE(IncludeEdges({"server/a.h", {"#include \"memory/pool.h\""}})[0].allowed);
  EXPECT_TRUE(IncludeEdges({"server/main.cc", {"#include \"memory/pool.h\""}})[0].allowed);

  const SourceFile build{"base/BUILD.bazel",
                         {"    visibility = [\"//server:__subpackages__\"],", "    deps = [",
                          "        \"//engine:core\",", "        \":check\",", "    ],",
                          "    data = [\"//model:x\"],", "    deps = [\"//device\"],"}};
  const std::vector<Edge> labels = DependencyEdges(build);
  ASSERT_EQ(labels.size(), 2u);
  EXPECT_FALSE(labels[0].allowed);
  EXPECT_FALSE(labels[1].allowed);
}

}  // namespace
}  // namespace ebb::layers

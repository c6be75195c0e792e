// Habits that a reader of this repository may count on, checked over every file.
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/layers/source_tree.h"

namespace ebb::layers {
namespace {

constexpr size_t kLinesMax = 600;

TEST(HabitsTest, NoFileIsTooLongToRead) {
  for (const SourceFile& file : ReadSourceTree()) {
    const bool code = file.IsCpp() || file.path.find(".py") != std::string::npos;
    if (!code) continue;
    EXPECT_LT(file.lines.size(), kLinesMax) << file.path << ": split it";
  }
}

TEST(HabitsTest, EveryHeaderIsGuardedAndSaysWhatItIs) {
  for (const SourceFile& file : ReadSourceTree()) {
    if (file.path.size() < 2 || file.path.substr(file.path.size() - 2) != ".h") continue;
    ASSERT_FALSE(file.lines.empty()) << file.path;
    EXPECT_EQ(file.lines[0].substr(0, 3), "// ") << file.path << ": begin by saying what it is";
    bool guarded = false;
    for (const std::string& line : file.lines) guarded |= line == "#pragma once";
    EXPECT_TRUE(guarded) << file.path << ": #pragma once is missing";
  }
}

// A path of one person's machine is of no use to anybody else. The words are put together here, so
// that this file does not hold them.
TEST(HabitsTest, NoFileNamesAPathOfSomebodysMachine) {
  const std::string forbidden[] = {std::string("/ho") + "me/", std::string("/Us") + "ers/"};
  for (const SourceFile& file : ReadSourceTree()) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      for (const std::string& word : forbidden) {
        EXPECT_EQ(file.lines[i].find(word), std::string::npos)
            << file.path << ":" << i + 1 << ": " << word;
      }
    }
  }
}

TEST(HabitsTest, NothingIsLeftForLater) {
  const std::string later[] = {std::string("TO") + "DO", std::string("FIX") + "ME"};
  for (const SourceFile& file : ReadSourceTree()) {
    if (!file.IsCpp()) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      for (const std::string& word : later) {
        EXPECT_EQ(file.lines[i].find(word), std::string::npos) << file.path << ":" << i + 1;
      }
    }
  }
}

// The member in a row of the table of settings: "EBB_MEMBER(bool, log.windows)",
// "EBB_ENUM(kv.dtype, kKvDtypeNames)". Empty if the line has none.
std::string MemberIn(const std::string& line) {
  const size_t member = line.find("EBB_MEMBER(");
  if (member != std::string::npos) {
    const size_t begin = line.find(", ", member) + 2;
    return line.substr(begin, line.find(')', begin) - begin);
  }
  const size_t enumeration = line.find("EBB_ENUM(");
  if (enumeration == std::string::npos) return "";
  const size_t begin = enumeration + 9;
  return line.substr(begin, line.find(',', begin) - begin);
}

// A target, as package and name.
using Target = std::pair<std::string, std::string>;

// Every "tests/server:access_test" in `line`.
std::vector<Target> TargetsIn(const std::string& line) {
  std::vector<Target> targets;
  const std::regex label("(tests/[a-z0-9_/]+):([a-z0-9_]+)");
  for (auto it = std::sregex_iterator(line.begin(), line.end(), label);
       it != std::sregex_iterator(); ++it) {
    targets.emplace_back((*it)[1], (*it)[2]);
  }
  return targets;
}

// What is defined below tests/ by rules whose names end with `rules`.
std::set<Target> DefinedTargets(const std::vector<SourceFile>& files, const std::string& rules) {
  std::set<Target> targets;
  const std::regex name("    name = \"([a-z0-9_]+)\",");
  for (const SourceFile& file : files) {
    if (!file.IsBuild() || file.top() != "tests") continue;
    const std::string package = file.path.substr(0, file.path.rfind('/'));
    bool is_one = false;
    for (const std::string& line : file.lines) {
      std::smatch match;
      if (absl::EndsWith(line, "(")) is_one = absl::EndsWith(line, rules + "(");
      if (is_one && std::regex_match(line, match, name)) targets.emplace(package, match[1]);
    }
  }
  return targets;
}

// What a document says is seen by a test is seen by a test that there is.
TEST(HabitsTest, TestsThatDocumentsNameExist) {
  const std::vector<SourceFile> files = ReadSourceTree();
  const std::set<Target> targets = DefinedTargets(files, "");
  size_t count = 0;
  for (const SourceFile& file : files) {
    if (!absl::EndsWith(file.path, ".md")) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      for (const Target& target : TargetsIn(file.lines[i])) {
        ++count;
        EXPECT_EQ(targets.count(target), 1u)
            << file.path << ":" << i + 1 << ": no test " << target.first << ":" << target.second;
      }
    }
  }
  EXPECT_GT(count, 20u) << "the README's table was not found";
}

// The README's table of what works: what it says of us has a test, and what we lack has none.
TEST(HabitsTest, WhatTheReadmeSaysWorksIsTested) {
  const std::vector<SourceFile> files = ReadSourceTree();
  const std::set<Target> tests = DefinedTargets(files, "_test");
  size_t count = 0;
  for (const SourceFile& file : files) {
    if (file.path != "README.md") continue;
    bool in_table = false;
    for (const std::string& line : file.lines) {
      if (absl::EndsWith(line, "| seen by |")) in_table = true;
      if (line.empty() || line[0] != '|') in_table = false;
      if (!in_table || absl::StartsWith(line, "| | Ebb") || absl::StartsWith(line, "| ---"))
        continue;
      const std::vector<std::string> cells = absl::StrSplit(line, " | ");
      ASSERT_GE(cells.size(), 7u) << line;
      ++count;
      const std::vector<Target> named = TargetsIn(cells.back());
      EXPECT_EQ(named.empty(), cells[1] == "**no**") << line;
      for (const Target& target : named) {
        EXPECT_EQ(tests.count(target), 1u)
            << target.first << ":" << target.second << " is no test: " << line;
      }
    }
  }
  EXPECT_GT(count, 25u) << "the table was not found";
}

// The names of all tests and of what they are grouped in.
std::set<std::string> NamesOfTests() {
  const std::regex test("TEST(?:_F|_P)?\\((\\w+), ?(\\w+)\\)");
  std::set<std::string> names;
  for (const SourceFile& file : ReadSourceTree()) {
    if (file.top() != "tests" || !file.IsCpp()) continue;
    std::string text;
    for (const std::string& line : file.lines)
      absl::StrAppend(&text, absl::StripAsciiWhitespace(line));
    for (std::sregex_iterator found(text.begin(), text.end(), test), end; found != end; ++found) {
      names.insert((*found)[1]);
      names.insert((*found)[2]);
    }
  }
  return names;
}

// The last column of the tables of hostile inputs: who sees to it that a case is as it says there.
TEST(HabitsTest, TestsOfHostileInputsExist) {
  const std::set<std::string> names = NamesOfTests();
  const std::regex word("[A-Za-z]\\w*(?:\\.(\\w+))?");
  size_t count = 0;
  for (const SourceFile& file : ReadSourceTree()) {
    if (file.path != "docs/hostile-inputs.md") continue;
    bool names_tests = false;
    for (const std::string& line : file.lines) {
      if (absl::StartsWith(line, "| case |")) names_tests = absl::EndsWith(line, "| test |");
      if (!names_tests || line.size() < 2 || line[0] != '|' || line[2] == '-') continue;
      if (absl::StartsWith(line, "| case |")) continue;
      const std::string tests = line.substr(line.rfind('|', line.size() - 2) + 1);
      for (std::sregex_iterator found(tests.begin(), tests.end(), word), end; found != end;
           ++found) {
        const std::string name = (*found)[1].matched ? (*found)[1] : (*found)[0];
        ++count;
        EXPECT_EQ(names.count(name), 1u) << "no test " << (*found)[0] << ": " << line;
      }
    }
  }
  EXPECT_GT(count, 200u) << "the tables were not found";
}

// A setting that nothing reads would be a promise that nobody keeps. config/settings.cc names each
// setting's member; the server must read that member somewhere.
TEST(HabitsTest, EverySettingIsReadByTheServer) {
  std::set<std::string> members;
  std::string server;
  for (const SourceFile& file : ReadSourceTree()) {
    for (const std::string& line : file.lines) {
      if (file.path == "config/settings.cc" && line.rfind("#", 0) != 0) {
        const std::string member = MemberIn(line);
        if (!member.empty()) members.insert(member);
      }
      if (file.top() == "server" && file.IsCpp()) server += line + "\n";
    }
  }
  EXPECT_GT(members.size(), 30u) << "the table of settings was not found";
  for (const std::string& member : members) {
    // By its member, or by its key as the table knows it.
    const bool read = server.find("config." + member) != std::string::npos ||
                      server.find("config->" + member) != std::string::npos ||
                      server.find("ValueOf(config, \"" + member + "\")") != std::string::npos;
    EXPECT_TRUE(read) << "no file of the server reads " << member;
  }
}

// A second place that compares tokens could do it in a time that tells how much of one is right.
TEST(HabitsTest, TokensAreComparedInOnePlace) {
  const std::string constant_time = std::string("CRYPTO_") + "memcmp(";
  int count = 0;
  for (const SourceFile& file : ReadSourceTree()) {
    if (!file.IsCpp() || file.top() != "server") continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      count += line.find(constant_time) != std::string::npos;
      // The reader of the file, which nobody can ask, looks for tokens that are given twice.
      if (file.path == "server/access.cc") continue;
      EXPECT_EQ(line.find(constant_time), std::string::npos) << file.path << ":" << i + 1;
      EXPECT_EQ(line.find("digest =="), std::string::npos) << file.path << ":" << i + 1;
    }
  }
  EXPECT_EQ(count, 1) << "FindToken of server/access.cc was not found";
}

// Whoever reads the log by its schema is told of every event that is written, and of no other.
TEST(HabitsTest, TheLogsSchemaKnowsEveryEvent) {
  const std::regex written(R"re((?:Write\(|lines\.push_back\(\s*\{)\s*"([a-z_]+)",)re");
  const std::regex known(R"re("event": \{"const": "([a-z_]+)"\})re");
  std::set<std::string> in_source;
  std::set<std::string> in_schema;
  for (const SourceFile& file : ReadSourceTree()) {
    const bool is_schema = file.path == "docs/log.schema.json";
    const std::set<std::string> writers = {"server", "engine", "memory"};
    if (!is_schema && !(file.IsCpp() && writers.count(file.top()) > 0)) continue;
    std::string text;
    for (const std::string& line : file.lines) text += line + "\n";
    const std::regex& pattern = is_schema ? known : written;
    for (std::sregex_iterator found(text.begin(), text.end(), pattern), end; found != end;
         ++found) {
      (is_schema ? in_schema : in_source).insert((*found)[1]);
    }
  }
  EXPECT_GT(in_source.size(), 15u);
  EXPECT_EQ(in_schema, in_source);
}

}  // namespace
}  // namespace ebb::layers

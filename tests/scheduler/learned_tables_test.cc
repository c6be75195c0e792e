// The file of what was learned of the lengths of answers: docs/hostile-inputs.md, "Learned
// lengths".
#include "scheduler/learned_tables.h"

#include <zlib.h>

#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "scheduler/learned_lengths.h"
#include "tests/model/seed.h"

namespace ebb::scheduler {
namespace {

using engine::AnswerView;

constexpr char kModel[] = "tiny, llama, 2 layers of width 64, vocabulary 512";
// Where things are in a file of kModel.
constexpr size_t kVersionAt = 8;
constexpr size_t kModelAt = 12;
constexpr size_t kBodyAt = kModelAt + 4 + sizeof(kModel) - 1 + 8;
constexpr size_t kAllBinsAt = kBodyAt;
constexpr size_t kFirstEventsAt = kAllBinsAt + 4;

// It is valid as long as `tenant` is.
AnswerView Answer(absl::string_view tenant, int64_t prompt, int64_t generated) {
  AnswerView answer;
  answer.tenant = tenant;
  answer.prompt_tokens = prompt;
  answer.max_tokens = 4096;
  answer.generated_tokens = generated;
  return answer;
}

// One that has seen some hundreds of answers, of several classes, some of them cut off.
LearnedLengths Learned(uint64_t seed) {
  base::Rng rng(seed);
  LearnedLengths lengths{LearnedLengthsOptions()};
  for (int i = 0; i < 700; ++i) {
    const std::string tenant = absl::StrCat("tenant", rng.Between(0, 4));
    lengths.End(Answer(tenant, rng.Between(1, 5000), rng.Between(0, 3000)), rng.Chance(0.8));
  }
  return lengths;
}

std::string GoodFile() { return LengthsFileOf(kModel, Learned(1).Save()); }

// The file with its checksum made right again.
std::string Sealed(std::string file) {
  file.resize(file.size() - 4);
  const auto sum =
      static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(file.data()), file.size()));
  file.append(reinterpret_cast<const char*>(&sum), sizeof(sum));
  return file;
}

template <typename T>
std::string With(std::string file, size_t at, T value) {
  std::memcpy(&file.at(at), &value, sizeof(T));
  return Sealed(std::move(file));
}

// Of tables that are written by hand: `count` classes, each with an empty table.
std::string FileOfClasses(uint32_t count, const std::function<std::string(uint32_t)>& tenant,
                          uint32_t bits = 1) {
  LearnedTables none;
  const std::string empty = EncodeTables(none);
  std::string body = empty.substr(0, empty.size() - 4);
  std::memcpy(&body.at(body.size() - 4), &count, sizeof(count));
  for (uint32_t i = 0; i < count; ++i) {
    LearnedTables one;
    one.classes[{tenant(i), static_cast<int32_t>(bits), 1}];
    const std::string encoded = EncodeTables(one);
    body += encoded.substr(empty.size() - 4, encoded.size() - empty.size());
  }
  return LengthsFileOf(kModel, body + std::string(4, '\0'));
}

// Its last 24 bytes: the bins of the last tenant's ranks, the counts of one bin, the checksum.
std::string FileOfRanks(const std::vector<std::string>& tenants, const std::string& classes) {
  LearnedTables tables;
  for (const char tenant : classes) tables.classes[{std::string(1, tenant), 1, 1}];
  std::string body = EncodeTables(tables);
  body.resize(body.size() - 4);
  const auto count = static_cast<uint32_t>(tenants.size());
  body.append(reinterpret_cast<const char*>(&count), sizeof(count));
  for (const std::string& tenant : tenants) {
    LearnedTables one;
    one.ranks[tenant].events[0] = 1;
    one.ranks[tenant].at_risk[0] = 2;
    body += EncodeTables(one).substr(EncodeTables({}).size());
  }
  return LengthsFileOf(kModel, body);
}

void ExpectRefused(const std::string& file, const std::string& why) {
  const auto read = ReadLengthsFile(kModel, file);
  ASSERT_FALSE(read.ok()) << why;
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(read.status().message(), why)) << read.status().message();
  EXPECT_LT(read.status().message().size(), 700u);
  for (const char c : read.status().message()) EXPECT_TRUE(c >= ' ' && c <= '~') << int{c};
}

TEST(LearnedTablesTest, WhatWasLearnedPredictsTheSame) {
  const uint64_t seed = model::TestSeed(5);
  const LearnedLengths before = Learned(seed);
  const auto read = ReadLengthsFile(kModel, LengthsFileOf(kModel, before.Save()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_GT(read->classes.size(), 20u);
  LearnedLengths after(LearnedLengthsOptions(), *read);
  base::Rng rng(seed + 1);
  for (int i = 0; i < 500; ++i) {
    const std::string tenant = absl::StrCat("tenant", rng.Between(0, 5));
    const AnswerView answer = Answer(tenant, rng.Between(1, 9000), rng.Between(0, 4000));
    const int64_t more = rng.Between(0, 5000);
    double was = 0;
    double is = 0;
    before.Survives(answer, {more}, absl::MakeSpan(&was, 1));
    after.Survives(answer, {more}, absl::MakeSpan(&is, 1));
    ASSERT_EQ(was, is);
    ASSERT_EQ(before.ExpectedTokens(answer), after.ExpectedTokens(answer));
  }
  // It goes on from there: what comes is counted with the same weight beside what was.
  EXPECT_EQ(after.Save(), before.Save());
}

TEST(LearnedTablesTest, NothingLearnedIsAFileToo) {
  const LearnedLengths cold{LearnedLengthsOptions()};
  const auto read = ReadLengthsFile(kModel, LengthsFileOf(kModel, cold.Save()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->classes.empty());
  EXPECT_EQ(read->all.weight(), 0);
  EXPECT_TRUE(read->ranks.empty());
}

TEST(LearnedTablesTest, WhatIsNoFileOfLengthsIsRefused) {
  ExpectRefused("", "no file of lengths");
  ExpectRefused("x", "no file of lengths");
  ExpectRefused(std::string(100'000, '\0'), "no file of lengths");
  ExpectRefused("GGUF" + std::string(100, '\3'), "no file of lengths");
  ExpectRefused(GoodFile() + "x", "more follows");
}

TEST(LearnedTablesTest, CutOffAnywhereItIsRefused) {
  const std::string file = GoodFile();
  for (size_t size = 0; size < file.size(); size += size < 500 ? 1 : 97) {
    EXPECT_FALSE(ReadLengthsFile(kModel, file.substr(0, size)).ok()) << size;
  }
  ExpectRefused(file.substr(0, file.size() - 1), "cut off");
}

TEST(LearnedTablesTest, ADamagedByteIsFound) {
  const std::string file = GoodFile();
  for (size_t at = 0; at < file.size(); at += at < 200 ? 1 : 211) {
    std::string damaged = file;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    EXPECT_FALSE(ReadLengthsFile(kModel, damaged).ok()) << at;
  }
  std::string damaged = file;
  damaged[kFirstEventsAt] = static_cast<char>(damaged[kFirstEventsAt] ^ 4);
  ExpectRefused(damaged, "damaged");
}

TEST(LearnedTablesTest, AnotherVersionIsRefused) {
  ExpectRefused(With<uint32_t>(GoodFile(), kVersionAt, kLengthsFileVersion + 1),
                "of version 3; this server reads version 2");
  // Before recent ranks were part of it.
  ExpectRefused(With<uint32_t>(GoodFile(), kVersionAt, 1),
                "of version 1; this server reads version 2");
  ExpectRefused(With<uint32_t>(GoodFile(), kVersionAt, 0), "of version 0");
}

TEST(LearnedTablesTest, AnotherModelsFileIsRefused) {
  const std::string tables = Learned(1).Save();
  ExpectRefused(LengthsFileOf("other, llama", tables), "of another model, \"other, llama\"");
  ExpectRefused(LengthsFileOf("", tables), "of another model");
  // Whatever its name is made of.
  ExpectRefused(LengthsFileOf("a\n\"\x1b[2J\xff" + std::string(900, '\n'), tables),
                "of another model, \"a\\n");
}

TEST(LearnedTablesTest, SizesAreNotBelieved) {
  const std::string file = GoodFile();
  ExpectRefused(With<uint32_t>(file, kModelAt, 0xffffffff), "a name of 4294967295 bytes");
  for (const uint64_t bytes : {~uint64_t{0}, uint64_t{1} << 63, uint64_t{file.size()}}) {
    ExpectRefused(With<uint64_t>(file, kBodyAt - 8, bytes), "cut off");
  }
  ExpectRefused(With<uint32_t>(file, kAllBinsAt, SurvivalTable::kBins + 1), "a table has 176");
  ExpectRefused(With<uint32_t>(file, kAllBinsAt, 0xffffffff), "bins");
  const std::string ranks = FileOfRanks({"a"}, "a");
  ExpectRefused(With<uint32_t>(ranks, ranks.size() - 24, RankCalibration::kBins + 1),
                "11 bins; a table has 10");
  ExpectRefused(FileOfClasses(1, [](uint32_t) { return std::string(2000, 'x'); }),
                "a name of 2000 bytes");
}

TEST(LearnedTablesTest, CountsThatCannotBeAreRefused) {
  const std::string file = GoodFile();
  const std::string ranks = FileOfRanks({"a"}, "a");
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double count : {std::numeric_limits<double>::quiet_NaN(), -1.0, -1e-300, infinity,
                             -infinity, 1e7, std::numeric_limits<double>::max()}) {
    ExpectRefused(With(file, kFirstEventsAt, count), "a count that cannot be");
    ExpectRefused(With(file, kFirstEventsAt + 8, count), "a count that cannot be");
    ExpectRefused(With(ranks, ranks.size() - 20, count), "a count that cannot be");
  }
  // More answers that ended than were there.
  ExpectRefused(With(With(file, kFirstEventsAt, 3.0), kFirstEventsAt + 8, 2.0),
                "a count that cannot be");
}

TEST(LearnedTablesTest, ClassesAreCheckedInNumberAndOrder) {
  const auto named = [](uint32_t i) { return absl::StrCat("tenant", 1000 + i); };
  EXPECT_TRUE(ReadLengthsFile(kModel, FileOfClasses(kLengthClassesMax, named)).ok());
  ExpectRefused(FileOfClasses(kLengthClassesMax + 1, named), "129 classes; at most 128");
  ExpectRefused(FileOfClasses(3, [](uint32_t i) { return std::string(1, "bca"[i]); }),
                "classes out of order");
  ExpectRefused(FileOfClasses(2, [](uint32_t) { return "twice"; }), "classes out of order");
  ExpectRefused(FileOfClasses(1, named, 64), "a length of 64 bits");
  std::string missing = FileOfClasses(2, named);
  missing = LengthsFileOf(kModel, missing.substr(kBodyAt, missing.size() - kBodyAt - 4 - 12));
  ExpectRefused(missing, "cut off");
}

TEST(LearnedTablesTest, OnlyTenantsWithClassesHaveRanksAndInOrder) {
  const auto read = ReadLengthsFile(kModel, FileOfRanks({"a", "c"}, "abc"));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->ranks.size(), 2u);
  EXPECT_EQ(read->ranks.at("c").at_risk[0], 2);
  ExpectRefused(FileOfRanks({"c", "a"}, "abc"), "tenants out of order");
  ExpectRefused(FileOfRanks({"a", "a"}, "abc"), "tenants out of order");
  ExpectRefused(FileOfRanks({"a", "b"}, "acd"), "a tenant without a class");
  ExpectRefused(FileOfRanks({"d"}, "abc"), "a tenant without a class");
  ExpectRefused(FileOfRanks({"a", "b"}, "a"), "2 tenants of 1 classes");
}

TEST(LearnedTablesTest, RandomChangesAreRefusedOrRead) {
  const uint64_t seed = model::TestSeed(9);
  base::Rng rng(seed);
  const std::string file = GoodFile();
  for (int i = 0; i < 2000; ++i) {
    std::string changed = file;
    for (int64_t changes = rng.Between(1, 3); changes > 0; --changes) {
      const auto at = static_cast<size_t>(
          rng.Between(0, rng.Chance(0.5) ? 200 : static_cast<int64_t>(file.size()) - 1));
      changed[at] = static_cast<char>(rng.Bits());
    }
    const auto read = ReadLengthsFile(kModel, Sealed(changed));
    if (!read.ok()) continue;
    // What is taken gives probabilities.
    const LearnedLengths lengths(LearnedLengthsOptions(), *read);
    double survives = 0;
    lengths.Survives(Answer("tenant1", 100, 0), {50}, absl::MakeSpan(&survives, 1));
    ASSERT_GE(survives, 0);
    ASSERT_LE(survives, 1);
  }
}

}  // namespace
}  // namespace ebb::scheduler

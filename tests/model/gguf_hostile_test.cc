// Files that are no model, or a broken one: docs/hostile-inputs.md, "The file" and "The header".

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gtest/gtest.h"
#include "model/gguf.h"
#include "model/load_error.h"
#include "tests/model/gguf_builder.h"
#include "tests/model/seed.h"

namespace ebb::model {
namespace {

constexpr uint64_t kMax64 = ~uint64_t{0};

// The status is a refusal of this kind, with one printable line.
void ExpectRefused(const absl::Status& status, const std::string& reason,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_EQ(LoadErrorReason(status), reason) << status;
  for (const char c : status.message()) {
    EXPECT_TRUE(c >= 0x20 && c < 0x7F) << "byte " << static_cast<int>(c) << " in " << status;
  }
  EXPECT_LT(status.message().size(), 800u);
}

void ExpectRefused(const GgufBuilder& builder, const std::string& reason,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  ExpectRefused(builder.Open().status(), reason, code);
}

absl::Status OpenBytes(const std::string& bytes) {
  return GgufFile::Read(std::make_unique<MemorySource>(bytes)).status();
}

std::string TempPath(const std::string& name) { return testing::TempDir() + "/" + name; }

std::string WriteFile(const std::string& name, const std::string& bytes) {
  const std::string path = TempPath(name);
  unlink(path.c_str());
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

// ---- The file

TEST(GgufHostileTest, EmptyAndTinyFiles) {
  for (const size_t bytes : {0, 1, 3}) {
    ExpectRefused(GgufFile::Open(WriteFile("tiny", std::string(bytes, 'G'))).status(),
                  "not_a_model");
  }
}

TEST(GgufHostileTest, MissingFile) {
  ExpectRefused(GgufFile::Open(TempPath("absent.gguf")).status(), "not_found",
                absl::StatusCode::kNotFound);
}

TEST(GgufHostileTest, DirectoryAndDevice) {
  ExpectRefused(GgufFile::Open(testing::TempDir()).status(), "not_a_model");
  ExpectRefused(GgufFile::Open("/dev/zero").status(), "not_a_model");
}

TEST(GgufHostileTest, FifoIsNotWaitedFor) {
  const std::string path = TempPath("fifo");
  unlink(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  ExpectRefused(GgufFile::Open(path).status(), "not_a_model");
}

TEST(GgufHostileTest, SymlinkLoop) {
  const std::string path = TempPath("loop");
  unlink(path.c_str());
  ASSERT_EQ(symlink(path.c_str(), path.c_str()), 0);
  ExpectRefused(GgufFile::Open(path).status(), "not_a_model");
}

TEST(GgufHostileTest, PathWithNul) {
  const std::string good = WriteFile("good.gguf", TinyLlama().Build());
  ExpectRefused(GgufFile::Open(good + std::string("\0.gguf", 6)).status(), "not_a_model");
}

TEST(GgufHostileTest, NoPermission) {
  const std::string path = WriteFile("secret", TinyLlama().Build());
  ASSERT_EQ(chmod(path.c_str(), 0), 0);
  const int probe = open(path.c_str(), O_RDONLY);
  if (probe >= 0) {
    // Root may read everything; what it opens is then an ordinary model.
    close(probe);
    EXPECT_TRUE(GgufFile::Open(path).ok());
    return;
  }
  ExpectRefused(GgufFile::Open(path).status(), "not_a_model", absl::StatusCode::kPermissionDenied);
}

TEST(GgufHostileTest, WrongMagicNamesWhatItLooksLike) {
  const std::pair<std::string, std::string> cases[] = {
      {"GGML", "before GGUF"},
      {"FUGG", "big-endian"},
      {"PK\x03\x04", "zip"},
      {"\x80\x02}q", "pickle"},
      {"<!DOCTYPE html>", "web page"},
      {"version https://git-lfs.github.com/spec/v1", "git lfs pull"},
      {std::string("\x10\0\0\0\0\0\0\0{\"a\":1}", 15), "safetensors"},
      {"\x7F"
       "ELF",
       "something else"},
  };
  for (const auto& [head, hint] : cases) {
    const absl::Status status = OpenBytes(head + std::string(100, '\0'));
    ExpectRefused(status, "magic");
    EXPECT_TRUE(absl::StrContains(status.message(), hint)) << status;
  }
}

TEST(GgufHostileTest, WrongVersions) {
  for (const uint32_t version : {0u, 1u, 4u, 0xFFFFFFFFu}) {
    GgufBuilder builder = TinyLlama();
    builder.version = version;
    ExpectRefused(builder, "version");
  }
  for (const uint32_t version : {0x03000000u, 0x02000000u}) {
    GgufBuilder builder = TinyLlama();
    builder.version = version;
    ExpectRefused(builder, "endianness");
  }
}

TEST(GgufHostileTest, FileCutShortAfterOpening) {
  const std::string path = WriteFile("shrinking.gguf", TinyLlama().Build());
  auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(truncate(path.c_str(), 100), 0);
  ExpectRefused((*file)->ReadTensor("token_embd.weight").status(), "io",
                absl::StatusCode::kDataLoss);
}

TEST(GgufHostileTest, EveryFailingReadIsReported) {
  GgufBuilder builder = TinyLlama();
  builder.SetString("general.description", std::string(300'000, 'x'));  // Several buffers long.
  int64_t failures = 0;
  for (int64_t read = 0;; ++read) {
    auto source = std::make_unique<MemorySource>(builder.Build());
    source->FailFromRead(read);
    auto file = GgufFile::Read(std::move(source));
    if (!file.ok()) {
      ExpectRefused(file.status(), "io", absl::StatusCode::kDataLoss);
      ++failures;
      continue;
    }
    ExpectRefused((*file)->ReadTensor("token_embd.weight").status(), "io",
                  absl::StatusCode::kDataLoss);
    break;
  }
  EXPECT_GE(failures, 5);
}

// ---- Counts and lengths

TEST(GgufHostileTest, TensorCountBeyondTheFile) {
  const uint64_t bytes = TinyLlama().Build().size();
  for (const uint64_t count : {kMax64, uint64_t{1} << 63, bytes / 24}) {
    GgufBuilder builder = TinyLlama();
    builder.tensor_count = count;
    ExpectRefused(builder, "count");
  }
}

TEST(GgufHostileTest, KeyCountBeyondTheFile) {
  const uint64_t bytes = TinyLlama().Build().size();
  for (const uint64_t count : {kMax64, uint64_t{1} << 63, bytes / 13}) {
    GgufBuilder builder = TinyLlama();
    builder.key_count = count;
    ExpectRefused(builder, "count");
  }
}

TEST(GgufHostileTest, MoreKeysOrTensorsThanTheLimit) {
  GgufLimits limits;
  limits.key_count_max = 5;
  ExpectRefused(TinyLlama().Open(limits).status(), "limit");
  limits = GgufLimits();
  limits.tensor_count_max = 5;
  ExpectRefused(TinyLlama().Open(limits).status(), "limit");
}

TEST(GgufHostileTest, KeyLengthBeyondTheFile) {
  GgufBuilder builder;
  builder.key_count = 1;
  const std::string head = builder.BuildHeader();
  const std::string rest = "a_key" + std::string(20, '\0');
  for (const uint64_t length : {kMax64, uint64_t{1} << 63, uint64_t{rest.size() + 1}}) {
    ExpectRefused(OpenBytes(head + RawBytes(length) + rest), "length");
  }
}

TEST(GgufHostileTest, StringLengthBeyondTheFile) {
  for (const uint64_t length : {kMax64, kMax64 - 7, uint64_t{5}}) {
    GgufBuilder builder;
    builder.SetRaw("general.name", GgufType::kString, RawBytes(length) + "four");
    ExpectRefused(builder, "length");
  }
}

TEST(GgufHostileTest, BadKeys) {
  const std::string bad[] = {
      "",         std::string("a\0b", 3), "line\nbreak", "esc\x1B[31m",
      "\xFF\xFE", "with space",           "\xC3\xA4",    std::string(257, 'k')};
  for (const std::string& key : bad) {
    GgufBuilder builder = TinyLlama();
    builder.SetUint32(key, 1);
    ExpectRefused(builder, "key");
  }
}

TEST(GgufHostileTest, DuplicateKey) {
  GgufBuilder builder = TinyLlama();
  builder.values.push_back(builder.values[3]);
  ExpectRefused(builder, "dup_key");
}

TEST(GgufHostileTest, ValueTypesThatDoNotExist) {
  for (const uint32_t type : {13u, 0xFFFFFFFFu}) {
    GgufBuilder builder = TinyLlama();
    builder.SetRaw("general.x", static_cast<GgufType>(type), std::string(16, '\0'));
    ExpectRefused(builder, "type");
  }
  for (const uint32_t type : {13u, 0xFFFFFFFFu, 9u}) {  // 9: an array of arrays.
    GgufBuilder builder = TinyLlama();
    builder.SetRaw("general.x", GgufType::kArray,
                   GgufBuilder::ArrayHead(static_cast<GgufType>(type), 1) + std::string(16, '\0'));
    ExpectRefused(builder, "type");
  }
  GgufBuilder builder = TinyLlama();
  builder.SetRaw("general.x", GgufType::kBool, "\x02");
  ExpectRefused(builder, "type");
}

TEST(GgufHostileTest, ArrayCountsBeyondTheFile) {
  for (const GgufType type : {GgufType::kUint8, GgufType::kUint64, GgufType::kString}) {
    for (const uint64_t count : {kMax64, kMax64 / 8 + 2, uint64_t{100'000}}) {
      GgufBuilder builder = TinyLlama();
      builder.SetRaw("general.x", GgufType::kArray, GgufBuilder::ArrayHead(type, count));
      ExpectRefused(builder, "array");
    }
  }
}

TEST(GgufHostileTest, MoreStringsThanTheLimit) {
  GgufBuilder builder;
  builder.SetStringArray("a", std::vector<std::string>(60));
  builder.SetStringArray("b", std::vector<std::string>(60));
  GgufLimits limits;
  limits.string_count_max = 100;
  ExpectRefused(builder.Open(limits).status(), "limit");
  limits.string_count_max = 120;
  EXPECT_TRUE(builder.Open(limits).ok());
}

TEST(GgufHostileTest, MoreMetadataThanTheLimit) {
  GgufLimits limits;
  limits.metadata_bytes_max = 4096;
  GgufBuilder text = TinyLlama();
  text.SetString("general.description", std::string(5000, 'x'));
  ExpectRefused(text.Open(limits).status(), "limit");
  GgufBuilder array = TinyLlama();
  array.SetArray("general.x", GgufType::kFloat32, std::vector<float>(1500));
  ExpectRefused(array.Open(limits).status(), "limit");
  EXPECT_TRUE(TinyLlama().Open(limits).ok());
}

// ---- Tensors

TEST(GgufHostileTest, BadAlignment) {
  for (const uint32_t alignment : {0u, 13u, 4u, 0x20000u, 0x80000000u}) {
    GgufBuilder builder = TinyLlama();
    builder.SetUint32("general.alignment", alignment);
    ExpectRefused(builder, "alignment");
  }
  GgufBuilder text = TinyLlama();
  text.SetString("general.alignment", "32");
  ExpectRefused(text, "alignment");
  GgufBuilder wide = TinyLlama();
  wide.SetUint64("general.alignment", 32);
  ExpectRefused(wide, "alignment");
}

TEST(GgufHostileTest, BadTensorNames) {
  const std::string bad[] = {"", std::string(64, 'n'), "\xFF", "a\nb", std::string("a\0", 2)};
  for (const std::string& name : bad) {
    GgufBuilder builder = TinyLlama();
    builder.tensors[1].name = name;
    ExpectRefused(builder, "name");
  }
  GgufBuilder twice = TinyLlama();
  twice.tensors[1].name = twice.tensors[0].name;
  ExpectRefused(twice, "name");
}

TEST(GgufHostileTest, TensorNameLengthBeyondTheFile) {
  GgufBuilder builder;
  builder.tensor_count = 1;
  ExpectRefused(OpenBytes(builder.BuildHeader() + RawBytes(kMax64) + std::string(64, 'n')),
                "length");
}

TEST(GgufHostileTest, BadDimensionCounts) {
  for (const uint32_t count : {0u, 5u, 0xFFFFFFFFu}) {
    GgufBuilder builder = TinyLlama();
    builder.tensors[0].dim_count = count;
    ExpectRefused(builder, "ndims");
  }
}

TEST(GgufHostileTest, ZeroAndNegativeDimensions) {
  for (const uint64_t dim : {uint64_t{0}, uint64_t{1} << 63, kMax64}) {
    for (const size_t place : {0, 1}) {
      GgufBuilder builder = TinyLlama();
      builder.tensors[0].dims[place] = dim;
      ExpectRefused(builder, "dim");
    }
  }
}

TEST(GgufHostileTest, TensorSizesThatOverflow) {
  constexpr uint64_t kInt64Max = kMax64 >> 1;
  struct Case {
    std::vector<uint64_t> dims;
    uint32_t type;
  };
  const Case cases[] = {
      {{kInt64Max, 2, 1, 1}, 0},                  // The element count overflows.
      {{4398046511105, 4398046511105, 4, 1}, 0},  // It wraps to something small.
      {{uint64_t{1} << 62}, 0},                   // The elements fit, the bytes do not.
      {{kInt64Max / 32 * 32}, 8},                 // The same in block formats.
      {{kInt64Max / 256 * 256, 2}, 14},
      {{(uint64_t{1} << 62) - 1}, 0},  // 2^64 - 4 bytes: padding would wrap to 0.
  };
  for (const Case& one : cases) {
    GgufBuilder builder = TinyLlama();
    builder.tensors[0].dims = one.dims;
    builder.tensors[0].type = one.type;
    ExpectRefused(builder, "overflow");
  }
}

TEST(GgufHostileTest, SumOfTensorSizesOverflows) {
  for (const size_t count : {2, 3, 5}) {
    GgufBuilder builder;
    // With two tensors it is the header before them that makes the sum wrap.
    builder.SetString("general.description", std::string(100, 'x'));
    for (size_t i = 0; i < count; ++i) {
      TensorDraft draft;
      draft.name = absl::StrCat("t", i);
      draft.dims = {0x1FFFFFFFFFFFFFF0};  // 0x7FFF'FFFF'FFFF'FFC0 bytes.
      builder.AddTensor(draft);
    }
    ExpectRefused(builder, "overflow");
  }
}

TEST(GgufHostileTest, TensorTypes) {
  for (const uint32_t type : {4u, 5u, 31u, 33u, 36u, 38u, 43u, 1000u, 0xFFFFFFFFu}) {
    GgufBuilder builder = TinyLlama();
    builder.tensors[2].type = type;
    ExpectRefused(builder, "type");
  }
  for (const uint32_t type : {9u, 10u, 11u, 15u, 20u, 24u, 28u, 39u}) {
    GgufBuilder builder = TinyLlama();
    builder.tensors[2].type = type;
    ExpectRefused(builder, "unsupported", absl::StatusCode::kUnimplemented);
  }
  GgufBuilder builder = TinyLlama();
  builder.tensors[2].type = 11;
  const absl::Status status = builder.Open().status();
  EXPECT_TRUE(absl::StrContains(status.message(), "has type Q3_K")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), builder.tensors[2].name)) << status;
}

TEST(GgufHostileTest, RowsThatAreNoMultipleOfTheBlock) {
  const auto expect_refused = [](uint64_t columns, uint32_t type) {
    GgufBuilder builder = TinyLlama();
    builder.Tensor("blk.0.attn_q.weight").dims = {columns, 32};
    builder.Tensor("blk.0.attn_q.weight").type = type;
    ExpectRefused(builder, "block");
  };
  for (const uint32_t type : {2u, 3u, 6u, 7u, 8u}) expect_refused(33, type);
  // The K formats: their blocks have 256 elements, however many 32 would do.
  for (const uint32_t type : {12u, 13u, 14u}) {
    for (const uint64_t columns : {32, 255, 288, 576}) expect_refused(columns, type);
  }
}

TEST(GgufHostileTest, TensorOffsets) {
  const GgufBuilder good = TinyLlama();
  const uint64_t data_bytes = good.Build().size() - (good.BuildHeader().size() + 31) / 32 * 32;
  const uint64_t last_bytes = good.tensors.back().data.size();
  const uint64_t cases[] = {
      1,                             // Not aligned.
      0,                             // Over the first tensor.
      data_bytes - last_bytes + 32,  // Ends behind the file.
      data_bytes,
      (kMax64 >> 1) + 1,
      kMax64 - 31,
      kMax64 - last_bytes + 1,  // Wraps round to 0.
  };
  for (const uint64_t offset : cases) {
    GgufBuilder builder = good;
    builder.tensors.back().offset = offset;
    ExpectRefused(builder, "offset");
  }
  GgufBuilder short_by_one = good;
  short_by_one.tensors.back().data.pop_back();
  ExpectRefused(short_by_one, "truncated");
}

// Blocks of any format, the last of them without its last byte.
TEST(GgufHostileTest, BlocksCutShort) {
  struct Case {
    uint32_t type;
    uint64_t columns;
    size_t block_bytes;
  };
  const Case cases[] = {{2, 32, 18}, {3, 32, 20},    {6, 32, 22},    {7, 32, 24},
                        {8, 32, 34}, {12, 256, 144}, {13, 256, 176}, {14, 256, 210}};
  for (const Case& one : cases) {
    GgufBuilder builder;
    TensorDraft draft;
    draft.name = "blocks";
    draft.dims = {one.columns, 3};
    draft.type = one.type;
    draft.data = std::string(3 * one.block_bytes, '\0');
    builder.AddTensor(draft);
    EXPECT_TRUE(builder.Open().ok()) << builder.Open().status();
    builder.tensors[0].data.pop_back();
    ExpectRefused(builder, "truncated");
  }
}

// ---- Cut files

TEST(GgufHostileTest, CutAtEveryHeaderByte) {
  const std::string whole = TinyLlama().Build();
  const size_t header_bytes = TinyLlama().BuildHeader().size();
  const std::set<std::string> allowed = {"not_a_model", "truncated", "count", "length", "array"};
  for (size_t bytes = 0; bytes < header_bytes; ++bytes) {
    const absl::Status status = OpenBytes(whole.substr(0, bytes));
    ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << "at " << bytes << status;
    ASSERT_TRUE(allowed.contains(LoadErrorReason(status))) << "at " << bytes << ": " << status;
  }
}

TEST(GgufHostileTest, CutAnywhereInTheData) {
  const std::string whole = TinyLlama().Build();
  const size_t header_bytes = TinyLlama().BuildHeader().size();
  const uint64_t seed = TestSeed(1);
  base::Rng rng(seed);
  for (int i = 0; i < 200; ++i) {
    const auto bytes = static_cast<size_t>(
        rng.Between(static_cast<int64_t>(header_bytes), static_cast<int64_t>(whole.size()) - 1));
    const absl::Status status = OpenBytes(whole.substr(0, bytes));
    ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument)
        << "SEED=" << seed << " at " << bytes;
    ASSERT_TRUE(LoadErrorReason(status) == "truncated" || LoadErrorReason(status) == "offset")
        << "SEED=" << seed << ": " << status;
  }
}

TEST(GgufHostileTest, TrailingBytesAreAWarning) {
  auto padded = TinyLlama();
  padded.trailing = "";
  auto file = padded.Open();
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->warnings().empty());

  padded.trailing = std::string(100, 'x');
  file = padded.Open();
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->warnings().size(), 1u);
  EXPECT_TRUE(absl::StrContains((*file)->warnings()[0], "100 bytes"));
}

// Random damage: whatever happens, no crash, and what opens has its tensors inside the file.
TEST(GgufHostileTest, RandomDamage) {
  const std::string whole = TinyLlama().Build();
  const size_t header_bytes = TinyLlama().BuildHeader().size();
  const uint64_t seed = TestSeed(1);
  base::Rng rng(seed);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = whole;
    const int64_t hits = rng.Between(1, 4);
    for (int64_t h = 0; h < hits; ++h) {
      const auto at = static_cast<size_t>(rng.Between(4, static_cast<int64_t>(header_bytes) - 1));
      bytes[at] = static_cast<char>(rng.Chance(0.3) ? 0xFF : rng.Bits());
    }
    auto file = GgufFile::Read(std::make_unique<MemorySource>(bytes));
    if (!file.ok()) {
      ASSERT_NE(LoadErrorReason(file.status()), "") << "SEED=" << seed << file.status();
      continue;
    }
    for (const GgufTensor& tensor : (*file)->tensors()) {
      ASSERT_LE(tensor.offset + tensor.bytes, bytes.size()) << "SEED=" << seed;
      ASSERT_TRUE((*file)->ReadTensor(tensor.name).ok()) << "SEED=" << seed;
    }
  }
}

}  // namespace
}  // namespace ebb::model

#include "server/vllm/zip_archive.h"

#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace ebb::server {
namespace {

// The bytes that Python 3.11's zipfile writes for the same two files, of 1980-01-01, as MS-DOS
// (create_system 0), with version 10, without attributes.
TEST(ZipArchiveTest, WritesWhatOthersWrite) {
  EXPECT_EQ(absl::BytesToHexString(ZipOf({{"a.txt", "hello"}, {"b/c", ""}})),
            "504b03040a00000000000000210086a61036050000000500000005000000612e74787468656c6c6f"
            "504b03040a00000000000000210000000000000000000000000003000000622f63504b01020a000a"
            "00000000000000210086a61036050000000500000005000000000000000000000000000000000061"
            "2e747874504b01020a000a0000000000000021000000000000000000000000000300000000000000"
            "00000000000028000000622f63504b0506000000000200020064000000490000000000");
}

TEST(ZipArchiveTest, AnEmptyArchiveIsItsEnd) {
  EXPECT_EQ(absl::BytesToHexString(ZipOf({})), "504b0506000000000000000000000000000000000000");
}

}  // namespace
}  // namespace ebb::server

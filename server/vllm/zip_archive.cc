#include "server/vllm/zip_archive.h"

#include <zlib.h>

#include <cstdint>
#include <limits>

#include "absl/strings/string_view.h"
#include "base/check.h"

namespace ebb::server {
namespace {

// Of PKWARE's APPNOTE: the signatures of its records, and the oldest version that reads them.
constexpr uint32_t kFileHeader = 0x04034b50;
constexpr uint32_t kDirectoryHeader = 0x02014b50;
constexpr uint32_t kEndOfDirectory = 0x06054b50;
constexpr uint16_t kVersion = 10;
constexpr uint16_t kFirstDay = 1 << 5 | 1;  // 1980-01-01: the archive tells no time.

void Put16(uint16_t value, std::string* out) {
  out->push_back(static_cast<char>(value & 0xFF));
  out->push_back(static_cast<char>(value >> 8));
}

void Put32(uint32_t value, std::string* out) {
  Put16(static_cast<uint16_t>(value & 0xFFFF), out);
  Put16(static_cast<uint16_t>(value >> 16), out);
}

uint32_t Narrow(size_t bytes) {
  CHECK_LT(bytes, std::numeric_limits<uint32_t>::max());
  return static_cast<uint32_t>(bytes);
}

// What a file's header and its entry in the directory have in common.
void PutEntry(absl::string_view name, absl::string_view contents, std::string* out) {
  const uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(contents.data()), contents.size());
  Put16(kVersion, out);
  Put16(0, out);  // No flags: names are ASCII.
  Put16(0, out);  // Stored as it is.
  Put16(0, out);  // Midnight of
  Put16(kFirstDay, out);
  Put32(static_cast<uint32_t>(crc), out);
  Put32(Narrow(contents.size()), out);
  Put32(Narrow(contents.size()), out);
  Put16(static_cast<uint16_t>(name.size()), out);
  Put16(0, out);  // No extra field.
}

}  // namespace

std::string ZipOf(absl::Span<const std::pair<std::string, std::string>> files) {
  std::string archive;
  std::string directory;
  for (const auto& [name, contents] : files) {
    Put32(kDirectoryHeader, &directory);
    Put16(kVersion, &directory);  // Made by: MS-DOS, so no attributes.
    PutEntry(name, contents, &directory);
    directory.append(10, '\0');  // No comment, first disk, no attributes.
    Put32(Narrow(archive.size()), &directory);
    directory += name;

    Put32(kFileHeader, &archive);
    PutEntry(name, contents, &archive);
    archive += name;
    archive += contents;
  }
  const size_t directory_at = archive.size();
  archive += directory;
  Put32(kEndOfDirectory, &archive);
  Put32(0, &archive);  // This disk, and the directory's.
  Put16(static_cast<uint16_t>(files.size()), &archive);
  Put16(static_cast<uint16_t>(files.size()), &archive);
  Put32(Narrow(directory.size()), &archive);
  Put32(Narrow(directory_at), &archive);
  Put16(0, &archive);  // No comment.
  return archive;
}

}  // namespace ebb::server

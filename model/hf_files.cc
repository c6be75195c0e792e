#include "model/hf_files.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "model/byte_source.h"
#include "model/load_error.h"

namespace ebb::model {

std::string PathOf(const std::string& directory, const HfFile& file) {
  return absl::StrCat(directory, "/", file.name);
}

bool IsThere(const std::string& directory, const HfFile& file) {
  struct stat info;
  return stat(PathOf(directory, file).c_str(), &info) == 0;
}

absl::StatusOr<std::string> ReadText(const std::string& directory, const HfFile& file) {
  const std::string path = PathOf(directory, file);
  ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> source, OpenFile(path));
  if (source->size() > file.bytes_max) {
    return LoadError(absl::StatusCode::kInvalidArgument, path, "limit", kNoOffset,
                     absl::StrCat("it has ", source->size(), " bytes; at most ", file.bytes_max,
                                  " are read. Fetch all files of the model again."));
  }
  std::string text(static_cast<size_t>(source->size()), '\0');
  RETURN_IF_ERROR(
      source->ReadAt(0, absl::MakeSpan(reinterpret_cast<uint8_t*>(text.data()), text.size())));
  return text;
}

absl::StatusOr<std::unique_ptr<const JsonDocument>> ReadJson(const std::string& directory,
                                                             const HfFile& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadText(directory, file));
  return JsonDocument::Parse(PathOf(directory, file), text);
}

absl::StatusOr<std::unique_ptr<const JsonDocument>> ReadOptionalJson(const std::string& directory,
                                                                     const HfFile& file) {
  if (!IsThere(directory, file)) return std::unique_ptr<const JsonDocument>();
  return ReadJson(directory, file);
}

}  // namespace ebb::model

#include "tools/make_model.h"

#include <sys/statvfs.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "model/export_hf.h"
#include "model/load_error.h"
#include "model/open_model.h"
#include "model/random_model.h"

namespace ebb::tools {
namespace {

using kernels::DType;

// Beside the weights: tokenizer.json, the files' tables and the file system's own needs.
constexpr int64_t kSpareBytes = int64_t{64} << 20;
// A progress line for each part of the whole.
constexpr int64_t kProgressParts = 10;

absl::Status UsageError(const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat(what,
                   "\nusage: make_model MODEL --output DIRECTORY [--dtype bf16|f32]\n"
                   "MODEL is random:SHAPE, a GGUF file or a Hugging Face directory. Shapes: ",
                   absl::StrJoin(model::RandomShapes(), ", ")));
}

// "14.96 GiB", "3.20 MiB".
std::string InWords(int64_t bytes) {
  const bool large = bytes >= int64_t{1} << 30;
  return absl::StrFormat("%.2f %s", static_cast<double>(bytes) / (large ? 1 << 30 : 1 << 20),
                         large ? "GiB" : "MiB");
}

int64_t WeightBytes(const model::ModelConfig& config, DType dtype) {
  int64_t elements = 0;
  for (const model::WeightId id : model::WeightsOf(config)) {
    const model::WeightShape shape = model::ShapeOf(config, id.kind);
    elements += shape.rows * shape.columns;
  }
  return elements * kernels::TraitsOf(dtype).block_bytes;
}

// Where `output` is to be made: itself if it is there, else its parent.
std::string PlaceOf(const std::string& output) {
  std::error_code ignored;
  if (std::filesystem::exists(output, ignored)) return output;
  const std::filesystem::path parent =
      (std::filesystem::path(output) / "").parent_path().parent_path();
  return parent.empty() ? "." : parent.string();
}

absl::StatusOr<int64_t> FreeBytes(const std::string& output) {
  const std::string place = PlaceOf(output);
  struct statvfs disk;
  if (statvfs(place.c_str(), &disk) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(model::Printable(place), ": no such place"));
  }
  return static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize);
}

// Before anything large is read: ExportHf would find it too, but only then.
absl::Status CheckEmpty(const std::string& output) {
  std::error_code error;
  if (!std::filesystem::exists(output, error)) return absl::OkStatus();
  if (std::filesystem::is_directory(output, error) && std::filesystem::is_empty(output, error) &&
      !error) {
    return absl::OkStatus();
  }
  return absl::AlreadyExistsError(absl::StrCat(
      model::Printable(output), ": it is there and no empty directory; name a new one"));
}

}  // namespace

absl::StatusOr<MakeModelOptions> ParseMakeModel(absl::Span<const std::string> arguments) {
  MakeModelOptions options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (!absl::StartsWith(word, "--")) {
      if (!options.model.empty()) return UsageError(absl::StrCat("a second model, ", word));
      options.model = word;
      continue;
    }
    if (word != "--output" && word != "--dtype") {
      return UsageError(absl::StrCat("unknown option ", word));
    }
    if (i + 1 == arguments.size()) return UsageError(absl::StrCat("no value for ", word));
    const std::string& value = arguments[++i];
    if (word == "--output") {
      options.output = value;
    } else if (value == "bf16" || value == "f32") {
      options.dtype = value == "bf16" ? DType::kBF16 : DType::kF32;
    } else {
      return UsageError(absl::StrCat("--dtype is bf16 or f32, not ", value));
    }
  }
  if (options.model.empty()) return UsageError("no model");
  if (options.output.empty()) return UsageError("no --output");
  return options;
}

absl::Status CheckSpace(const std::string& output, int64_t needed_bytes, int64_t free_bytes) {
  if (needed_bytes + kSpareBytes <= free_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      model::Printable(output), ": the model needs ", InWords(needed_bytes + kSpareBytes),
      ", but only ", InWords(free_bytes), " are free there"));
}

absl::Status MakeModel(const MakeModelOptions& options, std::ostream& progress) {
  RETURN_IF_ERROR(CheckEmpty(options.output));
  ASSIGN_OR_RETURN(const model::OpenedModel opened, model::OpenModel(options.model));
  for (const std::string& warning : opened.warnings) progress << "warning: " << warning << "\n";
  const model::ModelConfig& config = opened.weights->config();
  const int64_t bytes = WeightBytes(config, options.dtype);
  ASSIGN_OR_RETURN(const int64_t free_bytes, FreeBytes(options.output));
  RETURN_IF_ERROR(CheckSpace(options.output, bytes, free_bytes));
  progress << absl::StreamFormat("%s: %s, %d layers of width %d, %s of %s\n", options.model,
                                 config.architecture, config.layers, config.width, InWords(bytes),
                                 kernels::TraitsOf(options.dtype).name);
  model::ExportOptions export_options;
  export_options.dtype = options.dtype;
  int64_t parts_told = 0;
  RETURN_IF_ERROR(model::ExportHf(
      opened, options.output, export_options, [&](int64_t bytes_done, int64_t bytes_total) {
        const int64_t parts = bytes_done * kProgressParts / bytes_total;
        if (parts == parts_told) return;
        parts_told = parts;
        progress << absl::StreamFormat("%3d %%  %s written\n", parts * 100 / kProgressParts,
                                       InWords(bytes_done))
                 << std::flush;
      }));
  progress << options.output << " is complete\n";
  return absl::OkStatus();
}

}  // namespace ebb::tools

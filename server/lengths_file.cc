#include "server/lengths_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "absl/status/statusor.h"
#include "server/file_watch.h"
#include "server/replace_file.h"

namespace ebb::server {
namespace {

constexpr absl::string_view kSetting = "scheduler.lengths_file";

bool IsAbsent(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) != 0 && errno == ENOENT;
}

absl::StatusOr<scheduler::LearnedTables> ReadTables(const std::string& path,
                                                    const std::string& model) {
  const absl::StatusOr<std::string> bytes = ReadWatchedFile(kSetting, path, FileReaders::kAnybody);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<scheduler::LearnedTables> tables = scheduler::ReadLengthsFile(model, *bytes);
  if (!tables.ok()) return BadFile(kSetting, path, tables.status().message());
  return tables;
}

}  // namespace

LengthsFile::LengthsFile(std::string path, std::string model, const base::Clock* clock,
                         base::Log* log)
    : path_(std::move(path)),
      model_(std::move(model)),
      clock_(clock),
      log_(log),
      looked_(clock->Now()) {}

scheduler::LearnedTables LengthsFile::Read() {
  if (IsAbsent(path_)) {
    log_->Write("lengths", {{"file", path_}, {"state", "absent"}});
    return {};
  }
  absl::StatusOr<scheduler::LearnedTables> tables = ReadTables(path_, model_);
  if (!tables.ok()) {
    log_->Write("lengths", {{"file", path_},
                            {"state", "refused"},
                            {"message", std::string(tables.status().message())}});
    return {};
  }
  log_->Write("lengths", {{"file", path_},
                          {"state", "read"},
                          {"classes", tables->classes.size()},
                          {"answers", tables->all.weight()}});
  return *std::move(tables);
}

void LengthsFile::Tick(const engine::Engine& engine) {
  const absl::Time now = clock_->Now();
  // Also when the clock was set back.
  if (now >= looked_ && now - looked_ < kSaveEvery) return;
  looked_ = now;
  if (engine.Load().finished_total != finished_total_) Save(engine);
}

void LengthsFile::Save(const engine::Engine& engine) {
  const int64_t finished_total = engine.Load().finished_total;
  const std::string file = scheduler::LengthsFileOf(model_, engine.SaveLengths());
  const absl::Status written = ReplaceFile(path_, file);
  if (written.ok()) {
    finished_total_ = finished_total;
    return;
  }
  log_->Write("lengths_not_saved", {{"message", std::string(written.message())}});
}

}  // namespace ebb::server

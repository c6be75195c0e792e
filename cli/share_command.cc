// ebb share: every server that takes part in a ledger of this host. Reads files, asks no server.
#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/answer_json.h"
#include "cli/command.h"
#include "memory/ledger.h"
#include "memory/ledger_file.h"

namespace ebb::cli {
namespace {

namespace fs = std::filesystem;

// The ledgers that a path means: itself, or those of a directory.
std::vector<std::string> LedgersAt(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<std::string> found;
  for (auto it = fs::directory_iterator(path, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (absl::StartsWith(name, "ebb-") && absl::EndsWith(name, ".ledger")) {
      found.push_back(it->path().string());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

int64_t GivesBackBytes(const memory::LedgerEntry& entry) {
  return std::max<int64_t>(0, entry.held_bytes - entry.keep_bytes);
}

// What its share still lacks.
int64_t ShortBytes(const memory::LedgerEntry& entry) {
  return std::max<int64_t>(0, entry.share_bytes - entry.party.lease_bytes);
}

nlohmann::ordered_json EntryJson(const memory::LedgerEntry& entry) {
  return {{"slot", entry.slot},
          {"pid", entry.pid},
          {"name", entry.name},
          {"floor_bytes", entry.party.floor_bytes},
          {"weight", entry.party.weight},
          {"ceiling_bytes", entry.party.ceiling_bytes},
          {"share_bytes", entry.share_bytes},
          {"lease_bytes", entry.party.lease_bytes},
          {"held_bytes", entry.held_bytes},
          {"needed_bytes", entry.needed_bytes},
          {"wanted_bytes", entry.party.wanted_bytes},
          {"gives_back_bytes", GivesBackBytes(entry)},
          {"short_bytes", ShortBytes(entry)},
          {"revision", entry.revision}};
}

std::string Mebibytes(int64_t bytes) {
  return absl::StrFormat("%.1f", static_cast<double>(bytes) / (1 << 20));
}

std::string Pressure(const memory::LedgerEntry& entry) {
  if (GivesBackBytes(entry) > 0) return "gives back " + Mebibytes(GivesBackBytes(entry));
  if (ShortBytes(entry) > 0) return "short of " + Mebibytes(ShortBytes(entry));
  return "none";
}

void PrintTable(const std::string& device, const std::vector<memory::LedgerEntry>& entries,
                std::ostream* out) {
  *out << "device " << device << ": " << entries.size()
       << (entries.size() == 1 ? " server" : " servers") << ", sizes in MiB\n";
  if (entries.empty()) return;
  *out << absl::StrFormat("%8s %9s %6s %9s %9s %9s %9s  %-18s %s\n", "PID", "FLOOR", "WEIGHT",
                          "SHARE", "HELD", "NEEDED", "WANTED", "PRESSURE", "NAME");
  for (const memory::LedgerEntry& entry : entries) {
    *out << absl::StrFormat("%8d %9s %6d %9s %9s %9s %9s  %-18s %s\n", entry.pid,
                            Mebibytes(entry.party.floor_bytes), entry.party.weight,
                            Mebibytes(entry.share_bytes), Mebibytes(entry.held_bytes),
                            Mebibytes(entry.needed_bytes), Mebibytes(entry.party.wanted_bytes),
                            Pressure(entry), entry.name);
  }
}

ExitCode RunShare(const Args& args, Connection*, Terminal* terminal) {
  const std::string path = args.Text("path").value_or(memory::kLedgerDirectory);
  const std::vector<std::string> ledgers = LedgersAt(path);
  if (ledgers.empty()) {
    return Fail(terminal, ExitCode::kFailed,
                path + ": no ledger; no server that shares memory has run here");
  }
  ExitCode code = ExitCode::kOk;
  nlohmann::ordered_json devices = nlohmann::ordered_json::array();
  for (const std::string& ledger : ledgers) {
    const auto file = memory::LedgerFile::Open(ledger, "", memory::LedgerFile::Access::kReadOnly);
    if (!file.ok()) {
      code = Fail(terminal, ExitCode::kFailed, file.status().message());
      continue;
    }
    const std::vector<memory::LedgerEntry> entries = memory::ReadLedger(**file);
    if (!args.Has("json")) {
      PrintTable((*file)->device_id(), entries, terminal->out);
      continue;
    }
    nlohmann::ordered_json servers = nlohmann::ordered_json::array();
    for (const memory::LedgerEntry& entry : entries) servers.push_back(EntryJson(entry));
    devices.push_back({{"device", (*file)->device_id()}, {"path", ledger}, {"servers", servers}});
  }
  if (args.Has("json")) *terminal->out << JsonLine({{"devices", devices}});
  return code;
}

}  // namespace

Command ShareCommand() {
  return {"share",
          "",
          "Show every server that shares a device's memory on this host.",
          {{"path", "PATH", "A ledger, or the directory of them. Default /dev/shm."},
           {"json", "", "Print one JSON object."}},
          RunShare};
}

}  // namespace ebb::cli

// LedgerFile: the ledger's slots in a file that servers map.
//
//   DIRECTORY/ebb-DEVICE.ledger:  [ magic | version | sizes | device ][ slot 0 ][ slot 1 ] ...
//
// A slot's lock is a byte range of the file, locked by open file description (F_OFD_SETLK): the
// kernel drops it when its process ends, however it ends, after the process's memory has gone. Such
// locks are seen across containers that mount the same directory; PIDs are not.
//
// The file is made complete under another name and then linked, so that nobody sees half of one,
// and is never removed: between servers it costs its 17 KiB.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "memory/ledger_slots.h"

namespace ebb::memory {

inline constexpr uint32_t kLedgerVersion = 2;
inline constexpr char kLedgerDirectory[] = "/dev/shm";

// Where the ledger of a device lies. Characters that no file name should hold become '_'.
std::string LedgerPath(const std::string& directory, const std::string& device_id);

// Thread-compatible. Two of one file in one process are as two processes.
class LedgerFile final : public LedgerSlots {
 public:
  enum class Access { kServer, kReadOnly };

  // kServer makes the file where there is none. NOT_FOUND without one (kReadOnly);
  // FAILED_PRECONDITION, with what is wrong, for a file that is no ledger, of another version, of
  // another device, or cut short; UNAVAILABLE with the system's answer.
  static absl::StatusOr<std::unique_ptr<LedgerFile>> Open(const std::string& path,
                                                          const std::string& device_id,
                                                          Access access);
  ~LedgerFile() override;
  LedgerFile(const LedgerFile&) = delete;
  LedgerFile& operator=(const LedgerFile&) = delete;

  // Whether the file is still that of its path and whole: else UNAVAILABLE, and nothing of it may
  // be touched again, for others now use another one, or reading would fault.
  absl::Status Check() const;

  // As its maker wrote it.
  std::string device_id() const;

  int slot_count() const override;
  uint64_t Load(int slot, LedgerWord word, int offset = 0) const override;
  void Store(int slot, LedgerWord word, uint64_t value, int offset = 0) override;
  bool CompareExchange(int slot, LedgerWord word, uint64_t expected, uint64_t value) override;
  bool IsLockedByOther(int slot) const override;
  bool TryLock(int slot) override;
  void Unlock(int slot) override;

 private:
  LedgerFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

  absl::Status CheckHeader(const std::string& device_id) const;
  uint64_t* WordAt(int slot, LedgerWord word, int offset) const;

  const std::string path_;
  const int fd_;
  uint64_t* words_ = nullptr;
};

}  // namespace ebb::memory

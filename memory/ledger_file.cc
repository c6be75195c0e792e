#include "memory/ledger_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace ebb::memory {
namespace {

constexpr int kSlotCount = 64;
constexpr int kDeviceWords = 8;
constexpr uint64_t kMagic = 0x726567646c626265;  // "ebbldger", little-endian.

struct Header {
  uint64_t magic;
  uint64_t version;
  uint64_t slot_count;
  uint64_t slot_words;
  char device_id[kDeviceWords * sizeof(uint64_t)];
};
constexpr size_t kHeaderWords = 64;
static_assert(sizeof(Header) <= kHeaderWords * sizeof(uint64_t));
constexpr size_t kWords = kHeaderWords + size_t{kSlotCount} * kLedgerSlotWords;
constexpr size_t kBytes = kWords * sizeof(uint64_t);

absl::Status SystemError(const std::string& path, absl::string_view call) {
  const std::string text = absl::StrCat(path, ": ", call, ": ", std::strerror(errno));
  return errno == ENOENT ? absl::NotFoundError(text) : absl::UnavailableError(text);
}

Header HeaderFor(const std::string& device_id) {
  Header header = {};
  header.magic = kMagic;
  header.version = kLedgerVersion;
  header.slot_count = kSlotCount;
  header.slot_words = kLedgerSlotWords;
  std::memcpy(header.device_id, device_id.data(),
              std::min(device_id.size(), sizeof(header.device_id) - 1));
  return header;
}

// Makes the whole file under a name of its own, then gives it the right one, unless somebody else
// was faster.
absl::Status Make(const std::string& path, const std::string& device_id) {
  std::string name = path + ".XXXXXX";
  const int fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return SystemError(path, "mkostemp");
  std::vector<uint64_t> words(kWords);
  const Header header = HeaderFor(device_id);
  std::memcpy(words.data(), &header, sizeof(header));
  absl::Status status;
  // Servers of other users, in other containers, take part: whoever may write into the directory is
  // trusted with the ledger.
  if (write(fd, words.data(), kBytes) != static_cast<ssize_t>(kBytes) || fchmod(fd, 0666) != 0) {
    status = SystemError(path, "write");
  } else if (link(name.c_str(), path.c_str()) != 0 && errno != EEXIST) {
    status = SystemError(path, "link");
  }
  close(fd);
  unlink(name.c_str());
  return status;
}

struct flock RangeOf(int slot, short type) {
  struct flock range = {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>((kHeaderWords + size_t(slot) * kLedgerSlotWords) * 8);
  range.l_len = kLedgerSlotWords * 8;
  return range;
}

}  // namespace

std::string LedgerPath(const std::string& directory, const std::string& device_id) {
  std::string name = device_id;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-') c = '_';
  }
  return absl::StrCat(directory, "/ebb-", name, ".ledger");
}

absl::StatusOr<std::unique_ptr<LedgerFile>> LedgerFile::Open(const std::string& path,
                                                             const std::string& device_id,
                                                             Access access) {
  const bool server = access == Access::kServer;
  const int flags = (server ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  // Not O_CREAT: in a directory like /dev/shm the kernel refuses that for a file of another user.
  int fd = open(path.c_str(), flags);
  if (fd < 0 && errno == ENOENT && server) {
    RETURN_IF_ERROR(Make(path, device_id));
    fd = open(path.c_str(), flags);
  }
  if (fd < 0) return SystemError(path, "open");
  std::unique_ptr<LedgerFile> file(new LedgerFile(path, fd));
  RETURN_IF_ERROR(file->CheckHeader(device_id));
  void* const address =
      mmap(nullptr, kBytes, server ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED) return SystemError(path, "mmap");
  file->words_ = static_cast<uint64_t*>(address);
  return file;
}

LedgerFile::~LedgerFile() {
  if (words_ != nullptr) munmap(words_, kBytes);
  close(fd_);
}

absl::Status LedgerFile::CheckHeader(const std::string& device_id) const {
  struct stat info = {};
  Header header = {};
  if (fstat(fd_, &info) != 0) return SystemError(path_, "fstat");
  if (!S_ISREG(info.st_mode) ||
      pread(fd_, &header, sizeof(header), 0) != static_cast<ssize_t>(sizeof(header)) ||
      header.magic != kMagic) {
    return absl::FailedPreconditionError(path_ + ": not a ledger");
  }
  const Header expected = HeaderFor(device_id);
  if (header.version != expected.version) {
    return absl::FailedPreconditionError(absl::StrCat(
        path_, ": a ledger of version ", header.version, "; this server knows ", kLedgerVersion,
        ". When no server of the other version runs any more, remove the file"));
  }
  if (info.st_size != static_cast<off_t>(kBytes) || header.slot_count != kSlotCount ||
      header.slot_words != kLedgerSlotWords) {
    return absl::FailedPreconditionError(path_ + ": a damaged ledger: its size is wrong");
  }
  if (!device_id.empty() &&
      std::memcmp(header.device_id, expected.device_id, sizeof(header.device_id)) != 0) {
    return absl::FailedPreconditionError(path_ + ": the ledger of another device");
  }
  return absl::OkStatus();
}

absl::Status LedgerFile::Check() const {
  struct stat own = {}, there = {};
  if (fstat(fd_, &own) != 0) return SystemError(path_, "fstat");
  if (own.st_size != static_cast<off_t>(kBytes)) {
    return absl::UnavailableError(path_ + ": was cut short while in use");
  }
  if (stat(path_.c_str(), &there) != 0 || own.st_ino != there.st_ino ||
      own.st_dev != there.st_dev) {
    return absl::UnavailableError(path_ + ": was removed or replaced while in use");
  }
  if (words_[0] != kMagic || words_[1] != kLedgerVersion) {
    return absl::UnavailableError(path_ + ": was overwritten while in use");
  }
  return absl::OkStatus();
}

std::string LedgerFile::device_id() const {
  Header header = {};
  std::memcpy(&header, words_, sizeof(header));
  std::string id(header.device_id, strnlen(header.device_id, sizeof(header.device_id)));
  for (char& c : id) c = c < 0x20 || c > 0x7e ? '?' : c;
  return id;
}

int LedgerFile::slot_count() const { return kSlotCount; }

uint64_t* LedgerFile::WordAt(int slot, LedgerWord word, int offset) const {
  const int index = static_cast<int>(word) + offset;
  CHECK(slot >= 0 && slot < kSlotCount && index >= 0 && index < kLedgerSlotWords);
  return words_ + kHeaderWords + static_cast<size_t>(slot) * kLedgerSlotWords + index;
}

uint64_t LedgerFile::Load(int slot, LedgerWord word, int offset) const {
  return std::atomic_ref<uint64_t>(*WordAt(slot, word, offset)).load();
}

void LedgerFile::Store(int slot, LedgerWord word, uint64_t value, int offset) {
  std::atomic_ref<uint64_t>(*WordAt(slot, word, offset)).store(value);
}

bool LedgerFile::CompareExchange(int slot, LedgerWord word, uint64_t expected, uint64_t value) {
  return std::atomic_ref<uint64_t>(*WordAt(slot, word, 0)).compare_exchange_strong(expected, value);
}

bool LedgerFile::IsLockedByOther(int slot) const {
  // Asked as a reader, which needs no write access: owners hold write locks.
  struct flock range = RangeOf(slot, F_RDLCK);
  // When in doubt it lives: a lease too many starves, one too few takes memory twice.
  if (fcntl(fd_, F_OFD_GETLK, &range) != 0) return true;
  return range.l_type != F_UNLCK;
}

bool LedgerFile::TryLock(int slot) {
  struct flock range = RangeOf(slot, F_WRLCK);
  return fcntl(fd_, F_OFD_SETLK, &range) == 0;
}

void LedgerFile::Unlock(int slot) {
  struct flock range = RangeOf(slot, F_UNLCK);
  (void)fcntl(fd_, F_OFD_SETLK, &range);
}

}  // namespace ebb::memory

#include "kernels/cpu/weight_arena.h"

#include <sys/mman.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/checked.h"

namespace ebb::kernels::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kRegionBytes = size_t{32} << 20;

}  // namespace

struct WeightArena::Region {
  uint8_t* base = nullptr;  // What was mapped.
  size_t mapped_bytes = 0;
  uint8_t* data = nullptr;  // Its first huge page.
  size_t bytes = 0;
  size_t used = 0;

  Region() = default;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region() {
    if (base != nullptr) munmap(base, mapped_bytes);
  }
};

absl::StatusOr<WeightArena::Piece> WeightArena::Allocate(size_t bytes) {
  const base::Checked rounded = base::Checked(bytes).RoundUp(64);
  const base::Checked mapped =
      base::Checked(std::max(bytes, kRegionBytes)).RoundUp(kHugePage) + kHugePage;
  if (!mapped.valid()) return absl::ResourceExhaustedError("a matrix larger than memory");
  base::MutexLock lock(&mutex_);
  if (current_ == nullptr || current_->bytes - current_->used < rounded.value()) {
    void* base = mmap(nullptr, mapped.value(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for ", mapped.value(), " bytes of weights"));
    }
    auto region = std::make_shared<Region>();
    region->base = static_cast<uint8_t*>(base);
    region->mapped_bytes = mapped.value();
    const size_t skipped = (kHugePage - reinterpret_cast<uintptr_t>(base) % kHugePage) % kHugePage;
    region->data = region->base + skipped;
    region->bytes = mapped.value() - kHugePage;
    // Only advice: without huge pages everything works, a little slower.
    madvise(region->data, region->bytes, MADV_HUGEPAGE);
    current_ = std::move(region);
  }
  Piece piece{current_, current_->data + current_->used};
  current_->used += rounded.value();
  return piece;
}

}  // namespace ebb::kernels::cpu

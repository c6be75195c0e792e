#include "memory/kv_geometry.h"

#include <limits>
#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/checked.h"

namespace ebb::memory {
namespace {

constexpr int64_t kPageBytesMax = int64_t{4} << 30;
// A layer's part of a page must be longer than this.
constexpr int64_t kLayerBytesMin = int64_t{128} << 10;
// Padding of at most 7 in 100.
constexpr int64_t kPaddingPercentMax = 7;

}  // namespace

absl::StatusOr<KvGeometry> KvGeometry::Create(const KvShape& shape, int64_t granularity_bytes,
                                              int32_t blocks_per_page) {
  if (shape.layers < 1 || shape.block_tokens < 1 || shape.layer_block_bytes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("KV shape: layers ", shape.layers, ", block_tokens ", shape.block_tokens,
                     ", layer_block_bytes ", shape.layer_block_bytes, ": each must be positive"));
  }
  if (granularity_bytes < 1 || (granularity_bytes & (granularity_bytes - 1)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("granularity of ", granularity_bytes, " bytes is no power of two"));
  }
  if (blocks_per_page < 0) {
    return absl::InvalidArgumentError(absl::StrCat("blocks_per_page ", blocks_per_page, " < 0"));
  }
  const int64_t s = shape.layer_block_bytes;
  // lcm(s, granularity), without passing 64 bits.
  const base::Checked unit =
      base::Checked(s / std::gcd(s, granularity_bytes)) * base::Checked(granularity_bytes);
  const bool choose = blocks_per_page == 0;
  for (int64_t blocks = choose ? 1 : blocks_per_page;; blocks *= 2) {
    const base::Checked layer_bytes = base::Checked(blocks) * base::Checked(s);
    const base::Checked raw_bytes = layer_bytes * base::Checked(shape.layers);
    if (!unit.AtMost(kPageBytesMax) || !raw_bytes.AtMost(kPageBytesMax) ||
        !raw_bytes.RoundUp(unit.value()).AtMost(kPageBytesMax)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a page of ", blocks, " blocks (", shape.layers, " layers of ", s,
          " bytes a block, in multiples of ", granularity_bytes, " bytes) would pass 4 GiB"));
    }
    const int64_t page_bytes = raw_bytes.RoundUp(unit.value()).value();
    const int64_t padding_bytes = page_bytes - static_cast<int64_t>(raw_bytes.value());
    const bool good = padding_bytes * 100 <= page_bytes * kPaddingPercentMax &&
                      layer_bytes.value() > static_cast<uint64_t>(kLayerBytesMin);
    if (good || !choose) return KvGeometry(shape, static_cast<int32_t>(blocks), page_bytes);
  }
}

KvGeometry::KvGeometry(const KvShape& shape, int32_t blocks_per_page, int64_t page_bytes)
    : shape_(shape),
      blocks_per_page_(blocks_per_page),
      page_bytes_(page_bytes),
      indices_per_page_(static_cast<int32_t>(page_bytes / shape.layer_block_bytes)) {}

int64_t KvGeometry::bytes_per_token() const {
  return (block_bytes() + shape_.block_tokens - 1) / shape_.block_tokens;
}

int64_t KvGeometry::page_count_max() const {
  return std::numeric_limits<int32_t>::max() / indices_per_page_;
}

}  // namespace ebb::memory

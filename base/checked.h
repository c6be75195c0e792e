// Checked: an unsigned size whose arithmetic remembers an overflow instead of wrapping.
//
//   Checked bytes = Checked(count) * element_bytes + header_bytes;
//   if (!bytes.valid() || bytes.value() > file_bytes) return error;
#pragma once

#include <cstdint>

#include "base/check.h"

namespace ebb::base {

// A value type. One overflow makes every result computed from it invalid.
class Checked {
 public:
  constexpr Checked(uint64_t value) : value_(value) {}  // NOLINT(google-explicit-constructor)

  constexpr bool valid() const { return valid_; }
  // REQUIRES: valid().
  uint64_t value() const {
    CHECK(valid_);
    return value_;
  }
  // True when the value is known and at most `limit`.
  constexpr bool AtMost(uint64_t limit) const { return valid_ && value_ <= limit; }

  friend constexpr Checked operator+(Checked a, Checked b) {
    Checked sum(0);
    sum.valid_ = !__builtin_add_overflow(a.value_, b.value_, &sum.value_) && a.valid_ && b.valid_;
    return sum;
  }
  friend constexpr Checked operator*(Checked a, Checked b) {
    Checked product(0);
    product.valid_ =
        !__builtin_mul_overflow(a.value_, b.value_, &product.value_) && a.valid_ && b.valid_;
    return product;
  }
  // REQUIRES: multiple > 0.
  Checked RoundUp(uint64_t multiple) const {
    CHECK_GT(multiple, 0u);
    const uint64_t rest = value_ % multiple;
    return rest == 0 ? *this : *this + Checked(multiple - rest);
  }

 private:
  uint64_t value_;
  bool valid_ = true;
};

}  // namespace ebb::base

// CudaStepPlaces: hands out aligned places one after the other.
#pragma once

#include <cstdint>

#include "base/checked.h"

namespace ebb::engine {

class CudaStepPlaces {
 public:
  static constexpr uint64_t kAlignment = 256;

  // The first byte of so many T, from the begin of them all.
  template <typename T>
  int64_t Take(int64_t count) {
    const uint64_t begin = end_;
    end_ = (base::Checked(begin) + base::Checked(count) * sizeof(T)).RoundUp(kAlignment).value();
    return static_cast<int64_t>(begin);
  }
  int64_t end() const { return static_cast<int64_t>(end_); }

 private:
  uint64_t end_ = 0;
};

}  // namespace ebb::engine

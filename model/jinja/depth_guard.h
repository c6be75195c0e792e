// DepthGuard: counts levels of recursion while it lives.
#pragma once

#include <cstdint>

namespace ebb::model::jinja {

class DepthGuard {
 public:
  explicit DepthGuard(int32_t* depth) : depth_(depth) { ++*depth_; }
  ~DepthGuard() { --*depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

 private:
  int32_t* const depth_;
};

}  // namespace ebb::model::jinja

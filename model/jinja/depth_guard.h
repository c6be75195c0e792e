// DepthGuard: counts levels of recursion while it lives.
#pragma once

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "model/jinja/context.h"
#include "model/jinja/lexer.h"

namespace ebb::model::jinja {

class DepthGuard {
 public:
  explicit DepthGuard(int32_t* depth) : depth_(depth) { ++*depth_; }
  ~DepthGuard() { --*depth_; }
  DepthGuard(const DepthGuard&) = delete;
  DepthGuard& operator=(const DepthGuard&) = delete;

  // RESOURCE_EXHAUSTED when there are too many.
  absl::Status Check(const Context& context) const {
    const int32_t max = context.limits().recursion_max;
    if (*depth_ <= max) return absl::OkStatus();
    return TemplateError(absl::StatusCode::kResourceExhausted, context.line,
                         absl::StrCat("rendering is nested more than ", max, " deep"));
  }

 private:
  int32_t* const depth_;
};

}  // namespace ebb::model::jinja

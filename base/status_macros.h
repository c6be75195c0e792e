// RETURN_IF_ERROR and ASSIGN_OR_RETURN: hand a bad absl::Status to the caller.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define EBB_CONCAT_INNER(a, b) a##b
#define EBB_CONCAT(a, b) EBB_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expression)                                                  \
  do {                                                                               \
    if (absl::Status ebb_status = (expression); !ebb_status.ok()) return ebb_status; \
  } while (false)

// ASSIGN_OR_RETURN(auto x, F()); F gives an absl::StatusOr.
#define ASSIGN_OR_RETURN(lhs, expression) \
  EBB_ASSIGN_OR_RETURN_IMPL(EBB_CONCAT(ebb_status_or_, __LINE__), lhs, expression)

#define EBB_ASSIGN_OR_RETURN_IMPL(result, lhs, expression) \
  auto result = (expression);                              \
  if (!result.ok()) return std::move(result).status();     \
  lhs = std::move(result).value()

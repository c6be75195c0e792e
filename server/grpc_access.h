// AccessGate and ControlGate on gRPC: what every method of ours asks first.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "grpcpp/grpcpp.h"
#include "server/access.h"
#include "server/grpc_status.h"
#include "server/trace_context.h"

namespace ebb::server {

// The call's authorization, valid as long as it is; empty where there is none.
inline absl::StatusOr<absl::string_view> AuthorizationOf(
    const grpc::CallbackServerContext& context) {
  const auto range = context.client_metadata().equal_range("authorization");
  if (range.first == range.second) return absl::string_view();
  if (std::next(range.first) != range.second) {
    return absl::UnauthenticatedError("authorization is given twice");
  }
  const grpc::string_ref& value = range.first->second;
  return absl::string_view(value.data(), value.size());
}

// The caller's tenant, "" where `access` is null: everybody may. UNAUTHENTICATED otherwise.
inline absl::StatusOr<std::string> TenantOf(AccessGate* access,
                                            const grpc::CallbackServerContext& context) {
  if (access == nullptr) return std::string();
  ASSIGN_OR_RETURN(const absl::string_view authorization, AuthorizationOf(context));
  return access->Check(authorization);
}

// The caller of a request to generate, likewise.
inline absl::StatusOr<Caller> CallerOf(AccessGate* access,
                                       const grpc::CallbackServerContext& context) {
  ASSIGN_OR_RETURN(std::string tenant, TenantOf(access, context));
  std::vector<absl::string_view> traceparents;
  const auto range = context.client_metadata().equal_range(kTraceparent);
  for (auto it = range.first; it != range.second; ++it) {
    traceparents.emplace_back(it->second.data(), it->second.size());
  }
  return Caller{std::move(tenant), TraceIdOf(traceparents)};
}

// For a caller who may not: the call, ended. Null for one who may.
inline grpc::ServerUnaryReactor* RefuseStranger(AccessGate* access,
                                                grpc::CallbackServerContext* context) {
  const absl::StatusOr<std::string> tenant = TenantOf(access, *context);
  if (tenant.ok()) return nullptr;
  return FinishNow(context, tenant.status());
}

}  // namespace ebb::server

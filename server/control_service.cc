#include "server/control_service.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "base/status_macros.h"
#include "server/field_checks.h"
#include "server/grpc_access.h"
#include "server/grpc_deadline.h"
#include "server/grpc_status.h"

namespace ebb::server {
namespace {

constexpr size_t kLimitCallsMax = 16;
constexpr int64_t kDrainGraceMsMax = 86'400'000;
constexpr int64_t kDeadlineMsMax = 86'400'000;

void FillLimitAnswer(const engine::LimitAnswer& answer, v1::SetMemoryLimitResponse* response) {
  response->set_outcome(answer.applied ? v1::SetMemoryLimitResponse::OUTCOME_APPLIED
                                       : v1::SetMemoryLimitResponse::OUTCOME_DEFERRED);
  response->set_limit_bytes(answer.limit_bytes);
  response->set_held_bytes(answer.held_bytes);
  response->set_deferred_bytes(answer.deferred_bytes);
  response->set_stale(answer.stale);
  response->set_revision(answer.revision);
  response->set_first_needs_bytes(answer.first_needs_bytes);
  response->set_preempted_sequences(answer.preempted_count);
  response->set_ended_requests(answer.ended_count);
  response->set_pages_unmapped(answer.pages_unmapped);
  response->set_held_before_bytes(answer.held_before_bytes);
  response->set_took_ms(absl::ToDoubleMilliseconds(answer.took));
}

v1::Window::Queue QueueOf(memory::WindowQueue queue) {
  switch (queue) {
    case memory::WindowQueue::kPrefill:
      return v1::Window::QUEUE_PREFILL;
    case memory::WindowQueue::kDecode:
      return v1::Window::QUEUE_DECODE;
    case memory::WindowQueue::kOne:
      return v1::Window::QUEUE_ONE;
  }
  return v1::Window::QUEUE_UNSPECIFIED;
}

v1::Window::Reason ReasonOf(memory::WindowReason reason) {
  switch (reason) {
    case memory::WindowReason::kEmpty:
      return v1::Window::REASON_EMPTY;
    case memory::WindowReason::kSteady:
      return v1::Window::REASON_STEADY;
    case memory::WindowReason::kGrow:
      return v1::Window::REASON_GROW;
    case memory::WindowReason::kLimit:
      return v1::Window::REASON_LIMIT;
    case memory::WindowReason::kLease:
      return v1::Window::REASON_LEASE;
    case memory::WindowReason::kFree:
      return v1::Window::REASON_FREE;
    case memory::WindowReason::kCeiling:
      return v1::Window::REASON_CEILING;
  }
  return v1::Window::REASON_UNSPECIFIED;
}

void FillWindow(const engine::WindowView& view, v1::Window* window) {
  const memory::WindowPlan& plan = view.plan;
  window->set_queue(QueueOf(plan.queue));
  window->set_number(view.number);
  window->set_age_seconds(absl::ToDoubleSeconds(view.age));
  window->set_length_seconds(absl::ToDoubleSeconds(plan.length));
  window->set_steps(plan.steps);
  window->set_sequences(plan.sequences);
  window->set_static_blocks(plan.static_blocks);
  window->set_dynamic_blocks(plan.dynamic_blocks);
  window->set_slack_blocks(plan.slack_blocks);
  window->set_demand_blocks(plan.demand_blocks);
  window->set_grant_blocks(plan.grant_blocks);
  window->set_pages_before(plan.pages_before);
  window->set_pages_after(plan.pages_after);
  window->set_reason(ReasonOf(plan.reason));
}

// What the request asks of the engine, its deadline left to the call when it names none.
absl::StatusOr<engine::LimitChange> ReadLimitChange(const v1::SetMemoryLimitRequest& request,
                                                    int64_t ceiling_bytes) {
  RETURN_IF_ERROR(CheckNoUnknownFields(request));
  if (!request.has_limit_bytes()) return FieldError("limit_bytes", "is required");
  engine::LimitChange change;
  ASSIGN_OR_RETURN(change.bytes, IntegerIn("limit_bytes", request.limit_bytes(), 0, ceiling_bytes));
  change.deadline = absl::InfiniteDuration();
  if (request.has_deadline_ms()) {
    ASSIGN_OR_RETURN(const int64_t deadline_ms,
                     IntegerIn("deadline_ms", request.deadline_ms(), 0, kDeadlineMsMax));
    change.deadline = absl::Milliseconds(deadline_ms);
  }
  change.force = request.force();
  change.revision = request.revision();
  return change;
}

}  // namespace

ControlService::ControlService(ControlOptions options, engine::Engine* engine,
                               const base::Clock* clock)
    : options_(std::move(options)),
      engine_(engine),
      clock_(clock),
      start_time_(clock->Now()),
      limit_calls_(kLimitCallsMax),
      limit_thread_([this] {
        while (std::optional<std::function<void()>> call = limit_calls_.Pop()) (*call)();
      }) {}

ControlService::~ControlService() {
  limit_calls_.Close();
  limit_thread_.join();
}

grpc::ServerUnaryReactor* ControlService::RefuseOthers(grpc::CallbackServerContext* context) const {
  if (options_.gate.is_open()) return nullptr;
  const absl::StatusOr<absl::string_view> authorization = AuthorizationOf(*context);
  const absl::Status status =
      authorization.ok() ? options_.gate.Check(*authorization) : authorization.status();
  if (status.ok()) return nullptr;
  options_.refusals->Write(status);
  return FinishNow(context, status);
}

grpc::ServerUnaryReactor* ControlService::GetModelInfo(grpc::CallbackServerContext* context,
                                                       const v1::GetModelInfoRequest*,
                                                       v1::GetModelInfoResponse* response) {
  if (auto* const refusal = RefuseOthers(context)) return refusal;
  *response = options_.model_info;
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* ControlService::GetServerInfo(grpc::CallbackServerContext* context,
                                                        const v1::GetServerInfoRequest*,
                                                        v1::GetServerInfoResponse* response) {
  if (auto* const refusal = RefuseOthers(context)) return refusal;
  const engine::LoadView load = engine_->Load();
  response->set_version(options_.version);
  response->set_config_hash(options_.config_hash);
  response->set_uptime_seconds(absl::ToDoubleSeconds(clock_->Now() - start_time_));
  response->set_state(options_.is_draining() ? v1::SERVER_STATE_DRAINING : v1::SERVER_STATE_READY);
  response->set_waiting_requests(load.waiting_requests);
  response->set_running_requests(load.running_requests);
  response->set_finished_total(load.finished_total);
  response->set_preemptions_total(load.preemptions_total);
  response->set_prefilled_tokens_total(load.prefilled_tokens_total);
  response->set_completion_tokens_total(load.completion_tokens_total);
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* ControlService::GetMemory(grpc::CallbackServerContext* context,
                                                    const v1::GetMemoryRequest*,
                                                    v1::GetMemoryResponse* response) {
  if (auto* const refusal = RefuseOthers(context)) return refusal;
  const engine::MemoryView memory = engine_->Memory();
  response->set_held_bytes(memory.held_bytes);
  response->set_needed_bytes(memory.needed_bytes);
  response->set_cached_bytes(memory.cached_bytes);
  response->set_limit_bytes(memory.limit_bytes);
  response->set_pages_mapped(memory.pages_mapped);
  response->set_moved_bytes_total(memory.moved_bytes_total);
  response->set_flips_per_minute(memory.flips_per_minute);
  response->set_page_bytes(memory.page_bytes);
  response->set_block_tokens(memory.block_tokens);
  response->set_swapped_bytes(memory.swap.used_bytes);
  response->set_swap_limit_bytes(memory.swap.bytes_max);
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* ControlService::GetWindows(grpc::CallbackServerContext* context,
                                                     const v1::GetWindowsRequest*,
                                                     v1::GetWindowsResponse* response) {
  if (auto* const refusal = RefuseOthers(context)) return refusal;
  for (const engine::WindowView& window : engine_->RecentWindows()) {
    FillWindow(window, response->add_windows());
  }
  return FinishNow(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* ControlService::SetMemoryLimit(grpc::CallbackServerContext* context,
                                                         const v1::SetMemoryLimitRequest* request,
                                                         v1::SetMemoryLimitResponse* response) {
  if (auto* const refusal = RefuseOthers(context)) return refusal;
  const absl::StatusOr<engine::LimitChange> change =
      ReadLimitChange(*request, options_.memory_ceiling_bytes);
  if (!change.ok()) return FinishNow(context, change.status());

  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const bool queued = limit_calls_.TryPush([this, context, reactor, response, change = *change] {
    engine::LimitChange timed = change;
    if (timed.deadline == absl::InfiniteDuration()) {
      timed.deadline = std::clamp(TimeLeft(*context), absl::ZeroDuration(), options_.limit_timeout);
    }
    const absl::StatusOr<engine::LimitAnswer> answer = engine_->SetMemoryLimit(timed);
    if (answer.ok()) FillLimitAnswer(*answer, response);
    reactor->Finish(ToGrpc(answer.status()));
  });
  if (!queued) {
    reactor->Finish(ToGrpc(absl::ResourceExhaustedError("too many SetMemoryLimit calls wait")));
  }
  return reactor;
}

grpc::ServerUnaryReactor* ControlService::Drain(grpc::CallbackServerContext* context,
                                                const v1::DrainRequest* request,
                                                v1::DrainResponse* response) {
  if (auto* const refusal = RefuseOthers(context)) return refusal;
  if (absl::Status status = CheckNoUnknownFields(*request); !status.ok()) {
    return FinishNow(context, status);
  }
  absl::Duration grace = options_.drain_grace;
  if (request->has_grace_ms()) {
    const absl::StatusOr<int64_t> grace_ms =
        IntegerIn("grace_ms", request->grace_ms(), 0, kDrainGraceMsMax);
    if (!grace_ms.ok()) return FinishNow(context, grace_ms.status());
    grace = absl::Milliseconds(*grace_ms);
  }
  const engine::LoadView load = engine_->Load();
  response->set_waiting_requests(load.waiting_requests);
  response->set_running_requests(load.running_requests);
  options_.drain(grace);
  return FinishNow(context, absl::OkStatus());
}

}  // namespace ebb::server

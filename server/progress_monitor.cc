#include "server/progress_monitor.h"

#include "absl/strings/str_cat.h"
#include "server/client_text.h"

namespace ebb::server {

const char* HealthStateName(HealthState state) {
  switch (state) {
    case HealthState::kReady:
      return "ready";
    case HealthState::kDraining:
      return "draining";
    case HealthState::kStalled:
      return "stalled";
    case HealthState::kDeviceLost:
      return "device_lost";
  }
  return "?";
}

ProgressMonitor::ProgressMonitor(const engine::Engine* engine, const base::Clock* clock,
                                 absl::Duration threshold)
    : engine_(engine),
      clock_(clock),
      threshold_(threshold > absl::ZeroDuration() ? threshold : absl::InfiniteDuration()) {}

void ProgressMonitor::Poll() {
  {
    base::MutexLock lock(&mutex_);
    asked_ = clock_->Now();
  }
  const absl::Status health = engine_->Health();
  const engine::LoadView load = engine_->Load();
  base::MutexLock lock(&mutex_);
  asked_ = absl::InfiniteFuture();
  health_ = health;
  running_requests_ = load.running_requests;
  last_step_age_ = load.last_step_age;
}

HealthReport ProgressMonitor::Check() const {
  const absl::Time now = clock_->Now();
  base::MutexLock lock(&mutex_);
  if (!health_.ok()) return {HealthState::kDeviceLost, ClientText(health_)};
  if (IsStalled(now - asked_)) {
    return {HealthState::kStalled,
            absl::StrCat("the engine has not answered for ", absl::FormatDuration(now - asked_))};
  }
  if (IsStalled(last_step_age_)) {
    return {HealthState::kStalled, absl::StrCat(running_requests_,
                                                " requests run, and no step has "
                                                "completed for ",
                                                absl::FormatDuration(last_step_age_))};
  }
  if (draining_) return {HealthState::kDraining, "the server is draining; ask another one"};
  return {HealthState::kReady, "ready"};
}

void ProgressMonitor::SetDraining() {
  base::MutexLock lock(&mutex_);
  draining_ = true;
}

bool ProgressMonitor::draining() const {
  base::MutexLock lock(&mutex_);
  return draining_;
}

}  // namespace ebb::server

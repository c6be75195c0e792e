#include "server/progress_monitor.h"

#include "nlohmann/json.hpp"

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

std::string HealthReport::Json() const {
  nlohmann::ordered_json json = {{"status", HealthStateName(state)},
                                 {"running", running_requests},
                                 {"last_step_age_seconds", absl::ToDoubleSeconds(last_step_age)}};
  json["threshold_seconds"] = threshold == absl::InfiniteDuration()
                                  ? nlohmann::ordered_json(nullptr)
                                  : nlohmann::ordered_json(absl::ToDoubleSeconds(threshold));
  return json.dump();
}

HealthReport ProgressMonitor::Check() const {
  const engine::LoadView load = engine_->Load();
  HealthReport report;
  report.running_requests = load.running_requests;
  report.last_step_age = load.last_step_age;
  report.threshold = threshold_;
  if (!engine_->Health().ok()) {
    report.state = HealthState::kDeviceLost;
  } else if (load.running_requests > 0 && load.last_step_age > threshold_) {
    report.state = HealthState::kStalled;
  } else if (draining_) {
    report.state = HealthState::kDraining;
  }
  return report;
}

}  // namespace ebb::server

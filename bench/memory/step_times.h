// Step times for simulations: a line fitted by memory::StepTimeModel to a table that was measured.
#pragma once

#include "absl/time/time.h"
#include "engine/step_runner.h"
#include "memory/step_time_model.h"

namespace ebb::bench {

enum class Machine {
  kTwoCores,  // SmolLM2-135M-Instruct (Q4_1), by decode_bench.
  kH100,      // A Llama of 8B in bf16, by model_bench.
};

class StepTimes {
 public:
  explicit StepTimes(Machine machine = Machine::kTwoCores);
  // Of a step that has the machine for itself.
  absl::Duration Of(engine::Lane lane, const engine::StepShape& shape) const;
  // The mean of |fitted - measured| / measured over the table.
  double relative_error() const { return relative_error_; }

 private:
  memory::StepTimeModel models_[2];
  double relative_error_ = 0;
};

}  // namespace ebb::bench

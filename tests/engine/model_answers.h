// What a whole engine of its own, with a model on the host, answered to a set of requests.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "device/vmm_host.h"
#include "engine/model_engine.h"
#include "engine/model_step_runner.h"
#include "gtest/gtest.h"
#include "model/llama.h"
#include "scheduler/local_policy.h"
#include "tests/engine/answers.h"

namespace ebb::engine {

// Runs the requests, all at once or one after the other. `after`: the engine's memory at the end.
inline std::vector<Answer> ModelAnswers(model::LlamaModel* model, const LocalEngineOptions& options,
                                        const std::vector<Request>& requests, bool at_once,
                                        int32_t blocks_per_page = 0, MemoryView* after = nullptr) {
  device::HostVmm vmm;
  base::RealClock clock;
  base::NullLog log;
  const scheduler::LocalPolicy policy(scheduler::LocalPolicy::OptionsFrom(options));
  const ModelStepRunnerFactory runners(model, &clock, kernels::DType::kF16);
  ModelEngineParts parts;
  parts.runners = &runners;
  parts.vmm = &vmm;
  parts.clock = &clock;
  parts.log = &log;
  parts.policy = &policy;
  parts.end_ids = {2};
  parts.blocks_per_page = blocks_per_page;
  absl::StatusOr<std::unique_ptr<ModelEngine>> engine = ModelEngine::Create(options, parts);
  EXPECT_TRUE(engine.ok()) << engine.status();
  if (!engine.ok()) return {};
  std::vector<Answer> answers = Answers((*engine)->engine(), requests, at_once);
  if (after != nullptr) *after = (*engine)->engine()->Memory();
  return answers;
}

}  // namespace ebb::engine

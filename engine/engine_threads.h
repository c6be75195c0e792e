// EngineThreads: gives each of an engine's actors a thread, which sleeps while there is nothing to
// do.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "engine/local_engine.h"

namespace ebb::engine {

// The engine outlives it. Thread-compatible.
class EngineThreads {
 public:
  explicit EngineThreads(LocalEngine* engine);
  // Drains without grace, then stops and joins the threads.
  ~EngineThreads();
  EngineThreads(const EngineThreads&) = delete;
  EngineThreads& operator=(const EngineThreads&) = delete;

 private:
  void Run(Actor actor, const std::function<Pass()>& run_once);

  LocalEngine* const engine_;
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ebb::engine

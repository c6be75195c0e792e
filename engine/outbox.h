// Outbox: what must be told outside once the engine's mutex is released: ends of answers, log
// lines, the loss of the device. Filled under the mutex, delivered by EngineCore::Deliver without
// it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/live_request.h"
#include "engine/request.h"
#include "nlohmann/json.hpp"

namespace ebb::engine {

// Of one answer.
struct Ending {
  std::shared_ptr<LiveRequest> request;
  int32_t answer = 0;
  Finish finish;
};

struct LogLine {
  const char* event = "";
  nlohmann::ordered_json fields;
};

struct Outbox {
  std::optional<std::string> device_lost;  // The device was lost just now: what it said.
  std::vector<Ending> endings;
  std::vector<LogLine> lines;
};

}  // namespace ebb::engine

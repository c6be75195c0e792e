// A sample as one JSON object. Keys are part of the interface.
#pragma once

#include "cli/top/rates.h"
#include "cli/top/sample.h"
#include "nlohmann/json.hpp"

namespace ebb::cli {

// {"time": "2026-11-23T06:00:00.000Z", "answered": true, "model": "...",
//  "server": {"state": "ready", "uptime_seconds", "waiting_requests", "running_requests",
//             "finished_total", "preemptions_total", "prefilled_tokens_total",
//             "completion_tokens_total"},
//  "rates": {"finished_per_second", "preemptions_per_second", "prefilled_tokens_per_second",
//            "completion_tokens_per_second"},
//  "memory": MemoryJson's,
//  "windows": [{"queue", "number", ...}, ...]}
//
// Null stands for what the server does not tell, and for rates that are not known yet. Without an
// answer: {"time", "answered": false, "error": "..."}.
nlohmann::ordered_json SampleJson(const Sample& sample, const Rates& rates);

}  // namespace ebb::cli

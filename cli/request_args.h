// The options of generate and chat that say how to answer, and the request they make.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "cli/args.h"
#include "proto/ebb.pb.h"

namespace ebb::cli {

// --max-tokens, --temperature, ... --json: everything but the prompt.
std::vector<Option> AnswerOptions();

// Fills sampling, stopping and output. What is not given stays unset, so that the server's own
// default holds; ranges are the server's to judge, types are checked here.
absl::Status ReadAnswerOptions(const Args& args, v1::GenerateRequest* request);

}  // namespace ebb::cli

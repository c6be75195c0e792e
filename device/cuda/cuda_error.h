// The calling thread's last failure inside the CUDA library, as EbbCudaApi::error_text tells it.
#pragma once

#include <cstdint>
#include <string>

#include "device/cuda/cuda_api.h"

namespace ebb::device {

// Keeps the text for this thread and gives the code back: return SetError(code, "what, where,
// why").
int32_t SetError(EbbCudaCode code, std::string text);

// Empty when nothing has failed on this thread. Valid until its next failure.
const char* ErrorText();

}  // namespace ebb::device

#include "device/cuda/cuda_error.h"

#include <utility>

namespace ebb::device {
namespace {

std::string& LastError() {
  thread_local std::string text;
  return text;
}

}  // namespace

int32_t SetError(EbbCudaCode code, std::string text) {
  LastError() = std::move(text);
  return code;
}

const char* ErrorText() { return LastError().c_str(); }

}  // namespace ebb::device

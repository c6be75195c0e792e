// What the launch functions check before they queue anything. Host code, inside the CUDA library.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "device/cuda/cuda_api.h"
#include "device/cuda/cuda_error.h"

namespace ebb::kernels::cuda {

// INVALID_ARGUMENT with the text "op: what".
inline int32_t Invalid(const char* op, const std::string& what) {
  return device::SetError(EBB_CUDA_INVALID_ARGUMENT, std::string(op) + ": " + what);
}

inline bool AllGiven(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (pointer == nullptr) return false;
  }
  return true;
}

// Kernels move 16 bytes at a time.
inline bool AllAligned16(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (reinterpret_cast<uintptr_t>(pointer) % 16 != 0) return false;
  }
  return true;
}

inline constexpr char kNeedsPointers[] = "a pointer is null";
inline constexpr char kNeedsAlignment[] = "a pointer is not aligned to 16 bytes";

}  // namespace ebb::kernels::cuda

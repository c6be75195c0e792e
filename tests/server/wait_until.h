// WaitUntil: asks again and again until a condition holds, with a limit.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace ebb::tests {

// Whether `condition` came true within the limit. For what another thread or process brings about.
inline bool WaitUntil(const std::function<bool()>& condition,
                      std::chrono::seconds limit = std::chrono::seconds(30)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // Only between two looks.
  }
  return true;
}

}  // namespace ebb::tests

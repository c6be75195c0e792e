// A fiber: a stack of its own, entered and left by its owner's hand.
//
//   scheduler                    fiber
//   Enter() ------------------>  body()
//           <------------------    Leave()
//   Enter() ------------------>    ... goes on after Leave()
//
// Boost.Context does the switch; AddressSanitizer and ThreadSanitizer are told of it. The stack
// lies in a mapping of its own above a page that nobody may touch, so that an overflow faults.
#pragma once

#include <boost/context/fiber.hpp>
#include <cstddef>
#include <functional>

namespace ebb::kernels::cuda::simt {

// Thread-compatible; may be entered from different threads one after another.
class Fiber {
 public:
  // `body` runs at the first Enter, and may return only once Stop is called.
  explicit Fiber(std::function<void()> body);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs the body from where it stood until it calls Leave (or returns).
  void Enter();
  // Gives control back to Enter's caller. REQUIRES: called from the body.
  void Leave();

 private:
  // The memory of the stack: kStackBytes, and a guard page below it.
  struct Stack {
    boost::context::stack_context allocate();
    void deallocate(boost::context::stack_context& context) noexcept;
  };

  std::function<void()> body_;
  boost::context::fiber inside_;   // Where the body stands, while it does not run.
  boost::context::fiber outside_;  // Where Enter's caller stands, while the body runs.
  const void* stack_bottom_ = nullptr;
  size_t stack_bytes_ = 0;
  const void* caller_bottom_ = nullptr;  // Of the stack that Enter was called on.
  size_t caller_bytes_ = 0;
  void* fake_stack_ = nullptr;  // AddressSanitizer's, of the fiber while it does not run.
  void* self_ = nullptr;        // ThreadSanitizer's name of the fiber.
  void* caller_ = nullptr;      // And of Enter's caller.
};

}  // namespace ebb::kernels::cuda::simt

// A fiber: a stack of its own, entered and left by its owner's hand.
//
//   scheduler                    fiber
//   Enter() ------------------>  body()
//           <------------------    Leave()
//   Enter() ------------------>    ... goes on after Leave()
//
// Boost.Context does the switch (its lowest layer, since the sanitizers are to be told of every
// switch and boost::context::fiber makes one of its own when it is constructed). The stack lies in
// a mapping of its own above a page that nobody may touch, so that an overflow faults.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <functional>

namespace ebb::kernels::cuda::simt {

// Thread-compatible; may be entered from different threads one after another.
class Fiber {
 public:
  // `body` runs at the first Enter. Once it has returned, the fiber may not be entered again.
  explicit Fiber(std::function<void()> body);
  // REQUIRES: the body has returned.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs the body from where it stood until it calls Leave (or returns). `ordered`: to
  // ThreadSanitizer, what was done before a switch happens before what is done after it; else the
  // switch says nothing.
  void Enter(bool ordered);
  // Gives control back to Enter's caller. REQUIRES: called from the body.
  void Leave();

 private:
  static void Main(boost::context::detail::transfer_t caller);

  std::function<void()> body_;
  boost::context::detail::fcontext_t inside_ = nullptr;   // Where the body stands; null at its end.
  boost::context::detail::fcontext_t outside_ = nullptr;  // Where Enter's caller stands.
  char* stack_bottom_ = nullptr;                          // The guard page lies below.
  char* top_ = nullptr;
  const void* caller_bottom_ = nullptr;  // Of the stack that Enter was called on.
  size_t caller_bytes_ = 0;
  void* fake_stack_ = nullptr;  // AddressSanitizer's, of the fiber while it does not run.
  bool ordered_ = true;
  void* self_ = nullptr;    // ThreadSanitizer's name of the fiber.
  void* caller_ = nullptr;  // And of Enter's caller.
};

}  // namespace ebb::kernels::cuda::simt

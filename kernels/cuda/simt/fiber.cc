#include "kernels/cuda/simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "base/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace ebb::kernels::cuda::simt {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kStackBytes = 256 << 10;  // Instrumented frames are larger.
#else
constexpr size_t kStackBytes = 64 << 10;
#endif

// ThreadSanitizer keeps a call stack per fiber: no call may be noted on one and its return on the
// other, so what switches is not instrumented.
#if defined(__SANITIZE_THREAD__)
#define EBB_SWITCHES __attribute__((no_sanitize("thread")))
#define EBB_SWITCHES_INLINE EBB_SWITCHES __attribute__((always_inline)) inline
#else
#define EBB_SWITCHES
#define EBB_SWITCHES_INLINE inline
#endif

EBB_SWITCHES_INLINE
void StartSwitch([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* bottom,
                 [[maybe_unused]] size_t bytes, [[maybe_unused]] void* tsan_fiber,
                 [[maybe_unused]] bool ordered) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake_stack, bottom, bytes);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(tsan_fiber, ordered ? 0 : __tsan_switch_to_fiber_no_sync);
#endif
}

EBB_SWITCHES_INLINE
void FinishSwitch([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** bottom,
                  [[maybe_unused]] size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, bottom, bytes);
#endif
}

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
  CHECK(memory != MAP_FAILED) << "no memory for the stack of an emulated thread";
  CHECK_EQ(mprotect(memory, page, PROT_NONE), 0);
  stack_bottom_ = static_cast<char*>(memory) + page;
  // Stacks begin at different places of their pages: with all at one place, the lines that a switch
  // touches fall into the same few sets of the nearest cache.
  static std::atomic<size_t> made = 0;
  top_ = stack_bottom_ + kStackBytes - made++ % 16 * 256;
  inside_ = boost::context::detail::make_fcontext(top_, static_cast<size_t>(top_ - stack_bottom_),
                                                  &Fiber::Main);
#if defined(__SANITIZE_THREAD__)
  self_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  CHECK(inside_ == nullptr) << "a fiber is destroyed before its body has returned";
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(self_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  // Main does not return: what AddressSanitizer knows of its frame must not outlive it, for another
  // stack may come to lie here.
  __asan_unpoison_memory_region(stack_bottom_, kStackBytes);
#endif
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  munmap(stack_bottom_ - page, kStackBytes + page);
}

EBB_SWITCHES void Fiber::Main(boost::context::detail::transfer_t caller) {
  Fiber& self = *static_cast<Fiber*>(caller.data);
  self.outside_ = caller.fctx;
  FinishSwitch(nullptr, &self.caller_bottom_, &self.caller_bytes_);
  self.body_();
  self.body_ = nullptr;
  // Null: this fiber's fake stack is not wanted again.
  StartSwitch(nullptr, self.caller_bottom_, self.caller_bytes_, self.caller_, self.ordered_);
  boost::context::detail::jump_fcontext(self.outside_, nullptr);
}

EBB_SWITCHES void Fiber::Enter(bool ordered) {
#if defined(__SANITIZE_THREAD__)
  caller_ = __tsan_get_current_fiber();
#endif
  void* fake_stack = nullptr;
  StartSwitch(&fake_stack, stack_bottom_, static_cast<size_t>(top_ - stack_bottom_), self_,
              ordered);
  ordered_ = ordered;
  inside_ = boost::context::detail::jump_fcontext(inside_, this).fctx;
  FinishSwitch(fake_stack, nullptr, nullptr);
  if (body_ == nullptr) inside_ = nullptr;
}

EBB_SWITCHES void Fiber::Leave() {
  StartSwitch(&fake_stack_, caller_bottom_, caller_bytes_, caller_, ordered_);
  outside_ = boost::context::detail::jump_fcontext(outside_, this).fctx;
  FinishSwitch(fake_stack_, &caller_bottom_, &caller_bytes_);
}

}  // namespace ebb::kernels::cuda::simt

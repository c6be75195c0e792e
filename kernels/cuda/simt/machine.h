// The SIMT emulator's machine: runs a CUDA grid on the host, one fiber per CUDA thread.
//
//   Run(grid, block, shared, kernel)
//     blocks one after another, in an order that the seed shuffles
//       warps one after another, shuffled anew after each __syncthreads
//         lanes of a warp in shuffled order; each runs until it waits for others:
//           - for lanes of its warp (shuffles, __syncwarp, mma ...): Rendezvous
//           - for its block (__syncthreads): Barrier
//
// So a warp runs as far ahead of the others as the barriers allow: a missing barrier shows as a
// wrong result. Shared memory holds 0xFF bytes (NaN) when a block starts; asynchronous copies leave
// NaN where they will write and are done at the wait that covers them. What the hardware would
// leave undefined or hang on (a rendezvous that some lane never joins, a __syncthreads that not all
// threads reach at the same place, a misaligned copy) ends the process with a message that says
// which threads wait where.
//
// Under ThreadSanitizer, and asked to (CheckRaces), each CUDA thread is a thread of the sanitizer's
// and only __syncthreads, __syncwarp and the ends of a block order its memory accesses: what two
// threads of a block do to the same memory without such an order is reported as a data race,
// whether or not the order of this run made it harmless.
//
// What Hopper's asynchronous matrix products do to this: async_proxy.h.
//
// There is one machine in a process, as device code reaches its thread through globals; Run takes
// turns under a lock. Blocks of a grid may not wait for each other, nor warps of a block but by
// __syncthreads (a spinning thread would never be interrupted).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ebb::kernels::cuda::simt {

struct Dim3 {
  unsigned x;
  unsigned y;
  unsigned z;
  // NOLINTNEXTLINE(google-explicit-constructor): as CUDA's dim3.
  constexpr Dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// A place in a kernel's source.
struct Site {
  const char* file = "";
  int line = 0;
};

inline constexpr int kWarpLanes = 32;
inline constexpr size_t kSharedMaxBytes = 227 << 10;  // Of a block, as on Hopper and Blackwell.
inline constexpr unsigned kBlockMaxThreads = 1024;

// What the lanes of a warp do together: args[lane] is what that lane gave, null when it is not
// part. Not instrumented by ThreadSanitizer: it reads what other threads gave it, with no order but
// its own.
using Exchange = void (*)(void* const* args);
#if defined(__SANITIZE_THREAD__)
#define EBB_SIMT_EXCHANGE __attribute__((no_sanitize("thread")))
#else
#define EBB_SIMT_EXCHANGE
#endif

// ---- device side: called by kernels, from the emulated threads

// Of the running thread. Only read by kernels.
struct Place {
  Dim3 thread;
  Dim3 block;
  int warp = 0;
  int lane = 0;
};
extern const Place* current_place;
extern Dim3 current_grid_dim;
extern Dim3 current_block_dim;
extern uint8_t* current_shared;  // The block's dynamic shared memory.
class AsyncProxy;
extern AsyncProxy* current_async_proxy;  // The block's.

// How lanes of a warp wait for each other.
enum class Meeting {
  kLanes,    // Those of the mask that live. Orders no memory accesses.
  kOrdered,  // The same, and what they did before is seen by all after (__syncwarp).
  kWarp,     // All 32, which must live. Orders no memory accesses.
};

// Waits until the lanes of `mask` have come here with the same mask and exchange; then the exchange
// runs once.
void Rendezvous(uint32_t mask, Meeting meeting, Exchange exchange, void* args, const char* what,
                Site site);
// __syncthreads: waits until every living thread of the block is here.
void Barrier(Site site);
// cp.async: queues a copy of 16 bytes; commit closes the thread's group of copies; wait performs
// all but the newest `pending` groups.
void QueueCopy(void* shared, const void* global, bool valid, Site site);
void CommitCopies();
void WaitCopies(int pending);
// AwaitEarlierWork of prelude.cuh; and the end of a kernel that must have called it in every
// thread.
void NoteAwaited();
void CheckAwaited();
// Reads the memory, so that sanitizers see whether it is there. Both are multiples of 16.
void TouchMemory(const void* from, uint32_t bytes,
                 Site site = {__builtin_FILE(), __builtin_LINE()});
// Ends the process with the message, the running thread and the site.
[[noreturn]] void Fail(const std::string& message, Site site);

// ---- host side

// What is wrong with a launch's shape; empty if nothing is.
std::string LaunchFault(Dim3 grid, Dim3 block, size_t shared_bytes);

// Runs `kernel` once per thread of the grid. REQUIRES: LaunchFault() is empty. Thread-safe.
void RunGrid(Dim3 grid, Dim3 block, size_t shared_bytes, const std::function<void()>& kernel);

// The seed of the orders of all following runs (each run draws its own from it). Thread-safe.
void SetSeed(uint64_t seed);

// From now on, reports races as told above. Without ThreadSanitizer it has no effect. Thread-safe.
void CheckRaces();

// A kernel takes one plain struct by value. As RunGrid.
template <typename Params>
void Run(void (*kernel)(Params), Dim3 grid, Dim3 block, size_t shared_bytes, const Params& params) {
  RunGrid(grid, block, shared_bytes, [kernel, &params] { kernel(params); });
}

}  // namespace ebb::kernels::cuda::simt

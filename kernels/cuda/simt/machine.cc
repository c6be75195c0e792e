#include "kernels/cuda/simt/machine.h"

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <sstream>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "kernels/cuda/simt/async_proxy.h"
#include "kernels/cuda/simt/fiber.h"

// ThreadSanitizer's, where a program is built with it. This file is not instrumented: its objects
// are the machine's, whichever thread it emulates.
// NOLINTBEGIN(bugprone-reserved-identifier): the names are the sanitizer's.
extern "C" {
__attribute__((weak)) void __tsan_acquire(void* address);
__attribute__((weak)) void __tsan_release(void* address);
__attribute__((weak)) void __tsan_read_range(void* address, unsigned long bytes);
__attribute__((weak)) void __tsan_write_range(void* address, unsigned long bytes);
}
// NOLINTEND(bugprone-reserved-identifier)

namespace ebb::kernels::cuda::simt {

const Place* current_place = nullptr;
Dim3 current_grid_dim;
Dim3 current_block_dim;
uint8_t* current_shared = nullptr;
AsyncProxy* current_async_proxy = nullptr;

namespace {

enum class State : uint8_t { kReady, kInWarp, kInBlock, kDone };

struct PendingCopy {
  void* shared;
  const void* global;
  bool valid;
  int group;
};

struct Warp;

// One emulated thread, and what it waits for. The objects are kept and reused by later blocks.
struct Thread {
  Place place;
  State state = State::kDone;
  uint32_t mask = 0;  // The next six: of the Rendezvous that it is in.
  Meeting meeting = Meeting::kLanes;
  Exchange exchange = nullptr;
  void* args = nullptr;
  const char* what = "";
  Site site;
  std::deque<PendingCopy> copies;  // Oldest first.
  int open_group = 0;              // The group that new copies belong to.
  bool awaited = false;            // Earlier work of the stream.
  Warp* warp = nullptr;
  std::unique_ptr<Fiber> fiber;
  char arrived = 0;   // To ThreadSanitizer: what the thread did before it waited, or returned,
  char released = 0;  // and what it may rely on after a rendezvous.
};

struct Warp {
  Thread* lanes[kWarpLanes] = {};
  uint32_t live = 0;     // Lanes that exist and have not returned.
  uint32_t ready = 0;    // Lanes that can run.
  uint32_t waiting = 0;  // Lanes that are in a Rendezvous.
};

std::string ThreadName(const Place& place) {
  std::ostringstream text;
  text << "block (" << place.block.x << "," << place.block.y << "," << place.block.z << ") thread ("
       << place.thread.x << "," << place.thread.y << "," << place.thread.z << ")";
  return text.str();
}

class Machine {
 public:
  ~Machine();
  void SetSeed(uint64_t seed) { seed_ = seed, runs_ = 0; }
  void CheckRaces() { races_ = __tsan_acquire != nullptr; }
  void RunGrid(Dim3 grid, Dim3 block, size_t shared_bytes, const std::function<void()>& kernel);

  // From the running thread.
  void Rendezvous(uint32_t mask, Meeting meeting, Exchange exchange, void* args, const char* what,
                  Site site);
  void Barrier(Site site);
  Thread& current() { return *current_; }

 private:
  void RunBlock(Dim3 block_index);
  void StartThreads(Dim3 block_index);
  void RunWarp(Warp& warp);
  void ThreadBody(Thread& thread);
  // Performs the rendezvous that this waiting lane is in, if all lanes that live have come.
  bool CompleteGroup(Warp& warp, const Thread& thread);
  bool CompleteAnyGroup(Warp& warp);
  void CheckBarrier();
  // Ordering, as ThreadSanitizer is to see it.
  void Acquire(char& what) {
    if (races_) __tsan_acquire(&what);
  }
  void Release(char& what) {
    if (races_) __tsan_release(&what);
  }
  // What all threads of the block did so far happens before what they do from now on.
  void OrderBlock();
  [[noreturn]] void FailStuck(const char* message);

  uint64_t seed_ = 1;
  uint64_t runs_ = 0;
  base::Rng rng_{1};
  const std::function<void()>* kernel_ = nullptr;
  bool stopping_ = false;
  bool races_ = false;
  char block_ = 0;  // To ThreadSanitizer: what all of the block may rely on.
  Thread* current_ = nullptr;
  size_t thread_count_ = 0;  // Of a block of this run.
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Warp> warps_;
  AsyncProxy async_proxy_;
};

Machine::~Machine() {
  stopping_ = true;
  for (const auto& thread : threads_) thread->fiber->Enter(/*ordered=*/true);
}

void Machine::ThreadBody(Thread& thread) {
  thread.fiber->Leave();  // Made, in order: now the machine's orders hold.
  while (!stopping_) {
    Acquire(block_);
    (*kernel_)();
    thread.state = State::kDone;
    Release(thread.arrived);
    thread.copies.clear();
    thread.fiber->Leave();
  }
}

template <typename T>
void Shuffle(base::Rng& rng, std::vector<T>& values) {
  for (size_t i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[rng.Bits() % i]);
  }
}

void Machine::RunGrid(Dim3 grid, Dim3 block, size_t shared_bytes,
                      const std::function<void()>& kernel) {
  rng_ = base::Rng(base::RandomBits(seed_, runs_++));
  kernel_ = &kernel;
  current_grid_dim = grid;
  current_block_dim = block;
  thread_count_ = size_t{block.x} * block.y * block.z;
  while (threads_.size() < thread_count_) {
    threads_.push_back(std::make_unique<Thread>());
    Thread* thread = threads_.back().get();
    thread->fiber = std::make_unique<Fiber>([this, thread] { ThreadBody(*thread); });
    thread->fiber->Enter(/*ordered=*/true);
  }
  // Exactly as large as asked, so that AddressSanitizer sees what lies past the end.
  void* memory = nullptr;
  if (shared_bytes != 0) CHECK_EQ(posix_memalign(&memory, 1024, shared_bytes), 0);
  const std::unique_ptr<void, decltype(&std::free)> shared(memory, &std::free);
  current_shared = static_cast<uint8_t*>(shared.get());
  current_async_proxy = &async_proxy_;
  std::vector<uint64_t> blocks(uint64_t{grid.x} * grid.y * grid.z);
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = i;
  Shuffle(rng_, blocks);
  for (const uint64_t i : blocks) {
    if (shared_bytes != 0) std::memset(current_shared, 0xFF, shared_bytes);
    async_proxy_.StartBlock(current_shared, shared_bytes,
                            static_cast<int>((thread_count_ + kWarpLanes - 1) / kWarpLanes),
                            rng_.Bits());
    RunBlock(Dim3(static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                  static_cast<unsigned>(i / grid.x / grid.y)));
  }
  current_shared = nullptr;
  kernel_ = nullptr;
}

void Machine::StartThreads(Dim3 block_index) {
  warps_.assign((thread_count_ + kWarpLanes - 1) / kWarpLanes, Warp());
  for (size_t i = 0; i < thread_count_; ++i) {
    Thread& thread = *threads_[i];
    const auto index = static_cast<unsigned>(i);
    const Dim3& dim = current_block_dim;
    thread.place.thread = Dim3(index % dim.x, index / dim.x % dim.y, index / dim.x / dim.y);
    thread.place.block = block_index;
    thread.place.warp = static_cast<int>(i / kWarpLanes);
    thread.place.lane = static_cast<int>(i % kWarpLanes);
    thread.state = State::kReady;
    thread.open_group = 0;
    thread.awaited = false;
    Warp& warp = warps_[i / kWarpLanes];
    thread.warp = &warp;
    warp.lanes[thread.place.lane] = &thread;
    warp.live |= 1u << thread.place.lane;
  }
}

void Machine::RunBlock(Dim3 block_index) {
  StartThreads(block_index);
  std::vector<Warp*> order;
  for (Warp& warp : warps_) order.push_back(&warp);
  while (true) {
    OrderBlock();
    Shuffle(rng_, order);
    for (Warp* warp : order) {
      warp->ready = warp->live;
      for (int lane = 0; lane < kWarpLanes; ++lane) {
        if (warp->live >> lane & 1) warp->lanes[lane]->state = State::kReady;
      }
      RunWarp(*warp);
    }
    bool done = true;
    for (const Warp& warp : warps_) done = done && warp.live == 0;
    if (done) break;
    CheckBarrier();
  }
  OrderBlock();  // What comes after the block, the host included, sees what it did.
  const char* const fault = async_proxy_.FinishBlock();
  if (fault != nullptr) Fail(fault, Site());
}

void Machine::OrderBlock() {
  for (size_t i = 0; races_ && i < thread_count_; ++i) Acquire(threads_[i]->arrived);
  Release(block_);
}

void Machine::RunWarp(Warp& warp) {
  while (true) {
    if (warp.ready == 0 && !CompleteAnyGroup(warp)) return;
    const uint32_t order = static_cast<uint32_t>(rng_.Bits()) % kWarpLanes;
    for (uint32_t i = 0; i < kWarpLanes; ++i) {
      const uint32_t lane = i ^ order;
      if ((warp.ready >> lane & 1) == 0) continue;
      warp.ready &= ~(1u << lane);
      current_ = warp.lanes[lane];
      current_place = &current_->place;
      current_->fiber->Enter(/*ordered=*/!races_);
      if (current_->state == State::kDone) warp.live &= ~(1u << lane);
    }
  }
}

bool Machine::CompleteGroup(Warp& warp, const Thread& thread) {
  const uint32_t group = thread.mask & warp.live;
  if ((group & ~warp.waiting) != 0) return false;
  void* args[kWarpLanes] = {};
  for (uint32_t rest = group; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const Thread& other = *warp.lanes[lane];
    if (other.mask != thread.mask || other.exchange != thread.exchange ||
        other.site.line != thread.site.line) {
      return false;
    }
    args[lane] = other.args;
  }
  thread.exchange(args);
  const bool ordered = thread.meeting == Meeting::kOrdered;
  for (uint32_t rest = group; ordered && rest != 0; rest &= rest - 1) {
    Acquire(warp.lanes[std::countr_zero(rest)]->arrived);
  }
  for (uint32_t rest = group; rest != 0; rest &= rest - 1) {
    Thread& other = *warp.lanes[std::countr_zero(rest)];
    other.state = State::kReady;
    if (ordered) Release(other.released);
  }
  warp.waiting &= ~group;
  warp.ready |= group;
  return true;
}

// After lanes returned, others may have all that they wait for.
bool Machine::CompleteAnyGroup(Warp& warp) {
  for (uint32_t rest = warp.live; rest != 0; rest &= rest - 1) {
    const Thread& thread = *warp.lanes[std::countr_zero(rest)];
    if (thread.state == State::kInWarp && CompleteGroup(warp, thread)) return true;
  }
  return false;
}

void Machine::Rendezvous(uint32_t mask, Meeting meeting, Exchange exchange, void* args,
                         const char* what, Site site) {
  Thread& self = *current_;
  Warp& warp = *self.warp;
  const uint32_t own = 1u << self.place.lane;
  if ((mask & own) == 0) Fail(std::string(what) + ": the mask leaves out the calling lane", site);
  if (meeting == Meeting::kWarp && (mask & warp.live) != ~0u) {
    Fail(std::string(what) + ": needs all 32 lanes of a warp, and some do not live", site);
  }
  self.mask = mask;
  self.meeting = meeting;
  self.exchange = exchange;
  self.args = args;
  self.what = what;
  self.site = site;
  self.state = State::kInWarp;
  warp.waiting |= own;
  if (meeting == Meeting::kOrdered) Release(self.arrived);
  if (CompleteGroup(warp, self)) {
    warp.ready &= ~own;  // The last one to come goes on at once.
  } else {
    self.fiber->Leave();
  }
  if (meeting == Meeting::kOrdered) Acquire(self.released);
}

void Machine::Barrier(Site site) {
  Thread& self = *current_;
  self.what = "__syncthreads";
  self.site = site;
  self.state = State::kInBlock;
  Release(self.arrived);
  self.fiber->Leave();
  Acquire(block_);
}

// REQUIRES: no thread can run, and some live.
void Machine::CheckBarrier() {
  const Thread* first = nullptr;
  for (size_t i = 0; i < thread_count_; ++i) {
    const Thread& thread = *threads_[i];
    if (thread.state == State::kDone) continue;
    if (first == nullptr) first = &thread;
    if (thread.state == State::kInWarp) FailStuck("a deadlock");
    if (thread.site.line != first->site.line || thread.site.file != first->site.file) {
      FailStuck("a divergent __syncthreads");
    }
  }
}

void Machine::FailStuck(const char* message) {
  // Neighbours that wait for the same are told of in one line.
  std::ostringstream text;
  text << message << " in block (" << current_place->block.x << "," << current_place->block.y << ","
       << current_place->block.z << "); threads by number:";
  for (size_t i = 0; i < thread_count_;) {
    const Thread& thread = *threads_[i];
    size_t end = i + 1;
    while (end < thread_count_ && threads_[end]->state == thread.state &&
           (thread.state == State::kDone ||
            (threads_[end]->site.line == thread.site.line &&
             (thread.state == State::kInBlock || threads_[end]->mask == thread.mask)))) {
      ++end;
    }
    text << "\n  " << i;
    if (end > i + 1) text << ".." << end - 1;
    if (thread.state == State::kDone) {
      text << ": returned";
    } else {
      text << ": waits in " << thread.what;
      if (thread.state == State::kInWarp)
        text << " for lanes 0x" << std::hex << thread.mask << std::dec;
      text << " at " << thread.site.file << ":" << thread.site.line;
    }
    i = end;
  }
  std::fprintf(stderr, "SIMT emulator: %s\n", text.str().c_str());
  std::fflush(stderr);
  std::abort();
}

// Guards the machine.
base::Mutex& MachineMutex() {
  static base::Mutex mutex;
  return mutex;
}

Machine& TheMachine() {
  static Machine machine;
  return machine;
}

// What the copy does is the thread's doing.
void PerformCopy(const PendingCopy& copy) {
  if (__tsan_write_range != nullptr) {
    if (copy.valid) __tsan_read_range(const_cast<void*>(copy.global), 16);
    __tsan_write_range(copy.shared, 16);
  }
  if (copy.valid) {
    std::memcpy(copy.shared, copy.global, 16);
  } else {
    std::memset(copy.shared, 0, 16);
  }
}

}  // namespace

void Rendezvous(uint32_t mask, Meeting meeting, Exchange exchange, void* args, const char* what,
                Site site) {
  TheMachine().Rendezvous(mask, meeting, exchange, args, what, site);
}

void Barrier(Site site) { TheMachine().Barrier(site); }

void QueueCopy(void* shared, const void* global, bool valid, Site site) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 ||
      (valid && reinterpret_cast<uintptr_t>(global) % 16 != 0)) {
    Fail("an asynchronous copy is not aligned to 16 bytes", site);
  }
  // Nobody may read it before the wait, and nobody may still be reading it.
  if (__tsan_write_range != nullptr) __tsan_write_range(shared, 16);
  std::memset(shared, 0xFF, 16);
  Thread& self = TheMachine().current();
  self.copies.push_back({shared, global, valid, self.open_group});
}

void CommitCopies() { ++TheMachine().current().open_group; }

void WaitCopies(int pending) {
  Thread& self = TheMachine().current();
  while (!self.copies.empty() && self.copies.front().group < self.open_group - pending) {
    PerformCopy(self.copies.front());
    current_async_proxy->NoteCopy(static_cast<uint8_t*>(self.copies.front().shared),
                                  self.place.warp);
    self.copies.pop_front();
  }
}

void TouchMemory(const void* from, uint32_t bytes, Site site) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0 || bytes % 16 != 0) {
    Fail("memory to be fetched ahead is not aligned to 16 bytes", site);
  }
  const auto* const begin = static_cast<const volatile uint8_t*>(from);
  for (uint32_t i = 0; i < bytes; i += 16) static_cast<void>(begin[i]);
}

void NoteAwaited() { TheMachine().current().awaited = true; }

void CheckAwaited() {
  if (TheMachine().current().awaited) return;
  Fail("the kernel ended without AwaitEarlierWork", {__FILE__, __LINE__});
}

void Fail(const std::string& message, Site site) {
  std::fprintf(stderr, "SIMT emulator: %s at %s:%d: %s\n", ThreadName(*current_place).c_str(),
               site.file, site.line, message.c_str());
  std::fflush(stderr);
  std::abort();
}

std::string LaunchFault(Dim3 grid, Dim3 block, size_t shared_bytes) {
  std::ostringstream text;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFFu || grid.y > 65535 ||
      grid.z > 65535) {
    text << "grid (" << grid.x << "," << grid.y << "," << grid.z << ") is out of range";
  } else if (block.x == 0 || block.y == 0 || block.z == 0 || block.x > kBlockMaxThreads ||
             block.y > kBlockMaxThreads || block.z > 64 ||
             uint64_t{block.x} * block.y * block.z > kBlockMaxThreads) {
    text << "block (" << block.x << "," << block.y << "," << block.z << ") is out of range";
  } else if (shared_bytes > kSharedMaxBytes) {
    text << shared_bytes << " bytes of shared memory are more than " << kSharedMaxBytes;
  }
  return text.str();
}

void RunGrid(Dim3 grid, Dim3 block, size_t shared_bytes, const std::function<void()>& kernel) {
  CHECK(LaunchFault(grid, block, shared_bytes).empty()) << LaunchFault(grid, block, shared_bytes);
  base::MutexLock lock(&MachineMutex());
  TheMachine().RunGrid(grid, block, shared_bytes, kernel);
}

void CheckRaces() {
  base::MutexLock lock(&MachineMutex());
  TheMachine().CheckRaces();
}

void SetSeed(uint64_t seed) {
  base::MutexLock lock(&MachineMutex());
  TheMachine().SetSeed(seed);
}

}  // namespace ebb::kernels::cuda::simt

// Stream: an ordered queue of work on a device. Launch returns at once; work runs one after the
// other, in the order of its launches.
//
//   submitted() = 5      [1] [2] [3] | [4] [5]      completed() = 3
//                         done         running, waiting
//
// Forms: HostStream (one thread), FakeStream (work runs when the test says so).
#pragma once

#include <cstdint>
#include <functional>

namespace ebb::device {

// The number of a launch, from 1. Everything up to completed() is done.
using Ticket = uint64_t;

// Thread-safe, but launches come from one thread at a time: two that race have no order.
class Stream {
 public:
  using Work = std::function<void()>;
  // Called after each piece of work with its ticket, when completed() has already reached it, from
  // wherever the work ran. It must not block, and must not wait for this stream.
  using OnCompleted = std::function<void(Ticket)>;

  virtual ~Stream() = default;

  // Queues the work. Work reports its own errors; it must not throw.
  virtual Ticket Launch(Work work) = 0;
  virtual Ticket submitted() const = 0;
  virtual Ticket completed() const = 0;
  // Returns when completed() >= ticket and its OnCompleted has returned.
  // REQUIRES: ticket <= submitted(); not called from this stream's work.
  virtual void Wait(Ticket ticket) = 0;
};

}  // namespace ebb::device

// Readers: who may still be touching pages, as named pairs of counters.
//
//   prefill   submitted 41  completed 40
//   decode    submitted 97  completed 97     tickets taken now: {41, 97}
//
// A page may be unmapped only when each reader has completed everything that it had submitted when
// the page was given up. One pair stands for each stream that can touch pages; memory knows no
// stream, the engine moves the counters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ebb::memory {

// Thread-compatible: guarded by the engine's mutex, owned by KvMemory.
class Readers {
 public:
  using Id = int;
  using Tickets = std::vector<uint64_t>;  // One for each reader that there was.

  Id Add(std::string name);

  // Counts work that is staged from now on, and gives its ticket. Call it while planning, under the
  // same lock as the decision which pages the work touches.
  uint64_t Submit(Id reader);
  // Everything up to the ticket is done: it touches no page any more, not even in speculation.
  // REQUIRES: completed(reader) <= ticket <= submitted(reader).
  void Complete(Id reader, uint64_t ticket);

  uint64_t submitted(Id reader) const;
  uint64_t completed(Id reader) const;
  const std::string& name(Id reader) const;

  // What each reader has submitted so far.
  Tickets Snapshot() const;
  // Whether each reader has completed what it had submitted at the snapshot.
  bool HavePassed(const Tickets& tickets) const;

 private:
  struct Reader {
    std::string name;
    uint64_t submitted = 0;
    uint64_t completed = 0;
  };
  std::vector<Reader> readers_;
};

}  // namespace ebb::memory

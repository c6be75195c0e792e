// FakeKvCopier: a KvCopier that keeps slots in the test's memory and fails when it is told to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/kv_copier.h"
#include "kernels/paged_kv.h"

namespace ebb::engine {

class FakeKvCopier final : public KvCopier {
 public:
  // The KV memory can be read and written by the host.
  FakeKvCopier(const kernels::PagedKv& kv, const CopierTraits& traits) : kv_(kv), traits_(traits) {}

  absl::Status AddChunk(int32_t chunk, int64_t bytes) override {
    if (std::exchange(fail_chunk_, false)) {
      ++failed_chunks_;
      return absl::ResourceExhaustedError("planted");
    }
    CHECK(chunks_.emplace(chunk, bytes).second) << "a chunk is added twice";
    return absl::OkStatus();
  }
  void DropChunk(int32_t chunk) override {
    CHECK_EQ(chunks_.erase(chunk), 1u);
    for (auto it = slots_.begin(); it != slots_.end();) {
      it = it->first / traits_.chunk_slots == chunk ? slots_.erase(it) : std::next(it);
    }
  }
  absl::Status CopyOut(absl::Span<const SlotCopy> copies) override {
    return Copy(copies, true, &fail_out_after_, &failed_outs_);
  }
  absl::Status CopyIn(absl::Span<const SlotCopy> copies) override {
    return Copy(copies, false, &fail_in_after_, &failed_ins_);
  }
  const CopierTraits& traits() const override { return traits_; }

  // The next copy fails, or the next chunk is not to be had. A copy fails after so many blocks (or
  // all of its own, if they are fewer).
  void FailNextOut(int32_t after_blocks) { fail_out_after_ = after_blocks; }
  void FailNextIn(int32_t after_blocks) { fail_in_after_ = after_blocks; }
  void FailNextChunk() { fail_chunk_ = true; }
  int64_t failed_outs() const { return failed_outs_; }
  int64_t failed_ins() const { return failed_ins_; }
  int64_t failed_chunks() const { return failed_chunks_; }
  size_t chunk_count() const { return chunks_.size(); }
  // Planted bugs: a copy leaves its last block out; copies in take one another's slots.
  void ForgetLastBlocks() { forgets_ = true; }
  void CrossSlots() { crosses_ = true; }

 private:
  absl::Status Copy(absl::Span<const SlotCopy> copies, bool out, int32_t* fail_after,
                    int64_t* failed) {
    const int32_t after = std::exchange(*fail_after, -1);
    if (after >= 0) ++*failed;
    if (forgets_) copies.remove_suffix(1);
    for (size_t i = 0; i < copies.size(); ++i) {
      if (after >= 0 && static_cast<int32_t>(i) >= after) break;
      const bool crossed = crosses_ && !out && copies.size() > 1;
      const memory::SlotId slot = copies[crossed ? copies.size() - 1 - i : i].slot;
      CHECK(chunks_.count(slot / traits_.chunk_slots) > 0) << "a slot of a chunk that is not there";
      CopyBlock(copies[i].block, slot, out);
    }
    return after >= 0 ? absl::UnknownError("planted") : absl::OkStatus();
  }

  void CopyBlock(int32_t block, memory::SlotId slot, bool out) {
    const auto bytes = static_cast<size_t>(kv_.layer_block_bytes);
    std::vector<uint8_t>& kept = slots_[slot];
    kept.resize(static_cast<size_t>(kv_.layers) * bytes);
    for (int32_t layer = 0; layer < kv_.layers; ++layer) {
      uint8_t* const part = kept.data() + static_cast<size_t>(layer) * bytes;
      if (out) {
        std::memcpy(part, kv_.Keys(layer, block), bytes);
      } else {
        std::memcpy(kv_.Keys(layer, block), part, bytes);
      }
    }
  }

  const kernels::PagedKv kv_;
  const CopierTraits traits_;
  std::map<int32_t, int64_t> chunks_;
  std::map<memory::SlotId, std::vector<uint8_t>> slots_;
  int32_t fail_out_after_ = -1;
  int32_t fail_in_after_ = -1;
  bool fail_chunk_ = false;
  bool forgets_ = false;
  bool crosses_ = false;
  int64_t failed_outs_ = 0;
  int64_t failed_ins_ = 0;
  int64_t failed_chunks_ = 0;
};

}  // namespace ebb::engine

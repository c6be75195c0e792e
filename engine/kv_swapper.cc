#include "engine/kv_swapper.h"

#include <utility>

#include "base/check.h"

namespace ebb::engine {

void KvSwapper::Submit(SwapPiece piece) {
  {
    base::MutexLock lock(&mutex_);
    CHECK(!in_flight_) << "a piece at a time";
    in_flight_ = true;
  }
  piece_ = std::move(piece);
  stream_->Launch([this] {
    const absl::Time started = clock_->Now();
    SwapResult result;
    result.status = piece_.out ? copier_->CopyOut(piece_.copies) : copier_->CopyIn(piece_.copies);
    result.took = clock_->Now() - started;
    {
      base::MutexLock lock(&mutex_);
      result_ = std::move(result);
    }
    if (on_done_) on_done_();
  });
}

std::optional<SwapResult> KvSwapper::TakeResult() {
  base::MutexLock lock(&mutex_);
  if (!result_.has_value()) return std::nullopt;
  std::optional<SwapResult> result = std::move(result_);
  result_.reset();
  in_flight_ = false;
  return result;
}

}  // namespace ebb::engine

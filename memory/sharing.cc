#include "memory/sharing.h"

#include <utility>

#include "base/status_macros.h"

namespace ebb::memory {
namespace {

constexpr absl::Duration kJoinAgain = absl::Seconds(1);

}  // namespace

Sharing::Sharing(Options options, const base::Clock* clock, base::Log* log)
    : options_(std::move(options)), clock_(clock), log_(log) {}

LedgerSeat::Answer Sharing::Renew(const LedgerSeat::Needs& needs, int64_t unit_bytes) {
  const absl::Time now = clock_->Now();
  if (seat_ != nullptr) {
    if (const absl::Status status = file_->Check(); !status.ok()) Leave(status);
  }
  if (seat_ == nullptr && now >= join_at_) {
    join_at_ = now + kJoinAgain;
    if (const absl::Status status = Join(unit_bytes); !status.ok()) Leave(status);
  }
  if (seat_ == nullptr) {
    LedgerSeat::Answer unbounded;
    unbounded.lease_bytes = unbounded.keep_bytes = unbounded.share_bytes = kLedgerUnbounded;
    unbounded.capacity_bytes = kLedgerUnbounded;
    return unbounded;
  }
  const LedgerSeat::Answer answer = seat_->Renew(needs, now);
  LogPressure(needs, answer);
  LogHandOver(answer, unit_bytes, now);
  return answer;
}

absl::Status Sharing::Join(int64_t unit_bytes) {
  const std::string path = LedgerPath(options_.directory, options_.device_id);
  ASSIGN_OR_RETURN(file_, LedgerFile::Open(path, options_.device_id, LedgerFile::Access::kServer));
  LedgerSeat::Terms terms = options_.terms;
  terms.unit_bytes = unit_bytes;
  ASSIGN_OR_RETURN(seat_, LedgerSeat::Take(file_.get(), terms));
  reason_.clear();
  log_->Write("sharing", {{"ledger", path}, {"slot", seat_->slot()}});
  return absl::OkStatus();
}

void Sharing::Leave(const absl::Status& why) {
  // A file that was cut short may not be touched any more, not even to give the seat up.
  if (seat_ != nullptr) seat_->Abandon();
  seat_.reset();
  file_.reset();
  servers_ = 0;
  pressed_ = false;
  claim_.reset();
  if (reason_ == why.message()) return;
  reason_ = std::string(why.message());
  log_->Write("sharing_off",
              {{"reason", reason_},
               {"message",
                "memory is not shared by the ledger: only this server's own limit and "
                "the device's free memory bound it"}});
}

void Sharing::LogPressure(const LedgerSeat::Needs& needs, const LedgerSeat::Answer& answer) {
  const bool pressed = answer.keep_bytes < needs.held_bytes;
  if (answer.servers == servers_ && pressed == pressed_) return;
  servers_ = answer.servers;
  pressed_ = pressed;
  log_->Write("sharing_changed", {{"servers", answer.servers},
                                  {"must_give_back", pressed},
                                  {"held_bytes", needs.held_bytes},
                                  {"wanted_bytes", needs.wanted_bytes},
                                  {"share_bytes", answer.share_bytes}});
}

// From the first look that finds less leased than the share, by a unit at least, to the first that
// does not. Nothing is said when the share came down to the lease instead.
void Sharing::LogHandOver(const LedgerSeat::Answer& answer, int64_t unit_bytes, absl::Time now) {
  const bool lacks = answer.share_bytes - answer.lease_bytes >= unit_bytes;
  if (lacks) {
    if (!claim_.has_value()) claim_ = {now, answer.lease_bytes};
    return;
  }
  if (claim_.has_value() && answer.lease_bytes > claim_->lease_bytes) {
    log_->Write("handed_over", {{"bytes", answer.lease_bytes - claim_->lease_bytes},
                                {"took_ms", absl::ToDoubleMilliseconds(now - claim_->since)},
                                {"lease_bytes", answer.lease_bytes}});
  }
  claim_.reset();
}

}  // namespace ebb::memory

// ebb memory and ebb health.
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "cli/answer_json.h"
#include "cli/command.h"
#include "cli/health.h"

namespace ebb::cli {
namespace {

// ---- memory

// "1073741824", "512MiB", "2GiB".
absl::StatusOr<int64_t> ParseBytes(absl::string_view text) {
  absl::string_view digits = text;
  int64_t unit = 1;
  if (absl::ConsumeSuffix(&digits, "KiB")) {
    unit = int64_t{1} << 10;
  } else if (absl::ConsumeSuffix(&digits, "MiB")) {
    unit = int64_t{1} << 20;
  } else if (absl::ConsumeSuffix(&digits, "GiB")) {
    unit = int64_t{1} << 30;
  }
  int64_t count = 0;
  int64_t bytes = 0;
  if (!absl::SimpleAtoi(digits, &count) || __builtin_mul_overflow(count, unit, &bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--set-limit: must be a number of bytes, such as 1073741824, 512MiB or 2GiB; not ", text));
  }
  return bytes;
}

std::string Mebibytes(int64_t bytes) {
  return absl::StrFormat("%10.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

absl::StatusOr<v1::SetMemoryLimitRequest> LimitRequest(const Args& args) {
  v1::SetMemoryLimitRequest request;
  ASSIGN_OR_RETURN(const int64_t bytes, ParseBytes(*args.Text("set-limit")));
  request.set_limit_bytes(bytes);
  ASSIGN_OR_RETURN(const std::optional<int64_t> deadline_ms, args.Int64("deadline-ms"));
  if (deadline_ms.has_value()) request.set_deadline_ms(*deadline_ms);
  ASSIGN_OR_RETURN(const std::optional<uint64_t> revision, args.Uint64("revision"));
  if (revision.has_value()) request.set_revision(*revision);
  if (args.Has("force")) request.set_force(true);
  return request;
}

// What was done, in words.
std::string DescribeLimit(const v1::SetMemoryLimitResponse& answer) {
  std::string text;
  if (answer.stale()) {
    text =
        absl::StrCat("stale: nothing was changed, revision ", answer.revision(), " is in force\n");
  }
  if (answer.outcome() == v1::SetMemoryLimitResponse::OUTCOME_APPLIED) {
    absl::StrAppend(&text, "applied: the limit is ", answer.limit_bytes(), " bytes, held are ",
                    answer.held_bytes(), "\n");
  } else {
    absl::StrAppend(&text, "deferred: the limit is ", answer.limit_bytes(),
                    " bytes, but running requests still hold ", answer.deferred_bytes(), " more");
    if (answer.first_needs_bytes() > 0) {
      absl::StrAppend(&text, "; the first needs ", answer.first_needs_bytes());
    }
    text += "\n";
  }
  if (answer.stale()) return text;
  absl::StrAppendFormat(&text,
                        "in %.1f ms: held before %d bytes; %d pages unmapped, %d sequences "
                        "preempted, %d requests ended\n",
                        answer.took_ms(), answer.held_before_bytes(), answer.pages_unmapped(),
                        answer.preempted_sequences(), answer.ended_requests());
  return text;
}

ExitCode SetLimit(const Args& args, Connection* connection, Terminal* terminal) {
  const absl::StatusOr<v1::SetMemoryLimitRequest> request = LimitRequest(args);
  if (!request.ok()) return FailUsage(terminal, request.status());
  grpc::ClientContext context;
  const Interrupt::Scope cancel(terminal->interrupt, [&context] { context.TryCancel(); });
  v1::SetMemoryLimitResponse answer;
  const grpc::Status status = connection->control()->SetMemoryLimit(&context, *request, &answer);
  if (!status.ok()) return FailCall(terminal, *connection, status);
  *terminal->out << (args.Has("json") ? JsonLine(LimitJson(answer)) : DescribeLimit(answer));
  return ExitCode::kOk;
}

ExitCode RunMemory(const Args& args, Connection* connection, Terminal* terminal) {
  if (args.Has("set-limit")) return SetLimit(args, connection, terminal);
  for (const char* option : {"deadline-ms", "force", "revision"}) {
    if (!args.Has(option)) continue;
    return FailUsage(terminal,
                     absl::InvalidArgumentError(absl::StrCat("--", option, ": needs --set-limit")));
  }
  grpc::ClientContext context;
  const Interrupt::Scope cancel(terminal->interrupt, [&context] { context.TryCancel(); });
  v1::GetMemoryResponse memory;
  const grpc::Status status = connection->control()->GetMemory(&context, {}, &memory);
  if (!status.ok()) return FailCall(terminal, *connection, status);
  if (args.Has("json")) {
    *terminal->out << JsonLine(MemoryJson(memory));
    return ExitCode::kOk;
  }
  *terminal->out << "held    " << Mebibytes(memory.held_bytes()) << "  (" << memory.pages_mapped()
                 << " pages of " << memory.page_bytes() << " bytes, and workspaces)\n"
                 << "needed  " << Mebibytes(memory.needed_bytes()) << "\n"
                 << "cached  " << Mebibytes(memory.cached_bytes()) << "\n"
                 << "limit   " << Mebibytes(memory.limit_bytes()) << "\n";
  if (memory.swap_limit_bytes() > 0) {
    *terminal->out << "swapped " << Mebibytes(memory.swapped_bytes()) << "  (at most"
                   << Mebibytes(memory.swap_limit_bytes()) << ")\n";
  }
  return ExitCode::kOk;
}

// ---- health

// A server that hangs is not healthy: a probe must not hang with it.
constexpr double kHealthSeconds = 5;

ExitCode RunHealth(const Args& args, Connection* connection, Terminal* terminal) {
  grpc::ClientContext context;
  const absl::Status deadline = SetDeadline(args, kHealthSeconds, &context);
  if (!deadline.ok()) return FailUsage(terminal, deadline);
  const Interrupt::Scope cancel(terminal->interrupt, [&context] { context.TryCancel(); });
  std::string answer;
  const grpc::Status status = CheckHealth(*connection, &context, &answer);
  if (!status.ok()) return FailCall(terminal, *connection, status);
  *terminal->out << (args.Has("json") ? JsonLine({{"status", answer}}) : answer + "\n");
  return answer == "SERVING" ? ExitCode::kOk : ExitCode::kFailed;
}

}  // namespace

Command MemoryCommand() {
  return {"memory",
          "",
          "Show the KV memory held and needed, or change its limit.",
          {{"set-limit", "BYTES",
            "Hold at most this, running requests or not; KiB, MiB, GiB may follow."},
           {"deadline-ms", "N", "With --set-limit: give memory back within so long."},
           {"force", "", "With --set-limit: end a request that alone needs more than the limit."},
           {"revision", "N",
            "With --set-limit: change nothing unless N is above the revision in force."},
           {"json", "", "Print one JSON object."}},
          RunMemory};
}

Command HealthCommand() {
  return {"health",
          "",
          "Say whether the server takes requests: SERVING, exit code 0; else 1.",
          {{"timeout-seconds", "S", "A server that is silent so long is not serving. Default 5."},
           {"json", "", "Print {\"status\": \"SERVING\"}."}},
          RunHealth};
}

}  // namespace ebb::cli

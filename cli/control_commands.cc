// ebb memory and ebb health.
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
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

ExitCode SetLimit(const Args& args, Connection* connection, Terminal* terminal) {
  const absl::StatusOr<int64_t> bytes = ParseBytes(*args.Text("set-limit"));
  if (!bytes.ok()) return FailUsage(terminal, bytes.status());
  grpc::ClientContext context;
  const Interrupt::Scope cancel(terminal->interrupt, [&context] { context.TryCancel(); });
  v1::SetMemoryLimitRequest request;
  request.set_limit_bytes(*bytes);
  v1::SetMemoryLimitResponse answer;
  const grpc::Status status = connection->control()->SetMemoryLimit(&context, request, &answer);
  if (!status.ok()) return FailCall(terminal, *connection, status);
  if (args.Has("json")) {
    *terminal->out << JsonLine(LimitJson(answer));
  } else if (answer.outcome() == v1::SetMemoryLimitResponse::OUTCOME_APPLIED) {
    *terminal->out << "applied: the limit is " << answer.limit_bytes() << " bytes, held are "
                   << answer.held_bytes() << "\n";
  } else {
    *terminal->out << "deferred: the limit is " << answer.limit_bytes()
                   << " bytes, but running requests still hold " << answer.deferred_bytes()
                   << " more\n";
  }
  return ExitCode::kOk;
}

ExitCode RunMemory(const Args& args, Connection* connection, Terminal* terminal) {
  if (args.Has("set-limit")) return SetLimit(args, connection, terminal);
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
            "From the next window boundary on, hold at most this; KiB, MiB, GiB may follow."},
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

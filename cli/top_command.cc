// ebb top: a server's requests, tokens, memory and windows as they change.
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "cli/answer_json.h"
#include "cli/command.h"
#include "cli/top/sample.h"
#include "cli/top/screen.h"
#include "cli/top/watch.h"

namespace ebb::cli {
namespace {

// A server that is silent for so long has not answered; a key waits as long at most.
constexpr absl::Duration kSampleTimeout = absl::Seconds(2);

struct TopPlan {
  absl::Duration interval;
  std::optional<int64_t> count;  // Of JSON samples. None: without end.
};

absl::StatusOr<std::optional<int64_t>> IntegerWithin(const Args& args, absl::string_view name,
                                                     int64_t low, int64_t high) {
  ASSIGN_OR_RETURN(const std::optional<int64_t> given, args.Int64(name));
  if (given.has_value() && (*given < low || *given > high)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, ": must be ", low, " to ", high, "; not ", *given));
  }
  return given;
}

absl::StatusOr<TopPlan> MakePlan(const Args& args) {
  if (!args.words().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("unexpected word: ", args.words()[0]));
  }
  TopPlan plan;
  ASSIGN_OR_RETURN(const std::optional<int64_t> interval_ms,
                   IntegerWithin(args, "interval-ms", 50, 3'600'000));
  plan.interval = absl::Milliseconds(interval_ms.value_or(1000));
  ASSIGN_OR_RETURN(plan.count, IntegerWithin(args, "count", 1, 1'000'000'000));
  if (plan.count.has_value() && !args.Has("json")) {
    return absl::InvalidArgumentError("--count: needs --json");
  }
  if (!args.Has("once")) return plan;
  if (plan.count.has_value()) {
    return absl::InvalidArgumentError("--count: one is what --once means; leave one of them out");
  }
  plan.count = 1;
  return plan;
}

// False when an interrupt ends the pause.
bool Pause(absl::Duration interval, Terminal* terminal) {
  return !terminal->interrupt->WaitFor(interval);
}

ExitCode PrintJson(const TopPlan& plan, Watch* watch, Terminal* terminal) {
  for (int64_t printed = 0;;) {
    *terminal->out << JsonLine(watch->Json()) << std::flush;
    if (++printed == plan.count || !terminal->out->good()) return ExitCode::kOk;
    if (!Pause(plan.interval, terminal)) return ExitCode::kInterrupted;
    watch->Next();
  }
}

// A frame in plain text, its rates over one interval.
ExitCode PrintFrame(Watch* watch, Terminal* terminal) {
  if (!Pause(watch->options().interval, terminal)) return ExitCode::kInterrupted;
  watch->Next();
  const ScreenSize size;
  for (const StyledLine& line : watch->Frame(terminal->columns, size.rows)) {
    *terminal->out << line.Plain() << "\n";
  }
  return ExitCode::kOk;
}

ExitCode RunTop(const Args& args, Connection* connection, Terminal* terminal) {
  const absl::StatusOr<TopPlan> plan = MakePlan(args);
  if (!plan.ok()) return FailUsage(terminal, plan.status());
  const bool on_screen = terminal->open_screen != nullptr && !args.Has("json") && !args.Has("once");
  const base::RealClock clock;
  Watch watch({connection->address(), plan->interval, on_screen && terminal->color},
              [&] { return TakeSample(*connection, kSampleTimeout, clock, terminal->interrupt); });
  if (const Sample& first = watch.Next(); !first.answered()) {
    return FailCall(terminal, *connection, first.status);
  }
  if (args.Has("json")) return PrintJson(*plan, &watch, terminal);
  if (!on_screen) return PrintFrame(&watch, terminal);
  // A signal ends the loop, which gives the terminal back, and not the process.
  const Interrupt::Scope ends_loop(terminal->interrupt, [] {});
  const std::unique_ptr<Screen> screen = terminal->open_screen();
  return ShowOnScreen(&watch, screen.get(), clock) == Screen::Event::kQuit ? ExitCode::kOk
                                                                           : ExitCode::kInterrupted;
}

}  // namespace

Command TopCommand() {
  return {"top",
          "",
          "Show requests, tokens, memory and windows as they change; the key q ends it.",
          {{"interval-ms", "N", "Ask the server this often. Default 1000."},
           {"once", "",
            "Print one frame in plain text, its rates over one interval, and end; so too where "
            "there is no terminal."},
           {"json", "", "Print one JSON object for each sample."},
           {"count", "N", "With --json: end after N samples."}},
          RunTop};
}

}  // namespace ebb::cli

// ebb bench: an open-loop load and its figures.
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "cli/answer_json.h"
#include "cli/bench/arrivals.h"
#include "cli/bench/load.h"
#include "cli/bench/report.h"
#include "cli/bench/trace.h"
#include "cli/command.h"
#include "cli/text_file.h"

namespace ebb::cli {
namespace {

struct BenchPlan {
  std::string description;  // Of the load, for the report.
  std::vector<Arrival> arrivals;
  LoadOptions load;
  Slo slo;
};

// A number within bounds, both included, or the default.
absl::StatusOr<double> NumberWithin(const Args& args, absl::string_view name, double low,
                                    double high, double standard) {
  ASSIGN_OR_RETURN(const std::optional<double> given, args.Double(name));
  const double number = given.value_or(standard);
  if (given.has_value() && !(number >= low && number <= high)) {  // Written so that NaN fails.
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, ": must be ", low, " to ", high, "; not ", number));
  }
  return number;
}

absl::StatusOr<std::vector<Arrival>> TraceArrivals(const Args& args, Terminal* terminal) {
  for (const char* name : {"prompt-tokens", "output-tokens"}) {
    if (args.Has(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, ": the trace says it; scale with --length-divisor"));
    }
  }
  TraceScale scale;
  ASSIGN_OR_RETURN(scale.speed, NumberWithin(args, "trace-speed", 1e-6, 1e6, 1));
  ASSIGN_OR_RETURN(scale.length_divisor, NumberWithin(args, "length-divisor", 1e-3, 1e6, 1));
  constexpr double kLengthMax = 1e10;
  ASSIGN_OR_RETURN(const double length_max,
                   NumberWithin(args, "length-max", 1, kLengthMax, kLengthMax));
  scale.length_max = static_cast<int64_t>(length_max);
  const std::string path = *args.Text("trace");
  ASSIGN_OR_RETURN(const std::string text, ReadInput(path, terminal->in));
  return ParseTrace(text, path, scale);
}

absl::StatusOr<std::vector<Arrival>> DrawnArrivals(const Args& args, absl::Duration duration,
                                                   uint64_t seed) {
  for (const char* name : {"trace-speed", "length-divisor", "length-max"}) {
    if (args.Has(name))
      return absl::InvalidArgumentError(absl::StrCat("--", name, ": needs --trace"));
  }
  RateWave wave;
  if (args.Has("square")) {
    ASSIGN_OR_RETURN(wave, ParseRateWave(*args.Text("square"), "square"));
  } else {
    ASSIGN_OR_RETURN(wave.low, NumberWithin(args, "rate", 1e-3, 1e6, 1));
    wave.high = wave.low;
  }
  ASSIGN_OR_RETURN(const LengthRange prompt,
                   ParseLengthRange(args.Text("prompt-tokens").value_or("128"), "prompt-tokens"));
  ASSIGN_OR_RETURN(const LengthRange output,
                   ParseLengthRange(args.Text("output-tokens").value_or("64"), "output-tokens"));
  return DrawArrivals(wave, duration, prompt, output, seed);
}

absl::StatusOr<BenchPlan> MakePlan(const Args& args, Terminal* terminal) {
  if (!args.words().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("unexpected word: ", args.words()[0]));
  }
  if (args.Has("rate") + args.Has("square") + args.Has("trace") != 1) {
    return absl::InvalidArgumentError(
        "give one of --rate R, --square LOW:HIGH:PERIOD and --trace FILE");
  }
  BenchPlan plan;
  for (const char* kind : {"rate", "square", "trace"}) {
    if (args.Has(kind)) plan.description = absl::StrCat(kind, " ", *args.Text(kind));
  }
  ASSIGN_OR_RETURN(const std::optional<uint64_t> seed, args.Uint64("seed"));
  plan.load.seed = seed.value_or(1);
  constexpr double kDay = 86400;
  const bool traced = args.Has("trace");
  ASSIGN_OR_RETURN(const double seconds, NumberWithin(args, "duration-seconds", 0.01, 30 * kDay,
                                                      traced ? 30 * kDay : 30));
  const absl::Duration duration = absl::Seconds(seconds);
  if (traced) {
    ASSIGN_OR_RETURN(plan.arrivals, TraceArrivals(args, terminal));
  } else {
    ASSIGN_OR_RETURN(plan.arrivals, DrawnArrivals(args, duration, plan.load.seed));
  }
  ASSIGN_OR_RETURN(const double requests_max,
                   NumberWithin(args, "requests-max", 1, kArrivalsMax, kArrivalsMax));
  while (!plan.arrivals.empty() && (plan.arrivals.back().at >= duration ||
                                    static_cast<double>(plan.arrivals.size()) > requests_max)) {
    plan.arrivals.pop_back();
  }
  if (plan.arrivals.empty()) {
    return absl::InvalidArgumentError("no request falls into this load; make it longer");
  }
  ASSIGN_OR_RETURN(const double in_flight, NumberWithin(args, "in-flight-max", 1, 1e6, 1024));
  plan.load.in_flight_max = static_cast<int64_t>(in_flight);
  ASSIGN_OR_RETURN(plan.load.temperature, NumberWithin(args, "temperature", 0, 100, 0));
  const double infinity = std::numeric_limits<double>::infinity();
  ASSIGN_OR_RETURN(const double timeout,
                   NumberWithin(args, "timeout-seconds", 0.001, 30 * kDay, infinity));
  plan.load.request_timeout = absl::Seconds(timeout);
  ASSIGN_OR_RETURN(const double interval_ms,
                   NumberWithin(args, "memory-interval-ms", 0, 1000 * kDay, 200));
  plan.load.memory_interval = absl::Milliseconds(interval_ms);
  ASSIGN_OR_RETURN(const double ttft_ms, NumberWithin(args, "slo-ttft-ms", 0, 1e9, infinity));
  ASSIGN_OR_RETURN(const double tpot_ms, NumberWithin(args, "slo-tpot-ms", 0, 1e9, infinity));
  plan.slo = {ttft_ms / 1000, tpot_ms / 1000};
  return plan;
}

ExitCode RunBench(const Args& args, Connection* connection, Terminal* terminal) {
  absl::StatusOr<BenchPlan> plan = MakePlan(args, terminal);
  if (!plan.ok()) return FailUsage(terminal, plan.status());
  v1::GetModelInfoResponse model;
  {
    grpc::ClientContext context;
    const Interrupt::Scope cancel(terminal->interrupt, [&context] { context.TryCancel(); });
    const grpc::Status status = connection->control()->GetModelInfo(&context, {}, &model);
    if (!status.ok()) return FailCall(terminal, *connection, status);
  }
  constexpr int64_t kVocabularyMin = 8;
  if (model.vocabulary_tokens() < kVocabularyMin) {
    return Fail(terminal, ExitCode::kFailed, "the model's vocabulary is too small for a load");
  }
  plan->load.vocabulary_tokens = model.vocabulary_tokens();
  *terminal->err << "ebb bench: " << plan->description << ", " << plan->arrivals.size()
                 << " requests over "
                 << absl::StrFormat("%.1f", absl::ToDoubleSeconds(plan->arrivals.back().at))
                 << " s, seed " << plan->load.seed << std::endl;
  const base::RealClock clock;
  const LoadResult result =
      RunLoad(plan->arrivals, plan->load, clock, connection, terminal->interrupt);
  const Report report = Summarize(result, plan->slo);
  if (args.Has("json")) {
    nlohmann::ordered_json json = {{"load", plan->description},
                                   {"seed", plan->load.seed},
                                   {"address", connection->address()},
                                   {"model", model.name()}};
    json.update(ReportJson(report, result));
    *terminal->out << JsonLine(json) << std::flush;
  } else {
    *terminal->out << ReportTable(report) << std::flush;
  }
  if (result.interrupted) return ExitCode::kInterrupted;
  return report.ok > 0 ? ExitCode::kOk : ExitCode::kFailed;
}

}  // namespace

Command BenchCommand() {
  return {"bench",
          "",
          "Send an open-loop load and measure: times, goodput, memory held and needed.",
          {{"rate", "R", "Poisson arrivals, R requests per second."},
           {"square", "LOW:HIGH:PERIOD",
            "Poisson arrivals whose rate is LOW in the first half of each PERIOD seconds and HIGH "
            "in the second."},
           {"trace", "FILE",
            "Arrivals and lengths from CSV (arrival_s, prompt_tokens, output_tokens; or the names "
            "of the Azure traces) or JSON lines (Mooncake)."},
           {"trace-speed", "X", "Replay the trace X times as fast. Default 1."},
           {"length-divisor", "X", "Divide the trace's lengths by X. Default 1."},
           {"length-max", "N", "Then cut them to at most N tokens. Default: no bound."},
           {"duration-seconds", "S", "Send for S seconds. Default 30, or the whole trace."},
           {"requests-max", "N", "Send at most N requests."},
           {"prompt-tokens", "N|A:B", "Length of prompts. Default 128."},
           {"output-tokens", "N|A:B", "Length of answers. Default 64."},
           {"temperature", "T", "Default 0."},
           {"seed", "S", "Fixes arrivals, lengths and prompts. Default 1."},
           {"in-flight-max", "N",
            "With N requests in flight, arrivals are not sent, and counted. Default 1024."},
           {"timeout-seconds", "S", "Deadline of each request. Default: none."},
           {"slo-ttft-ms", "T", "A good answer's first token comes within T. Default: any time."},
           {"slo-tpot-ms", "T", "A good answer's mean time per token is at most T. Default: any."},
           {"memory-interval-ms", "T",
            "Ask for the server's memory this often; 0: never. Default 200."},
           {"json", "", "Print one JSON object."}},
          RunBench};
}

}  // namespace ebb::cli

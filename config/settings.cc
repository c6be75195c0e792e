#include "config/settings.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "nlohmann/json.hpp"

namespace ebb::config {
namespace {

constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();
// Large enough for any machine, small enough that sums of a few never overflow.
constexpr int64_t kBytesMax = int64_t{1} << 50;
constexpr int64_t kDayMs = 24 * 3600 * 1000;
constexpr int64_t kPathBytesMax = 4095;

constexpr absl::string_view kKernelPathNames[] = {"auto", "reference", "avx2", "avx512", "amx"};
constexpr absl::string_view kDeviceKindNames[] = {"auto", "cpu", "cuda"};
constexpr absl::string_view kPageEditsNames[] = {"joint_boundary", "any_time"};
constexpr absl::string_view kKvDtypeNames[] = {"auto", "f16", "bf16", "f32"};
constexpr absl::string_view kStaticEstimatorNames[] = {"by_tokens", "by_usage"};
constexpr absl::string_view kQueuesNames[] = {"separate", "one"};

// A Member<T> for `field`, an expression on the config `c`.
#define EBB_MEMBER(type, field)                      \
  Member<type> {                                     \
    [](ServerConfig& c) -> type& { return c.field; } \
  }

// An EnumMember for `field`, whose names are `field_names`.
#define EBB_ENUM(field, field_names)                                                \
  EnumMember {                                                                      \
    field_names, [](const ServerConfig& c) { return static_cast<int>(c.field); },   \
        [](ServerConfig& c, int value) {                                            \
          c.field = static_cast<std::remove_reference_t<decltype(c.field)>>(value); \
        }                                                                           \
  }

const Section kSections[] = {
    {"model", "What is served."},
    {"server", "The gRPC and HTTP servers."},
    {"security", "Who may use the server; docs/security.md explains."},
    {"device", "What computes."},
    {"kernels", "How the model is computed on the CPU."},
    {"cuda", "How the model is computed on a CUDA device."},
    {"kv", "How keys and values are stored."},
    {"memory", "The KV memory: how much of it may be held, and when it is given back."},
    {"prefix_cache", "Prompts whose beginnings were computed before: what is kept of them."},
    {"sharing", "How servers on one device or host divide its memory among themselves."},
    {"prefill_window", "The time for which the prefill queue's memory is planned."},
    {"decode_window",
     "The time for which the decode queue's memory is planned, or the one queue's."},
    {"scheduler", "Who waits, who runs, and how large a step is."},
    {"requests", "What one request may ask for; more is refused with INVALID_ARGUMENT."},
    {"quotas",
     "What each token of `security.tokens_file` may use; more is refused with RESOURCE_EXHAUSTED. "
     "docs/security.md explains."},
    {"log", "The JSON lines on standard output."},
    {"metrics", "What Prometheus is told; see docs/metrics.md."},
};

const Setting kSettings[] = {
    {"model.path",
     "The model: a GGUF file, a Hugging Face directory, or `random:SHAPE`. Empty: `--model` must "
     "give it.",
     EBB_MEMBER(std::string, model.path), 0, kPathBytesMax},
    {"model.name", "The name that clients see. Empty: the path's last part without `.gguf`.",
     EBB_MEMBER(std::string, model.name), 0, 128},

    {"server.listen",
     "`ADDRESS:PORT` to listen on; port 0 takes a free one, which the `ready` line tells.",
     EBB_MEMBER(std::string, server.listen), 3, 256},
    {"server.http_listen",
     "Where HTTP is served: `ADDRESS:PORT`, `off`, or `auto`: the address of `server.listen` and "
     "port 8000, or a free port if 8000 is taken or the port of `server.listen` is 0. The `ready` "
     "line tells.",
     EBB_MEMBER(std::string, server.http_listen), 3, 256},
    {"server.http_hosts",
     "Names by which clients may call the HTTP server, separated by commas, besides `localhost` "
     "and "
     "addresses: a request whose Host header has another is refused. `*`: any. Empty: none on the "
     "loopback, any beyond it.",
     EBB_MEMBER(std::string, server.http_hosts), 0, 4096},
    {"server.control_listen",
     "Where `ebb.v1.Control` is served, and then nowhere else: `ADDRESS:PORT` or `unix:PATH`, a "
     "Unix socket. Empty: at `server.listen`, with everything else.",
     EBB_MEMBER(std::string, server.control_listen), 0, 256},
    {"server.drain_grace_ms",
     "After SIGTERM, running requests get this long; those still unfinished end with UNAVAILABLE.",
     EBB_MEMBER(absl::Duration, server.drain_grace), 0, kDayMs},
    {"server.drain_delay_ms",
     "After SIGTERM, health says NOT_SERVING at once, but new requests are still taken for this "
     "long: load balancers need seconds to notice. Then the drain begins.",
     EBB_MEMBER(absl::Duration, server.drain_delay), 0, kDayMs},
    {"server.stall_ms",
     "With requests running and no step completed for this long, health says that the engine "
     "hangs. 0: never.",
     EBB_MEMBER(absl::Duration, server.stall), 0, kDayMs},
    {"server.message_bytes_max", "The largest request that is read.",
     EBB_MEMBER(int64_t, server.message_bytes_max), 1024, kInt32Max},

    {"security.tokens_file",
     "A file of lines `NAME TOKEN`: every request must bring one of the tokens, and the name is "
     "its "
     "tenant. Changes of the file are taken up within a second. Empty: no token is asked for.",
     EBB_MEMBER(std::string, security.tokens_file), 0, kPathBytesMax},
    {"security.control_tokens_file",
     "A file of the same form: the tokens of operators, who alone may call `ebb.v1.Control`. "
     "Empty: "
     "with `security.tokens_file` nobody may call it, else whoever reaches it.",
     EBB_MEMBER(std::string, security.control_tokens_file), 0, kPathBytesMax},
    {"security.allow_open",
     "Whether a server without `security.tokens_file` or `security.tls_client_ca_file` may listen "
     "beyond this machine, where whoever reaches its ports can use and stop it.",
     EBB_MEMBER(bool, security.allow_open)},
    {"security.tls_certificate_file",
     "The server's certificate and those between it and its root, PEM: both ports speak TLS. "
     "Changes of this and the next two files are taken up within a second, by new connections. "
     "Empty: nothing is encrypted.",
     EBB_MEMBER(std::string, security.tls_certificate_file), 0, kPathBytesMax},
    {"security.tls_key_file", "The key of the certificate, PEM without a password.",
     EBB_MEMBER(std::string, security.tls_key_file), 0, kPathBytesMax},
    {"security.tls_client_ca_file",
     "Certificate authorities, PEM: clients must present a certificate that one of them signed. "
     "Empty: clients need none.",
     EBB_MEMBER(std::string, security.tls_client_ca_file), 0, kPathBytesMax},

    {"device.kind",
     "`auto` takes a CUDA device where one can be used, else the CPU; the `device` line of the log "
     "tells what was found. `cuda` ends the server where there is none.",
     EBB_ENUM(device.kind, kDeviceKindNames)},
    {"device.index", "Which CUDA device, as the driver counts them.",
     EBB_MEMBER(int32_t, device.index), 0, 1023},

    {"kernels.path",
     "Which kernels compute: `auto` takes the fastest that this processor can run; one that it "
     "cannot run is an error. `reference` is slow and exact.",
     EBB_ENUM(kernels.path, kKernelPathNames)},
    {"kernels.threads", "Threads that compute. 0: one for each processor this process may use.",
     EBB_MEMBER(int32_t, kernels.threads), 0, 1024},

    {"cuda.library",
     "The CUDA library. Empty: `libebb_cuda.so` beside the executable, or where the system's "
     "loader "
     "looks.",
     EBB_MEMBER(std::string, cuda.library), 0, kPathBytesMax},
    {"cuda.page_edits",
     "When pages are mapped and unmapped: at `joint_boundary`, when neither loop has a step on the "
     "device, or at `any_time`, beside running steps, which no driver documents as safe.",
     EBB_ENUM(cuda.page_edits, kPageEditsNames)},
    {"cuda.prefill_sm_percent",
     "Share of the device's multiprocessors that prefill's matrix products plan for, so that "
     "decode "
     "finds room beside them.",
     EBB_MEMBER(int32_t, cuda.prefill_sm_percent), 1, 100},
    {"cuda.batch_invariant",
     "A row's bits do not depend on the batch, its place in it or the chunks of its prompt; "
     "slower.",
     EBB_MEMBER(bool, cuda.batch_invariant)},
    {"cuda.hopper",
     "On devices of compute capability 9.0, use what only they have: kernels that start while the "
     "one before ends, prefill attention by warpgroup products. Off until a device has shown it: "
     "`tools/gpu_check` measures both.",
     EBB_MEMBER(bool, cuda.hopper)},

    {"kv.dtype",
     "The type of stored keys and values. `auto` is f16 on the CPU and bf16 on a CUDA device, "
     "which "
     "knows no other.",
     EBB_ENUM(kv.dtype, kKvDtypeNames)},
    {"kv.block_tokens",
     "Tokens in one block, a power of two. 0: chosen by the server, see docs/ARCHITECTURE.md.",
     EBB_MEMBER(int32_t, kv.block_tokens), 0, 1024},

    {"memory.limit_bytes",
     "KV pages and workspaces held, at most. `ebb memory --set-limit` changes it at run time.",
     EBB_MEMBER(int64_t, memory.limit_bytes), 1, kBytesMax},
    {"memory.ceiling_bytes",
     "Address range reserved at the start, which costs next to no memory; the limit never rises "
     "above it.",
     EBB_MEMBER(int64_t, memory.ceiling_bytes), 1, kBytesMax},
    {"memory.headroom_bytes",
     "Free memory left to others: growth stops before what the system or the cgroup still allows "
     "falls below it.",
     EBB_MEMBER(int64_t, memory.headroom_bytes), 0, kBytesMax},
    {"memory.keep_bytes",
     "KV pages up to so many bytes are mapped at the start and stay mapped, idle or not; only a "
     "lowered limit or another server's claim takes them. As much as the limit, and the pool is "
     "static, but for the room that the workspaces may need.",
     EBB_MEMBER(int64_t, memory.keep_bytes), 0, kBytesMax},
    {"memory.idle_ms",
     "With nothing running for this long, every KV page is given back that is neither kept "
     "nor holds what `prefix_cache` keeps.",
     EBB_MEMBER(absl::Duration, memory.idle), 1, kDayMs},
    {"memory.slack_pages", "Pages granted to a window beyond its predicted demand.",
     EBB_MEMBER(int32_t, memory.slack_pages), 0, 4096},
    {"memory.prepared_pages",
     "Pages made ready ahead of a window's boundary, so that growth does not wait; they count as "
     "held.",
     EBB_MEMBER(int32_t, memory.prepared_pages), 0, 4096},
    {"memory.shrink_windows",
     "Shrinking goes no lower than the largest demand of so many last windows.",
     EBB_MEMBER(int32_t, memory.shrink_windows), 1, 4096},
    {"memory.shrink_after_ms",
     "Pages beyond that are kept this long before the first is given back.",
     EBB_MEMBER(absl::Duration, memory.shrink_after), 0, kDayMs},
    {"memory.shrink_pages_max", "Pages given back at a time, at most, while requests run.",
     EBB_MEMBER(int32_t, memory.shrink_pages_max), 1, kInt32Max},
    {"memory.compact_above_percent",
     "Blocks of running requests are moved together, so that pages can be given back, when more "
     "than so many percent of the pages that they would fill are mapped; 0: never. Over the limit, "
     "always.",
     EBB_MEMBER(int32_t, memory.compact_above_percent), 0, 100000},
    {"memory.compact_bytes_max", "Bytes that are moved in one window of a queue, at most.",
     EBB_MEMBER(int64_t, memory.compact_bytes_max), 0, kBytesMax},
    {"memory.swap_bytes_max",
     "Keys and values of preempted requests that are kept elsewhere, at most, where copying them "
     "out and back is predicted to take less time than computing them again: on CUDA in pinned "
     "host memory, which counts as the server's own, on the CPU in a file. Taken as needed, given "
     "back after memory.idle_ms. 0: they are always computed again.",
     EBB_MEMBER(int64_t, memory.swap_bytes_max), 0, kBytesMax},
    {"memory.swap_directory",
     "Where the CPU's swap file lies, without a name: on a disk, since in memory it saves nothing.",
     EBB_MEMBER(std::string, memory.swap_directory), 1, kPathBytesMax},
    {"memory.static_estimator",
     "How a window's static demand is estimated: from token counts, or from what the accounts "
     "show.",
     EBB_ENUM(memory.static_estimator, kStaticEstimatorNames)},

    {"prefix_cache.enabled",
     "Find beginnings of prompts that were computed before, and do not compute them again. "
     "Requests of one API key share them; those of different keys, or with different "
     "`cache_salt`, never do.",
     EBB_MEMBER(bool, prefix_cache.enabled)},
    {"prefix_cache.idle_ms",
     "What no request uses is given up so long after its last use, and so much later each time "
     "the number of its uses doubles. It is never kept from requests that need the memory.",
     EBB_MEMBER(absl::Duration, prefix_cache.idle), 0, kDayMs},
    {"prefix_cache.floor_bytes",
     "Of what no request uses, so much is kept however long nobody asks for it.",
     EBB_MEMBER(int64_t, prefix_cache.floor_bytes), 0, kBytesMax},
    {"prefix_cache.ahead_ms",
     "Of waiting requests whose turns come within this time, those start first of which most is "
     "there; 0: all in their order.",
     EBB_MEMBER(absl::Duration, prefix_cache.ahead), 0, kDayMs},

    {"sharing.enabled",
     "Take part in the device's ledger. Alone on it, a server notices nothing; without a usable "
     "ledger it keeps to its own limit, and a `sharing_off` line says why.",
     EBB_MEMBER(bool, sharing.enabled)},
    {"sharing.path",
     "The directory of the ledgers, one file for each device. Servers share when they see the same "
     "directory: containers need it as a volume. Whoever may write there is trusted.",
     EBB_MEMBER(std::string, sharing.path), 1, kPathBytesMax},
    {"sharing.capacity_bytes",
     "KV pages and workspaces of all servers together, at most; the smallest that any of them sets "
     "counts. 0: all that the device can give beyond `memory.headroom_bytes`.",
     EBB_MEMBER(int64_t, sharing.capacity_bytes), 0, kBytesMax},
    {"sharing.floor_bytes",
     "This server gets so much when it needs it, before weights count: at least what its largest "
     "request needs, if that must never wait for other servers.",
     EBB_MEMBER(int64_t, sharing.floor_bytes), 0, kBytesMax},
    {"sharing.weight", "Its part of the rest, against the weights of the others that need memory.",
     EBB_MEMBER(int32_t, sharing.weight), 1, 1000000},
    {"sharing.grace_ms",
     "When others lack what is theirs by weight, running requests go on above this server's share "
     "for so long before they are preempted; 0: at once, which computes more twice. What others "
     "lack of their floors they get at once.",
     EBB_MEMBER(absl::Duration, sharing.grace), 0, kDayMs},

    {"prefill_window.min_ms", "The shortest window.",
     EBB_MEMBER(absl::Duration, prefill_window.min), 1, kDayMs},
    {"prefill_window.max_ms",
     "The longest window; between the two it lasts as long as the prompts being prefilled are "
     "predicted to need.",
     EBB_MEMBER(absl::Duration, prefill_window.max), 1, kDayMs},

    {"decode_window.steps", "Decode steps in one window.", EBB_MEMBER(int32_t, decode_window.steps),
     1, 65536},
    {"decode_window.min_ms",
     "A window that closes before its steps are done, since somebody waits for its boundary, does "
     "not close earlier than this.",
     EBB_MEMBER(absl::Duration, decode_window.min), 1, kDayMs},
    {"decode_window.max_ms",
     "The longest window: it closes then, however few of its steps are done.",
     EBB_MEMBER(absl::Duration, decode_window.max), 1, kDayMs},

    {"scheduler.queues",
     "`separate`: prefill and decode each have a queue with windows, a loop and steps of its own, "
     "side by side. `one`: all requests execute in one queue, and a step takes prompts beside the "
     "tokens that it makes; its windows are those of `decode_window`, and `prefill_window` does "
     "not "
     "count. The answers are the same; docs/performance.md says when to choose which.",
     EBB_ENUM(scheduler.queues, kQueuesNames)},
    {"scheduler.queue_requests_max",
     "Requests that wait to start, at most; the next one is refused with RESOURCE_EXHAUSTED.",
     EBB_MEMBER(int32_t, scheduler.queue_requests_max), 1, 1000000},
    {"scheduler.queue_prompt_tokens_max",
     "Prompt tokens of all requests that wait to start, at most; one that would make it more is "
     "refused with RESOURCE_EXHAUSTED. It bounds the time to a first token. 0: no bound.",
     EBB_MEMBER(int32_t, scheduler.queue_prompt_tokens_max), 0, 1000000000},
    {"scheduler.running_sequences_max", "Sequences that hold KV memory, at most.",
     EBB_MEMBER(int32_t, scheduler.running_sequences_max), 1, 65536},
    {"scheduler.chunk_tokens_max", "Prompt tokens in one step, at most.",
     EBB_MEMBER(int32_t, scheduler.chunk_tokens_max), 1, 65536},
    {"scheduler.logits_rows_max",
     "Rows of logits that one step computes for prompt log-probabilities, at most; a row "
     "is as large as the vocabulary, so prompts that ask for them go in smaller chunks.",
     EBB_MEMBER(int32_t, scheduler.logits_rows_max), 1, 65536},
    {"scheduler.max_gap_ms",
     "While prompts are prefilled, the gap between two tokens of a running answer is kept under "
     "this.",
     EBB_MEMBER(absl::Duration, scheduler.max_gap), 1, kDayMs},
    {"scheduler.ageing_ms", "A waiting request rises one priority level each time this passes.",
     EBB_MEMBER(absl::Duration, scheduler.ageing), 1, kDayMs},
    {"scheduler.resume_immunity_tokens",
     "A preempted sequence makes so many new tokens before it can be preempted again.",
     EBB_MEMBER(int32_t, scheduler.resume_immunity_tokens), 0, 1000000},
    {"scheduler.growth_prior_tokens",
     "A request is expected to make this many tokens, or its max_tokens if that is less, until the "
     "lengths of answers are known.",
     EBB_MEMBER(int32_t, scheduler.growth_prior_tokens), 1, 1000000},
    {"scheduler.growth_deviations_percent",
     "Requests start when what will be held is likely to fit: its mean and so many hundredths of "
     "its "
     "standard deviation. More: fewer preemptions, and fewer at once.",
     EBB_MEMBER(int32_t, scheduler.growth_deviations_percent), 0, 1000},
    {"scheduler.lengths_file",
     "A file that keeps what was learned of the lengths of answers over restarts: read at the "
     "start, written every five minutes and at the end. Only this server writes it. Empty: a new "
     "process begins with `growth_prior_tokens`.",
     EBB_MEMBER(std::string, scheduler.lengths_file), 0, kPathBytesMax},

    {"requests.max_tokens_default", "max_tokens of a request that does not set it.",
     EBB_MEMBER(int32_t, requests.max_tokens_default), 1, kInt32Max},
    {"requests.logprobs_max", "Alternatives in logprobs and prompt_logprobs.",
     EBB_MEMBER(int32_t, requests.logprobs_max), 0, 1000},
    {"requests.stop_strings_max", "Stop strings.", EBB_MEMBER(int32_t, requests.stop_strings_max),
     0, 1000},
    {"requests.stop_string_bytes_max", "Bytes of one stop string.",
     EBB_MEMBER(int32_t, requests.stop_string_bytes_max), 1, 65536},
    {"requests.stop_token_ids_max", "Stop token ids.",
     EBB_MEMBER(int32_t, requests.stop_token_ids_max), 0, 65536},

    {"quotas.requests_per_minute",
     "Requests that begin in a minute, all of them at once or evenly. 0: any number.",
     EBB_MEMBER(int64_t, quotas.requests_per_minute), 0, 1'000'000'000},
    {"quotas.tokens_per_minute",
     "Tokens of prompts and answers in a minute. A request is taken while any are left, and may "
     "use more, for which those after it wait. 0: any number.",
     EBB_MEMBER(int64_t, quotas.tokens_per_minute), 0, 1'000'000'000},
    {"quotas.concurrent_requests", "Requests that wait, run or are being answered. 0: any number.",
     EBB_MEMBER(int32_t, quotas.concurrent_requests), 0, 65536},

    {"log.windows", "One line for each window.", EBB_MEMBER(bool, log.windows)},
    {"log.requests",
     "A line for each finished request; `false`: only for those that ended with an error.",
     EBB_MEMBER(bool, log.requests)},
    {"log.queue_lines_max",
     "Lines that wait to be written, at most; more are dropped, and the number of them is logged.",
     EBB_MEMBER(int32_t, log.queue_lines_max), 1, 1000000},
    {"log.stats_ms",
     "One `stats` line this often, unless nothing was done since the last. 0: none.",
     EBB_MEMBER(absl::Duration, log.stats), 0, kDayMs},

    {"metrics.vllm_aliases",
     "Also give metrics the names that vLLM gives them, for gateways and benchmarks that read "
     "those.",
     EBB_MEMBER(bool, metrics.vllm_aliases)},
};

#undef EBB_MEMBER
#undef EBB_ENUM

// The range of a number with its unit, for messages.
std::string DescribeRange(const Setting& setting) {
  return absl::StrCat(setting.min, " to ", setting.max);
}

bool HasControlCharacter(absl::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

bool IsUtf8(const std::string& text) {
  try {
    nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

}  // namespace

absl::Span<const Setting> AllSettings() { return kSettings; }
absl::Span<const Section> AllSections() { return kSections; }

const Setting* FindSetting(absl::string_view key) {
  for (const Setting& setting : kSettings) {
    if (setting.key == key) return &setting;
  }
  return nullptr;
}

const Section* FindSection(absl::string_view name) {
  for (const Section& section : kSections) {
    if (section.name == name) return &section;
  }
  return nullptr;
}

std::string DescribeValues(const Setting& setting) {
  struct Visitor {
    const Setting& setting;
    std::string operator()(Member<bool>) const { return "true or false"; }
    std::string operator()(Member<int32_t>) const { return Whole(); }
    std::string operator()(Member<int64_t>) const { return Whole(); }
    std::string operator()(Member<absl::Duration>) const { return Whole(); }
    std::string operator()(Member<std::string>) const {
      return absl::StrCat("a string of ", DescribeRange(setting), " bytes");
    }
    std::string operator()(const EnumMember& member) const {
      return absl::StrCat("one of ", absl::StrJoin(member.names, ", "));
    }
    std::string Whole() const { return absl::StrCat("a whole number, ", DescribeRange(setting)); }
  };
  return std::visit(Visitor{setting}, setting.member);
}

std::string ValueText(const Setting& setting, const ServerConfig& config) {
  ServerConfig copy = config;  // Members give references for writing.
  struct Visitor {
    ServerConfig& c;
    std::string operator()(Member<bool> m) const { return m(c) ? "true" : "false"; }
    std::string operator()(Member<int32_t> m) const { return absl::StrCat(m(c)); }
    std::string operator()(Member<int64_t> m) const { return absl::StrCat(m(c)); }
    std::string operator()(Member<absl::Duration> m) const {
      return absl::StrCat(absl::ToInt64Milliseconds(m(c)));
    }
    std::string operator()(Member<std::string> m) const { return m(c); }
    std::string operator()(const EnumMember& m) const {
      const int index = m.get(c);
      CHECK(index >= 0 && index < static_cast<int>(m.names.size()));
      return std::string(m.names[static_cast<size_t>(index)]);
    }
  };
  return std::visit(Visitor{copy}, setting.member);
}

std::string RangeProblem(const Setting& setting, const ServerConfig& config) {
  ServerConfig copy = config;
  struct Visitor {
    const Setting& setting;
    ServerConfig& c;
    std::string operator()(Member<bool>) const { return ""; }
    std::string operator()(Member<int32_t> m) const { return Check(m(c)); }
    std::string operator()(Member<int64_t> m) const { return Check(m(c)); }
    std::string operator()(Member<absl::Duration> m) const {
      return Check(absl::ToInt64Milliseconds(m(c)));
    }
    std::string operator()(Member<std::string> m) const {
      const std::string& text = m(c);
      if (HasControlCharacter(text)) return "holds a control character; remove it";
      if (!IsUtf8(text)) return "is not UTF-8, which JSON cannot hold";
      const auto size = static_cast<int64_t>(text.size());
      if (size >= setting.min && size <= setting.max) return "";
      return absl::StrCat("is ", size, " bytes long; must be ", DescribeRange(setting));
    }
    std::string operator()(const EnumMember&) const { return ""; }
    std::string Check(int64_t value) const {
      if (value >= setting.min && value <= setting.max) return "";
      return absl::StrCat(value, " is out of range; must be ", DescribeRange(setting));
    }
  };
  return std::visit(Visitor{setting, copy}, setting.member);
}

}  // namespace ebb::config

// Every command against a server in this process.
#include "cli/command.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cli/dead_port.h"
#include "tests/cli/fake_server.h"

namespace ebb::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class CommandTest : public ::testing::Test {
 protected:
  // Runs `ebb --address SERVER words...`.
  ExitCode RunEbb(std::vector<std::string> words) {
    words.insert(words.begin(), {"--address", server_.address()});
    return RunBare(words);
  }
  ExitCode RunBare(const std::vector<std::string>& words) {
    std::istringstream in(input_);
    std::ostringstream out, err;
    Terminal terminal{&in, &out, &err, interactive_, &interrupt_};
    const ExitCode code = cli::Run(words, &terminal);
    out_ = out.str();
    err_ = err.str();
    return code;
  }
  static std::string WriteFile(const std::string& name, const std::string& text) {
    const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  FakeServer server_;
  Interrupt interrupt_;
  std::string input_;
  bool interactive_ = false;
  std::string out_, err_;
};

TEST_F(CommandTest, ControlMayBeElsewhere) {
  const DeadPort nobody;
  EXPECT_EQ(
      RunBare({"--address", nobody.address(), "--control-address", server_.address(), "memory"}),
      ExitCode::kOk)
      << err_;
  EXPECT_EQ(RunEbb({"--control-address", nobody.address(), "memory"}), ExitCode::kUnreachable);
  EXPECT_EQ(RunEbb({"--control-address", "nowhere", "memory"}), ExitCode::kUsage);
  EXPECT_THAT(err_, HasSubstr("ebb: --control-address: must be ADDR:PORT"));
  EXPECT_EQ(RunEbb({"--control-address", "unix:/no/such/socket", "memory"}),
            ExitCode::kUnreachable);
}

TEST_F(CommandTest, TlsOptionsAreChecked) {
  const std::string file = WriteFile("authority.pem", "none");
  EXPECT_EQ(RunEbb({"--tls-certificate", file, "health"}), ExitCode::kUsage);
  EXPECT_THAT(err_, HasSubstr("--tls-certificate and --tls-key: give both, or neither"));
  EXPECT_EQ(RunEbb({"health", "--tls-certificate", file, "--tls-key", file}), ExitCode::kUsage);
  EXPECT_THAT(err_, HasSubstr("give --tls-ca too"));
  EXPECT_EQ(RunEbb({"--tls-ca", file + ".none", "health"}), ExitCode::kUsage);
  EXPECT_THAT(err_, HasSubstr(file + ".none"));
  // With one, nothing is said to a server without TLS.
  EXPECT_EQ(RunEbb({"--tls-ca", file, "health"}), ExitCode::kUnreachable);
}

TEST_F(CommandTest, GenerateStreamsText) {
  EXPECT_EQ(RunEbb({"generate", "--prompt", "Once"}), ExitCode::kOk);
  EXPECT_EQ(out_, "H\u00e9llo\n");
  EXPECT_EQ(err_, "");
  const v1::GenerateRequest request = server_.last_request();
  EXPECT_EQ(request.text(), "Once");
  // What was not given stays unset.
  EXPECT_FALSE(request.sampling().has_temperature());
  EXPECT_FALSE(request.stopping().has_max_tokens());
  EXPECT_FALSE(request.output().has_logprobs());
}

TEST_F(CommandTest, GenerateSendsEveryOption) {
  EXPECT_EQ(RunEbb({"generate",
                    "--prompt",
                    "x",
                    "--max-tokens",
                    "5",
                    "--min-tokens",
                    "2",
                    "--temperature",
                    "0",
                    "--top-p",
                    "0.5",
                    "--top-k",
                    "40",
                    "--min-p",
                    "0.1",
                    "--seed",
                    "18446744073709551615",
                    "--repetition-penalty",
                    "1.5",
                    "--presence-penalty",
                    "-0.5",
                    "--frequency-penalty",
                    "0.25",
                    "--logit-bias",
                    "7=-100",
                    "--logit-bias",
                    "8=2.5",
                    "--bad-word",
                    "no",
                    "--bad-word",
                    "never",
                    "--echo",
                    "--stop",
                    "a",
                    "--stop",
                    "b",
                    "--stop-id",
                    "7",
                    "--ignore-eos",
                    "--logprobs",
                    "2",
                    "--prompt-logprobs",
                    "0",
                    "--priority",
                    "-3",
                    "--request-id",
                    "me",
                    "--special",
                    "--json",
                    "--timeout-seconds",
                    "100"}),
            ExitCode::kOk)
      << err_;
  const v1::GenerateRequest request = server_.last_request();
  EXPECT_EQ(request.stopping().max_tokens(), 5);
  EXPECT_EQ(request.stopping().min_tokens(), 2);
  EXPECT_TRUE(request.sampling().has_temperature());
  EXPECT_EQ(request.sampling().temperature(), 0);
  EXPECT_EQ(request.sampling().top_p(), 0.5);
  EXPECT_EQ(request.sampling().top_k(), 40);
  EXPECT_EQ(request.sampling().min_p(), 0.1);
  EXPECT_EQ(request.sampling().seed(), UINT64_MAX);
  EXPECT_EQ(request.sampling().repetition_penalty(), 1.5);
  EXPECT_EQ(request.sampling().presence_penalty(), -0.5);
  EXPECT_EQ(request.sampling().frequency_penalty(), 0.25);
  EXPECT_EQ(request.sampling().logit_bias_size(), 2);
  EXPECT_EQ(request.sampling().logit_bias().at(7), -100);
  EXPECT_EQ(request.sampling().logit_bias().at(8), 2.5);
  EXPECT_THAT(request.sampling().bad_words(), ::testing::ElementsAre("no", "never"));
  EXPECT_TRUE(request.output().echo());
  EXPECT_THAT(request.stopping().stop(), ::testing::ElementsAre("a", "b"));
  EXPECT_THAT(request.stopping().stop_token_ids(), ::testing::ElementsAre(7));
  EXPECT_TRUE(request.stopping().ignore_eos());
  EXPECT_EQ(request.output().logprobs(), 2);
  EXPECT_TRUE(request.output().has_prompt_logprobs());
  EXPECT_EQ(request.output().prompt_logprobs(), 0);
  EXPECT_TRUE(request.output().return_token_ids());
  EXPECT_TRUE(request.output().return_prompt_token_ids());
  EXPECT_EQ(request.priority(), -3);
  EXPECT_EQ(request.request_id(), "me");
  EXPECT_TRUE(request.parse_special());
}

TEST_F(CommandTest, LogitBiasesAreTokensWithNumbers) {
  for (const char* bias : {"7", "=1", "7=", "x=1", "7=x", "7=1=2"}) {
    EXPECT_EQ(RunEbb({"generate", "--prompt", "x", "--logit-bias", bias}), ExitCode::kUsage);
    EXPECT_THAT(err_, ::testing::HasSubstr("--logit-bias: must be a token id, =, and a number"));
  }
  EXPECT_EQ(RunEbb({"chat", "--logit-bias", "7=1", "--logit-bias", "7=2", "hi"}), ExitCode::kUsage);
  EXPECT_THAT(err_, ::testing::HasSubstr("token 7 is given twice"));
}

TEST_F(CommandTest, GenerateJsonIsOneObject) {
  EXPECT_EQ(RunEbb({"generate", "--prompt", "x", "--json"}), ExitCode::kOk);
  EXPECT_EQ(json::parse(out_), json::parse(R"({
    "request_id": "r1", "text": "Héllo", "token_ids": [11, 12], "prompt_token_ids": [1, 2, 3],
    "finish_reason": "stop", "stop_token_id": 2,
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 0, "preemptions": 0},
    "timings": {"queue_seconds": 0.25, "first_token_seconds": 0.5, "total_seconds": 1.0}})"));
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 1);
}

TEST_F(CommandTest, GenerateJsonHasLogprobsWhenAsked) {
  EXPECT_EQ(
      RunEbb({"generate", "--prompt", "x", "--json", "--logprobs", "1", "--prompt-logprobs", "0"}),
      ExitCode::kOk);
  json answer = json::parse(out_);
  EXPECT_EQ(answer["logprobs"], json::parse("[-0.5, -0.5]"));
  EXPECT_EQ(answer["top_logprobs"], json::parse(R"([[{"token_id": 12, "logprob": -0.25}],
                                                    [{"token_id": 13, "logprob": -0.25}]])"));
  EXPECT_EQ(answer["prompt_logprobs"], json::parse("[-1.5, -1.5]"));
  EXPECT_FALSE(answer.contains("prompt_top_logprobs"));

  EXPECT_EQ(RunEbb({"generate", "--prompt", "x", "--json", "--prompt-logprobs", "1"}),
            ExitCode::kOk);
  answer = json::parse(out_);
  EXPECT_FALSE(answer.contains("logprobs"));
  EXPECT_EQ(answer["prompt_top_logprobs"][0][0]["token_id"], 3);
}

TEST_F(CommandTest, GenerateReadsThePromptFromFiles) {
  EXPECT_EQ(RunEbb({"generate", "--prompt-file", WriteFile("prompt", "two\nlines\n")}),
            ExitCode::kOk);
  EXPECT_EQ(server_.last_request().text(), "two\nlines\n");
  EXPECT_EQ(RunEbb({"generate", "--max-tokens=1", "--prompt-ids", WriteFile("ids", "[5, 6]")}),
            ExitCode::kOk);
  EXPECT_THAT(server_.last_request().token_ids().ids(), ::testing::ElementsAre(5, 6));
  input_ = "from a pipe";
  EXPECT_EQ(RunEbb({"generate", "--prompt-file", "-"}), ExitCode::kOk);
  EXPECT_EQ(server_.last_request().text(), "from a pipe");
}

TEST_F(CommandTest, MistakesOnTheCommandLineExitWithTwo) {
  const struct {
    std::vector<std::string> words;
    const char* error;
  } cases[] = {
      {{"generate"}, "give one of --prompt TEXT, --prompt-file FILE and --prompt-ids FILE"},
      {{"generate", "--prompt", "a", "--prompt-file", "b"}, "give one of --prompt TEXT"},
      {{"generate", "--prompt", "a", "b"}, "unexpected word: b; the prompt goes after --prompt"},
      {{"generate", "--prompt", "\xff"}, "--prompt: byte 0 (0xff) is not UTF-8"},
      {{"generate", "--prompt", "a", "--stop", "\xff"}, "--stop: byte 0 (0xff) is not UTF-8"},
      {{"generate", "--prompt", "a", "--stop-id", "x"}, "--stop-id: must be a whole number; not x"},
      {{"generate", "--prompt", "a", "--logprobs", "1"}, "only printed with --json; add it"},
      {{"generate", "--prompt", "a", "--timeout-seconds", "nan"}, "--timeout-seconds: must be"},
      {{"generate", "--prompt-file", "no/such"}, "no/such: cannot be opened"},
      {{"tokenize"}, "give either --file FILE or the text"},
      {{"tokenize", "--file", "f", "text"}, "give either --file FILE or the text"},
      {{"detokenize", "x"}, "x: is not a token id"},
      {{"memory", "--set-limit", "5XB"}, "--set-limit: must be a number of bytes"},
      {{"memory", "--set-limit", "9223372036854775807KiB"}, "--set-limit: must be a number of"},
      {{"memory", "--set-limit", "5", "--deadline-ms", "x"}, "--deadline-ms: must be a whole"},
      {{"memory", "--set-limit", "5", "--revision", "-1"}, "--revision: must be"},
      {{"memory", "--force"}, "--force: needs --set-limit"},
      {{"health", "--wait-seconds", "-1"}, "--wait-seconds: must be 0 to 86400"},
      {{"health", "--timeout-seconds", "0"}, "--timeout-seconds: must be above 0"},
      {{"bench"}, "give one of --rate R, --square LOW:HIGH:PERIOD and --trace FILE"},
      {{"bench", "--rate", "0"}, "--rate: must be 0.001 to 1e+06; not 0"},
      {{"bench", "--rate", "1", "--trace-speed", "2"}, "--trace-speed: needs --trace"},
      {{"bench", "--rate", "1000000", "--duration-seconds", "1000"}, "has more than 1000000"},
      {{"generte"}, "generte: unknown command; did you mean generate?"},
      {{"quite-different"}, "quite-different: unknown command; ebb --help lists them"},
      {{"memory", "--jsn"}, "--jsn: unknown option; did you mean --json?"},
  };
  for (const auto& bad : cases) {
    EXPECT_EQ(RunEbb(bad.words), ExitCode::kUsage) << bad.error;
    EXPECT_THAT(err_, HasSubstr(bad.error));
    EXPECT_EQ(out_, "");
  }
}

TEST_F(CommandTest, TheServersRefusalIsToldInItsOwnWords) {
  EXPECT_EQ(RunEbb({"generate", "--prompt", "refuse"}), ExitCode::kFailed);
  EXPECT_EQ(err_, "ebb: RESOURCE_EXHAUSTED: the queue is full\n");
  EXPECT_EQ(out_, "");
  EXPECT_EQ(RunEbb({"generate", "--prompt", "refuse", "--json"}), ExitCode::kFailed);
  EXPECT_EQ(err_, "ebb: RESOURCE_EXHAUSTED: the queue is full\n");
  EXPECT_EQ(out_, "");
  EXPECT_EQ(RunEbb({"generate", "--prompt", "break"}), ExitCode::kFailed);
  EXPECT_EQ(out_, "H\u00e9\n");  // What came is shown.
  EXPECT_EQ(err_, "ebb: INTERNAL: it broke\n");
}

TEST_F(CommandTest, AServerThatIsNotThereSaysHowToStartOne) {
  const DeadPort port;
  EXPECT_EQ(RunBare({"generate", "--address", port.address(), "--prompt", "x"}),
            ExitCode::kUnreachable);
  EXPECT_THAT(err_, HasSubstr("ebb: no server answers at " + port.address()));
  EXPECT_THAT(err_, HasSubstr("start one with ./run, or name another with --address ADDR:PORT"));
  EXPECT_EQ(RunBare({"--address=" + port.address(), "health", "--wait-seconds", "0.01"}),
            ExitCode::kUnreachable);
}

TEST_F(CommandTest, AnAddressIsAHostAndAPort) {
  // gRPC would take 115587 for the port 50051.
  for (const char* bad :
       {"", "somewhere", "127.0.0.1", "127.0.0.1:", ":50051", "127.0.0.1:0", "127.0.0.1:115587",
        "127.0.0.1:-1", "127.0.0.1:5x", "::1:50051", "[]:1", "unix:", "dns:///a:1", "a b:1"}) {
    EXPECT_EQ(RunBare({"health", "--address", bad}), ExitCode::kUsage) << bad;
    EXPECT_THAT(err_, HasSubstr("ebb: --address: must be ADDR:PORT with a port from 1 to 65535"));
  }
  for (const char* good : {"127.0.0.1:1", "[::1]:65535", "localhost:50051", "ebb-0.example:443",
                           "unix:/run/ebb.sock"}) {
    EXPECT_TRUE(CheckAddress("address", good).ok()) << good;
  }
}

// A server whose connections are taken by the system, and never by anybody else.
TEST_F(CommandTest, HealthDoesNotHangWithTheServer) {
  const int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where = {};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(where);
  ASSERT_EQ(bind(silent, reinterpret_cast<sockaddr*>(&where), size), 0);
  ASSERT_EQ(listen(silent, 8), 0);
  ASSERT_EQ(getsockname(silent, reinterpret_cast<sockaddr*>(&where), &size), 0);
  const std::string address = "127.0.0.1:" + std::to_string(ntohs(where.sin_port));
  EXPECT_EQ(RunBare({"health", "--address", address, "--timeout-seconds", "0.1"}),
            ExitCode::kFailed);
  EXPECT_THAT(err_, HasSubstr("ebb: DEADLINE_EXCEEDED"));
  close(silent);
}

TEST_F(CommandTest, DeadlineEndsTheCall) {
  EXPECT_EQ(RunEbb({"generate", "--prompt", "forever", "--timeout-seconds", "0.05"}),
            ExitCode::kFailed);
  EXPECT_THAT(err_, HasSubstr("ebb: DEADLINE_EXCEEDED"));
  server_.AwaitCancelled();
}

TEST_F(CommandTest, InterruptCancelsOnTheServer) {
  for (const bool as_json : {false, true}) {
    FakeServer server;
    Interrupt interrupt;
    std::istringstream in;
    std::ostringstream out, err;
    Terminal terminal{&in, &out, &err, false, &interrupt};
    std::vector<std::string> words = {"--address", server.address(), "generate", "--prompt",
                                      "forever"};
    if (as_json) words.push_back("--json");
    std::thread presser([&] {
      server.AwaitStarted();
      EXPECT_TRUE(interrupt.Trigger());
    });
    EXPECT_EQ(cli::Run(words, &terminal), ExitCode::kInterrupted);
    presser.join();
    server.AwaitCancelled();
    EXPECT_EQ(err.str(), "ebb: interrupted; cancelled on the server\n");
    EXPECT_FALSE(interrupt.Trigger());
  }
}

TEST_F(CommandTest, ChatSendsMessages) {
  EXPECT_EQ(RunEbb({"chat", "--system", "Be brief.", "--max-tokens", "9", "Hello", "there"}),
            ExitCode::kOk);
  EXPECT_EQ(out_, "H\u00e9llo\n");
  v1::Chat chat = server_.last_request().chat();
  ASSERT_EQ(chat.messages_size(), 2);
  EXPECT_EQ(chat.messages(0).role(), "system");
  EXPECT_EQ(chat.messages(0).content(), "Be brief.");
  EXPECT_EQ(chat.messages(1).role(), "user");
  EXPECT_EQ(chat.messages(1).content(), "Hello there");

  input_ = "piped\ntext\n";
  EXPECT_EQ(RunEbb({"chat", "--json"}), ExitCode::kOk);
  EXPECT_EQ(json::parse(out_)["text"], "H\u00e9llo");
  EXPECT_EQ(server_.last_request().chat().messages(0).content(), "piped\ntext");
}

TEST_F(CommandTest, ChatAtATerminalKeepsTheConversation) {
  interactive_ = true;
  input_ = "first\n\nsecond\n";
  EXPECT_EQ(RunEbb({"chat"}), ExitCode::kOk);
  EXPECT_EQ(out_, "H\u00e9llo\nH\u00e9llo\n");
  const v1::Chat chat = server_.last_request().chat();
  ASSERT_EQ(chat.messages_size(), 3);
  EXPECT_EQ(chat.messages(1).role(), "assistant");
  EXPECT_EQ(chat.messages(1).content(), "H\u00e9llo");
  EXPECT_EQ(chat.messages(2).content(), "second");
}

TEST_F(CommandTest, TokenizeAndDetokenize) {
  const std::string path = WriteFile("text", "ab\n");
  EXPECT_EQ(RunEbb({"tokenize", "--file", path, "--json"}), ExitCode::kOk);
  EXPECT_EQ(out_, "{\"token_ids\":[97,98,10]}\n");
  EXPECT_FALSE(server_.last_tokenize().parse_special());
  EXPECT_EQ(RunEbb({"tokenize", "--special", "a", "b"}), ExitCode::kOk);
  EXPECT_EQ(out_, "97 32 98\n");
  EXPECT_TRUE(server_.last_tokenize().parse_special());
  EXPECT_EQ(RunEbb({"tokenize", "--file", WriteFile("empty", ""), "--json"}), ExitCode::kOk);
  EXPECT_EQ(out_, "{\"token_ids\":[]}\n");

  EXPECT_EQ(RunEbb({"detokenize", "97", "98"}), ExitCode::kOk);
  EXPECT_EQ(out_, "ab\n");
  EXPECT_EQ(RunEbb({"detokenize", "--special", "--json", "--ids-file", WriteFile("i", "[99]")}),
            ExitCode::kOk);
  EXPECT_EQ(out_, "{\"text\":\"c<end>\"}\n");
}

TEST_F(CommandTest, MemoryShowsAndSets) {
  EXPECT_EQ(RunEbb({"memory", "--json"}), ExitCode::kOk);
  EXPECT_EQ(json::parse(out_), json::parse(R"({"held_bytes": 6291456, "needed_bytes": 3145728,
      "cached_bytes": 0, "limit_bytes": 1073741824, "pages_mapped": 1, "page_bytes": 6291456,
      "block_tokens": 16, "moved_bytes_total": 4096, "flips_per_minute": 2,
      "swapped_bytes": 2097152, "swap_limit_bytes": 67108864})"));
  EXPECT_EQ(RunEbb({"memory"}), ExitCode::kOk);
  EXPECT_THAT(out_, HasSubstr("held           6.0 MiB  (1 pages of 6291456 bytes"));
  EXPECT_THAT(out_, HasSubstr("\nswapped        2.0 MiB  (at most      64.0 MiB)\n"));
  EXPECT_EQ(RunEbb({"memory", "--set-limit", "2KiB"}), ExitCode::kOk);
  EXPECT_EQ(
      out_,
      "applied: the limit is 2048 bytes, held are 1000\n"
      "in 0.0 ms: held before 5000 bytes; 4 pages unmapped, 3 sequences preempted, 0 requests "
      "ended\n");
  EXPECT_EQ(RunEbb({"memory", "--set-limit", "400", "--deadline-ms", "101", "--force", "--revision",
                    "8"}),
            ExitCode::kOk);
  EXPECT_EQ(
      out_,
      "deferred: the limit is 400 bytes, but running requests still hold 600 more; the first "
      "needs 700\n"
      "in 50.5 ms: held before 5000 bytes; 4 pages unmapped, 3 sequences preempted, 1 requests "
      "ended\n");
  EXPECT_EQ(RunEbb({"memory", "--set-limit", "2KiB", "--revision", "7"}), ExitCode::kOk);
  EXPECT_EQ(out_,
            "stale: nothing was changed, revision 7 is in force\n"
            "applied: the limit is 2048 bytes, held are 1000\n");
  EXPECT_EQ(RunEbb({"memory", "--set-limit", "400", "--json"}), ExitCode::kOk);
  EXPECT_EQ(json::parse(out_), json::parse(R"({"outcome": "deferred", "limit_bytes": 400,
      "held_bytes": 1000, "deferred_bytes": 600, "stale": false, "revision": 7,
      "first_needs_bytes": 700, "preempted_sequences": 3, "ended_requests": 0, "pages_unmapped": 4,
      "held_before_bytes": 5000, "took_ms": 0.0})"));
}

TEST_F(CommandTest, HealthIsAlsoTheExitCode) {
  EXPECT_EQ(RunEbb({"health"}), ExitCode::kOk);
  EXPECT_EQ(out_, "SERVING\n");
  server_.SetServing(false);
  EXPECT_EQ(RunEbb({"health", "--json", "--wait-seconds", "5"}), ExitCode::kFailed);
  EXPECT_EQ(out_, "{\"status\":\"NOT_SERVING\"}\n");
}

TEST_F(CommandTest, HelpForEachCommand) {
  EXPECT_EQ(RunBare({"--help"}), ExitCode::kOk);
  for (const Command& command : AllCommands()) {
    EXPECT_THAT(out_, HasSubstr(std::string(command.name)));
  }
  for (const Command& command : AllCommands()) {
    const ExitCode code = RunBare({std::string(command.name), "--help"});
    EXPECT_EQ(code, ExitCode::kOk) << command.name;
    for (const Option& option : command.options) {
      EXPECT_THAT(out_, HasSubstr("--" + std::string(option.name)));
    }
  }
  EXPECT_EQ(RunBare({}), ExitCode::kUsage);
  EXPECT_THAT(err_, HasSubstr("Usage: ebb"));
}

TEST_F(CommandTest, BenchMeasuresAndReports) {
  EXPECT_EQ(RunEbb({"bench", "--rate", "200", "--duration-seconds", "0.2", "--prompt-tokens", "3",
                    "--output-tokens", "4", "--seed", "7", "--slo-ttft-ms", "60000",
                    "--memory-interval-ms", "20", "--json"}),
            ExitCode::kOk)
      << err_;
  const json report = json::parse(out_);
  const int64_t scheduled = report["requests"]["scheduled"];
  EXPECT_GT(scheduled, 0);
  EXPECT_EQ(report["requests"]["ok"], scheduled);
  EXPECT_EQ(report["slo"]["good_requests"], scheduled);
  EXPECT_EQ(report["slo"]["tpot_ms"], nullptr);
  EXPECT_EQ(report["ttft_seconds"]["count"], scheduled);
  EXPECT_EQ(report["token_gap_seconds"]["count"], 3 * scheduled);
  EXPECT_EQ(report["seed"], 7);
  EXPECT_GE(report["memory"]["samples"].size(), 1u);
  EXPECT_EQ(report["memory"]["held_over_needed"], 2.0);

  EXPECT_EQ(RunEbb({"bench", "--requests-max", "2", "--trace",
                    WriteFile("trace.csv",
                              "arrival_s,prompt_tokens,output_tokens\n0,1,2\n0.01,1,2"
                              "\n0.02,1,2\n")}),
            ExitCode::kOk);
  EXPECT_THAT(out_, HasSubstr("2 requests in "));
}

}  // namespace
}  // namespace ebb::cli

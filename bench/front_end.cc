// What do the two front ends cost? The same streams sent to the engine itself, over gRPC and over
// HTTP (server-sent events), in one process with one engine, in turn.
//
//   bazel run //bench:front_end -- --model FILE
//       [--streams N] [--tokens N] [--rounds N] [--threads N]
//
// Each round sends --streams requests of 32 prompt tokens at once and takes the time until the last
// of their --tokens tokens each has come. Clients are threads of the same process, so what they
// cost on these processors counts against the front end too. The engine's own rate is taken twice a
// round, at its begin and its end: how far the two lie apart is what the ratios below may be wrong
// by. Goal: at least 0.97 of the engine's own tokens/s.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "bench/number_flags.h"
#include "config/server_config.h"
#include "grpcpp/grpcpp.h"
#include "nlohmann/json.hpp"
#include "proto/ebb.grpc.pb.h"
#include "server/compute.h"
#include "server/drain.h"
#include "server/engine_stack.h"
#include "server/loaded_model.h"
#include "server/serving.h"

namespace ebb::bench {
namespace {

constexpr double kGoal = 0.97;

struct Options {
  std::string model;
  int64_t streams = 32;
  int64_t tokens = 128;
  int64_t rounds = 5;
  int64_t threads = 0;
};

bool Parse(int argc, char** argv, Options* options) {
  const std::pair<const char*, int64_t*> numbers[] = {{"--streams", &options->streams},
                                                      {"--tokens", &options->tokens},
                                                      {"--rounds", &options->rounds},
                                                      {"--threads", &options->threads}};
  return ReadNumberFlags(argc, argv, /*most=*/4096, &options->model, numbers);
}

std::vector<int32_t> Prompt(int64_t stream) {
  base::Rng rng(static_cast<uint64_t>(stream));
  std::vector<int32_t> ids;
  for (int i = 0; i < 32; ++i) ids.push_back(static_cast<int32_t>(rng.Between(1000, 20'000)));
  return ids;
}

// ---- the engine itself

class CountingSink final : public engine::RequestSink {
 public:
  CountingSink(base::Mutex* mutex, base::CondVar* changed, int64_t* unfinished)
      : mutex_(mutex), changed_(changed), unfinished_(unfinished) {}
  void OnPromptLogprobs(std::vector<engine::PromptLogprob>) override {}
  engine::SinkAnswer OnToken(const engine::Token&) override {
    return engine::SinkAnswer::kContinue;
  }
  void OnFinish(const engine::Finish& finish) override {
    CHECK_OK(finish.status);
    base::MutexLock lock(mutex_);
    if (--*unfinished_ == 0) changed_->SignalAll();
  }

 private:
  base::Mutex* const mutex_;
  base::CondVar* const changed_;
  int64_t* const unfinished_;
};

void SendToEngine(engine::Engine* engine, const Options& options) {
  base::Mutex mutex;
  base::CondVar changed;
  int64_t unfinished = options.streams;
  for (int64_t i = 0; i < options.streams; ++i) {
    engine::Request request;
    request.prompt = Prompt(i);
    request.sampling.temperature = 0;
    request.stopping.max_tokens = static_cast<int32_t>(options.tokens);
    request.stopping.ignore_eos = true;
    CHECK_OK(engine
                 ->Submit(std::move(request),
                          std::make_shared<CountingSink>(&mutex, &changed, &unfinished))
                 .status());
  }
  base::MutexLock lock(&mutex);
  while (unfinished > 0) changed.Wait(&mutex);
}

// ---- gRPC: one thread takes what comes on every stream

struct GrpcStream {
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientAsyncReader<v1::GenerateStreamResponse>> reader;
  v1::GenerateStreamResponse message;
  grpc::Status status;
  int64_t tokens = 0;  // As the last message tells.
  bool ending = false;
};

void SendOverGrpc(v1::Inference::Stub* stub, const Options& options) {
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<GrpcStream>> streams;
  for (int64_t i = 0; i < options.streams; ++i) {
    v1::GenerateRequest request;
    for (const int32_t id : Prompt(i)) request.mutable_token_ids()->add_ids(id);
    request.mutable_sampling()->set_temperature(0);
    request.mutable_stopping()->set_max_tokens(options.tokens);
    request.mutable_stopping()->set_ignore_eos(true);
    auto stream = std::make_unique<GrpcStream>();
    stream->reader = stub->AsyncGenerateStream(&stream->context, request, &queue, stream.get());
    streams.push_back(std::move(stream));
  }
  void* tag = nullptr;
  bool ok = false;
  for (int64_t unfinished = options.streams; unfinished > 0;) {
    CHECK(queue.Next(&tag, &ok));
    GrpcStream& stream = *static_cast<GrpcStream*>(tag);
    if (stream.ending) {
      CHECK(stream.status.ok());
      CHECK_EQ(stream.tokens, options.tokens);
      --unfinished;
    } else if (ok) {
      if (stream.message.has_finished()) {
        stream.tokens = stream.message.finished().usage().completion_tokens();
      }
      stream.reader->Read(&stream.message, &stream);
    } else {
      stream.ending = true;
      stream.reader->Finish(&stream.status, &stream);
    }
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
}

// ---- HTTP: one thread polls every connection

int Connect(const std::string& address) {
  const size_t colon = address.rfind(':');
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  uint32_t port = 0;
  CHECK(absl::SimpleAtoi(address.substr(colon + 1), &port));
  to.sin_port = htons(static_cast<uint16_t>(port));
  CHECK_EQ(inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr), 1);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_GE(fd, 0);
  CHECK_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  return fd;
}

std::string HttpRequest(int64_t stream, const Options& options) {
  const nlohmann::json body = {
      {"prompt", Prompt(stream)},     {"stream", true},
      {"max_tokens", options.tokens}, {"temperature", 0},
      {"ignore_eos", true},           {"stream_options", {{"include_usage", true}}}};
  const std::string text = body.dump();
  return absl::StrCat("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n",
                      "Content-Type: application/json\r\nContent-Length: ", text.size(), "\r\n\r\n",
                      text);
}

void SendOverHttp(const std::string& address, const Options& options) {
  std::vector<pollfd> polled;
  std::vector<std::string> tails;  // Of what has come: enough to find the last event in.
  for (int64_t i = 0; i < options.streams; ++i) {
    const int fd = Connect(address);
    const std::string request = HttpRequest(i, options);
    CHECK_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    polled.push_back({fd, POLLIN, 0});
    tails.emplace_back();
  }
  const std::string usage = absl::StrCat("\"completion_tokens\":", options.tokens);
  std::vector<char> buffer(size_t{64} << 10);
  for (int64_t unfinished = options.streams; unfinished > 0;) {
    CHECK_GT(poll(polled.data(), polled.size(), -1), 0);
    for (size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      const ssize_t count = read(polled[i].fd, buffer.data(), buffer.size());
      CHECK_GT(count, 0) << "the server ended an answer: " << tails[i];
      std::string& tail = tails[i];
      tail.append(buffer.data(), static_cast<size_t>(count));
      if (absl::StrContains(tail, "data: [DONE]")) {
        CHECK(absl::StrContains(tail, usage)) << tail;
        close(polled[i].fd);
        polled[i].fd = -1;
        --unfinished;
      } else if (tail.size() > 4096) {
        tail.erase(0, tail.size() - 2048);
      }
    }
  }
}

// ---- rounds

template <typename Send>
double TokensPerSecond(const Options& options, const Send& send) {
  const auto begin = std::chrono::steady_clock::now();
  send();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(options.streams * options.tokens) / took.count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// False when a goal is missed.
bool Report(const std::vector<double>& engine, const std::vector<double>& again,
            const std::vector<double>& grpc, const std::vector<double>& http) {
  const auto ratios = [&](const std::vector<double>& of) {
    std::vector<double> ratios;
    for (size_t i = 0; i < of.size(); ++i) ratios.push_back(2 * of[i] / (engine[i] + again[i]));
    return ratios;
  };
  const auto row = [](const char* name, double rate, std::vector<double> of) {
    const double median = Median(of);
    const auto [least, most] = std::minmax_element(of.begin(), of.end());
    std::printf("%-24s %10.1f %12.3f   (%.3f to %.3f)\n", name, rate, median, *least, *most);
    return median;
  };
  std::printf("%-24s %10s %12s\n", "", "tokens/s", "of engine");
  row("engine", Median(engine), ratios(engine));
  row("engine again", Median(again), ratios(again));
  const double over_grpc = row("gRPC", Median(grpc), ratios(grpc));
  const double over_http = row("HTTP", Median(http), ratios(http));
  return over_grpc >= kGoal && over_http >= kGoal;
}

int Measure(const Options& options) {
  const base::RealClock clock;
  base::NullLog log;
  config::ServerConfig config;
  config.model.path = options.model;
  config.server.listen = "127.0.0.1:0";
  config.sharing.enabled = false;
  config.prefix_cache.enabled = false;  // Every round computes the same prompts.
  config.kernels.threads = static_cast<int32_t>(options.threads);
  server::DrainSwitch drain;
  auto compute = server::OpenCompute(config, &clock, &log);
  CHECK_OK(compute.status());
  const auto model = server::LoadModel(config, *std::move(compute), clock, &log);
  CHECK_OK(model.status());
  const auto stack = server::EngineStack::Create(config, *model, &clock, &log);
  CHECK_OK(stack.status());
  engine::Engine* const engine = &(*stack)->engine();
  const auto serving = server::Serving::Start(config, *model, engine, &drain, &clock, &log);
  CHECK_OK(serving.status());
  std::thread runner([&] { (*serving)->RunUntilDrained(); });
  const std::unique_ptr<v1::Inference::Stub> stub = v1::Inference::NewStub(
      grpc::CreateChannel((*serving)->address().ToString(), grpc::InsecureChannelCredentials()));

  const auto to_engine = [&] { SendToEngine(engine, options); };
  const auto over_grpc = [&] { SendOverGrpc(stub.get(), options); };
  const auto over_http = [&] { SendOverHttp((*serving)->http_address(), options); };
  to_engine();  // Step times are learnt, code and weights come into the caches.
  std::vector<double> rates[4];
  for (int64_t round = 0; round < options.rounds; ++round) {
    rates[0].push_back(TokensPerSecond(options, to_engine));
    // In turn, so that a drift of the machine's speed falls on both alike.
    const bool grpc_first = round % 2 == 0;
    for (const bool grpc : {grpc_first, !grpc_first}) {
      rates[grpc ? 2 : 3].push_back(grpc ? TokensPerSecond(options, over_grpc)
                                         : TokensPerSecond(options, over_http));
    }
    rates[1].push_back(TokensPerSecond(options, to_engine));
    std::fprintf(stderr, "  round %d of %d\n", static_cast<int>(round + 1),
                 static_cast<int>(options.rounds));
  }
  const bool reached = Report(rates[0], rates[1], rates[2], rates[3]);
  drain.Request(absl::ZeroDuration());
  runner.join();
  std::printf("goal, each at least %.2f: %s\n", kGoal, reached ? "met" : "MISSED");
  return reached ? 0 : 1;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) {
  ebb::bench::Options options;
  if (!ebb::bench::Parse(argc, argv, &options)) {
    std::cerr << "usage: front_end --model FILE [--streams N] [--tokens N] [--rounds N] "
                 "[--threads N]\n";
    return 64;
  }
  ebb::server::BlockSignals();
  return ebb::bench::Measure(options);
}

// HttpApi: the routes: OpenAI's API, tokenizing, and what probes ask. Thin: JSON is read by
// openai_request, requests by RequestReader, as gRPC's are; running them is GenerateCall's.
//
//   POST /v1/completions, /v1/chat/completions, /tokenize, /detokenize      on worker threads
//   GET  /v1/models, /tokenizer_info, /version, /health, /health/live, /health/ready   at once
//   GET  /metrics                                                           on a thread of its own
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "server/generate_call.h"
#include "server/http/exchange.h"
#include "server/http/openai_request.h"
#include "server/metrics/metrics.h"
#include "server/task_threads.h"
#include "server/tool_calls.h"

namespace ebb::server {

// What clients are told of the model.
struct HttpModelInfo {
  std::string name;
  int64_t context_tokens = 0;
  int64_t created_seconds = 0;  // Since 1970: when it was made ready.
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
  std::optional<std::string> pad_token;
  std::optional<std::string> chat_template;
};

// Thread-safe. `resources` and `metrics` outlive it; the HttpServer is shut down before it goes.
class HttpApi final : public HttpHandler {
 public:
  HttpApi(CallResources* resources, const Metrics* metrics, const HttpModelInfo& model,
          const std::string& version);

  struct RouteName {
    std::string method;
    std::string path;
  };
  static std::vector<RouteName> Routes();

  std::optional<HttpReply> Screen(HttpRequest* request) override;
  void Serve(HttpRequest request, std::shared_ptr<Exchange> exchange) override;
  HttpReply Unreadable(int status, const std::string& message) override;

 private:
  struct GetRoute {
    absl::string_view path;
    HttpReply (HttpApi::*reply)() const;
  };
  struct PostRoute {
    absl::string_view path;
    // On a worker. An error is the reply.
    absl::Status (HttpApi::*serve)(const HttpRequest&, const std::shared_ptr<Exchange>&);
  };
  static const GetRoute kGetRoutes[];
  static const PostRoute kPostRoutes[];
  static const GetRoute* FindGet(absl::string_view path);
  static const PostRoute* FindPost(absl::string_view path);

  // UNAUTHENTICATED for one who may not.
  absl::StatusOr<std::string> TenantOf(const HttpRequest& head) const;

  HttpReply Models() const;
  HttpReply TokenizerInfo() const;
  HttpReply Version() const;
  HttpReply Live() const;
  HttpReply Ready() const;
  void Scrape(const std::shared_ptr<Exchange>& exchange);

  absl::Status Completions(const HttpRequest& request, const std::shared_ptr<Exchange>& exchange);
  absl::Status ChatCompletions(const HttpRequest& request,
                               const std::shared_ptr<Exchange>& exchange);
  absl::Status Tokenize(const HttpRequest& request, const std::shared_ptr<Exchange>& exchange);
  absl::Status Detokenize(const HttpRequest& request, const std::shared_ptr<Exchange>& exchange);

  absl::Status Generate(const HttpRequest& request, const std::shared_ptr<Exchange>& exchange,
                        OpenAiApi api);
  absl::StatusOr<OpenAiRequest> ReadBody(const std::string& body, OpenAiApi api) const;
  nlohmann::ordered_json ModelJson() const;
  void ServePost(const PostRoute& route, const HttpRequest& request,
                 const std::shared_ptr<Exchange>& exchange);

  CallResources* const resources_;
  const Metrics* const metrics_;
  const HttpModelInfo model_;
  const std::string version_;
  const ToolCallFormat tool_calls_;  // As the model writes them.
  TaskThreads workers_;
  TaskThreads long_texts_;
  TaskThreads scrapes_;
};

}  // namespace ebb::server

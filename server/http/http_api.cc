#include "server/http/http_api.h"

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "model/json_document.h"
#include "server/field_checks.h"
#include "server/http/body_fields.h"
#include "server/http/logprobs_json.h"
#include "server/http/openai_answer.h"
#include "server/http/openai_chat.h"
#include "server/http/openai_error.h"
#include "server/http/openai_request.h"
#include "server/trace_context.h"

namespace ebb::server {
namespace {

using Json = nlohmann::ordered_json;

// Reading JSON and tokenizing. Texts of megabytes, which take a second, have a thread of their own,
// so that they hold up each other only.
constexpr size_t kWorkers = 2;
constexpr size_t kWaitingMax = 256;
constexpr size_t kLongTextBytes = size_t{64} << 10;
constexpr size_t kLongTextsMax = 16;
constexpr absl::string_view kModelsPrefix = "/v1/models/";
constexpr absl::string_view kLivePath = "/health/live";
constexpr absl::string_view kMetricsPath = "/metrics";
// Should the engine's mutex ever hang, so do they, and the probes do not.
constexpr size_t kScrapesMax = 4;

HttpReply JsonReply(const Json& json) {
  HttpReply reply;
  reply.body = JsonText(json);
  return reply;
}

Json OrNull(const std::optional<std::string>& text) {
  return text.has_value() ? Json(*text) : Json(nullptr);
}

bool IsJsonType(absl::string_view content_type) {
  const absl::string_view media =
      absl::StripAsciiWhitespace(content_type.substr(0, content_type.find(';')));
  return absl::EqualsIgnoreCase(media, "application/json") ||
         absl::EndsWithIgnoreCase(media, "+json");
}

// The values of all headers of this name.
std::vector<absl::string_view> HeadersOf(const HttpRequest& head, absl::string_view name) {
  std::vector<absl::string_view> values;
  for (const HttpHeader& header : head.headers) {
    if (absl::EqualsIgnoreCase(header.name, name)) values.push_back(header.value);
  }
  return values;
}

HttpReply MethodNotAllowed(const std::string& allow) {
  HttpReply reply = ErrorReply(405, absl::StrCat("this path takes ", allow, " only"));
  reply.headers.push_back({"allow", allow});
  return reply;
}

}  // namespace

const HttpApi::GetRoute HttpApi::kGetRoutes[] = {
    {"/v1/models", &HttpApi::Models},   {"/tokenizer_info", &HttpApi::TokenizerInfo},
    {"/version", &HttpApi::Version},    {"/health", &HttpApi::Ready},
    {"/health/ready", &HttpApi::Ready}, {kLivePath, &HttpApi::Live},
};

const HttpApi::PostRoute HttpApi::kPostRoutes[] = {
    {"/v1/completions", &HttpApi::Completions},
    {"/v1/chat/completions", &HttpApi::ChatCompletions},
    {"/tokenize", &HttpApi::Tokenize},
    {"/detokenize", &HttpApi::Detokenize},
};

HttpApi::HttpApi(CallResources* resources, const Metrics* metrics, const HttpModelInfo& model,
                 const std::string& version)
    : resources_(resources),
      metrics_(metrics),
      model_(model),
      version_(version),
      tool_calls_(DetectToolCallFormat(model.chat_template.value_or(""))),
      workers_(kWorkers, kWaitingMax),
      long_texts_(/*threads=*/1, kLongTextsMax),
      scrapes_(/*threads=*/1, kScrapesMax) {}

const HttpApi::GetRoute* HttpApi::FindGet(absl::string_view path) {
  for (const GetRoute& route : kGetRoutes) {
    if (route.path == path) return &route;
  }
  return nullptr;
}

const HttpApi::PostRoute* HttpApi::FindPost(absl::string_view path) {
  for (const PostRoute& route : kPostRoutes) {
    if (route.path == path) return &route;
  }
  return nullptr;
}

std::vector<HttpApi::RouteName> HttpApi::Routes() {
  std::vector<RouteName> routes = {{"GET", absl::StrCat(kModelsPrefix, "NAME")},
                                   {"GET", std::string(kMetricsPath)}};
  for (const GetRoute& route : kGetRoutes) routes.push_back({"GET", std::string(route.path)});
  for (const PostRoute& route : kPostRoutes) routes.push_back({"POST", std::string(route.path)});
  return routes;
}

HttpReply HttpApi::Unreadable(int status, const std::string& message) {
  return ErrorReply(status, message);
}

absl::StatusOr<std::string> HttpApi::TenantOf(const HttpRequest& head) const {
  if (resources_->access == nullptr) return std::string();
  const std::vector<absl::string_view> values = HeadersOf(head, "authorization");
  if (values.size() > 1) return absl::UnauthenticatedError("authorization is given twice");
  return resources_->access->Check(values.empty() ? "" : values[0]);
}

// Every request passes here with its headers, before its body is read.
std::optional<HttpReply> HttpApi::Screen(HttpRequest* request) {
  const HttpRequest& head = *request;
  // Whoever restarts servers that hang has no token.
  if (head.path != kLivePath) {
    absl::StatusOr<std::string> tenant = TenantOf(head);
    if (!tenant.ok()) {
      resources_->refusals->Write(tenant.status());
      return ErrorReply(tenant.status());
    }
    request->tenant = *std::move(tenant);
  }
  const bool is_get = head.method == "GET" || head.method == "HEAD";
  if (FindGet(head.path) != nullptr || head.path == kMetricsPath ||
      absl::StartsWith(head.path, kModelsPrefix)) {
    if (!is_get) return MethodNotAllowed("GET, HEAD");
    return std::nullopt;
  }
  if (FindPost(head.path) == nullptr) {
    return ErrorReply(404, "there is no such path; see docs/api.md for those that there are");
  }
  if (head.method != "POST") return MethodNotAllowed("POST");
  const std::string* const type = head.Header("content-type");
  // A browser sends a page's bytes without a type to any server unasked; other clients have no
  // origin.
  const bool is_unasked = type == nullptr && head.Header("origin") != nullptr;
  if (is_unasked || (type != nullptr && !IsJsonType(*type))) {
    return ErrorReply(415, "the body must be JSON: send the header Content-Type: application/json");
  }
  const std::string* const encoding = head.Header("content-encoding");
  if (encoding != nullptr && !absl::EqualsIgnoreCase(*encoding, "identity")) {
    return ErrorReply(415, "Content-Encoding: compressed bodies are not read");
  }
  return std::nullopt;
}

void HttpApi::Serve(HttpRequest request, std::shared_ptr<Exchange> exchange) {
  if (const GetRoute* const route = FindGet(request.path)) {
    return exchange->Reply((this->*route->reply)());
  }
  if (request.path == kMetricsPath) return Scrape(exchange);
  if (absl::StartsWith(request.path, kModelsPrefix)) {
    const bool is_ours =
        absl::string_view(request.path).substr(kModelsPrefix.size()) == model_.name;
    return exchange->Reply(is_ours
                               ? JsonReply(ModelJson())
                               : ErrorReply(absl::NotFoundError("model: there is no such one")));
  }
  const PostRoute* const route = FindPost(request.path);
  const bool is_long = route->serve == &HttpApi::Tokenize && request.body.size() >= kLongTextBytes;
  const auto shared = std::make_shared<const HttpRequest>(std::move(request));
  TaskThreads& threads = is_long ? long_texts_ : workers_;
  if (!threads.TryPost([this, route, shared, exchange] { ServePost(*route, *shared, exchange); })) {
    const absl::Status status = absl::ResourceExhaustedError(
        "too many requests wait to be read; try again later, or send shorter ones");
    resources_->refusals->Write(status);
    exchange->Reply(ErrorReply(status));
  }
}

void HttpApi::ServePost(const PostRoute& route, const HttpRequest& request,
                        const std::shared_ptr<Exchange>& exchange) {
  const absl::Status status = (this->*route.serve)(request, exchange);
  if (status.ok()) return;
  resources_->refusals->Write(status);
  exchange->Post([exchange, status] { exchange->Reply(ErrorReply(status)); });
}

// ---- What needs no engine

Json HttpApi::ModelJson() const {
  return {{"id", model_.name},
          {"object", "model"},
          {"created", model_.created_seconds},
          {"owned_by", "ebb"},
          {"root", model_.name},
          {"parent", nullptr},
          {"max_model_len", model_.context_tokens}};
}

HttpReply HttpApi::Models() const {
  return JsonReply({{"object", "list"}, {"data", Json::array({ModelJson()})}});
}

HttpReply HttpApi::TokenizerInfo() const {
  return JsonReply({{"bos_token", OrNull(model_.bos_token)},
                    {"eos_token", OrNull(model_.eos_token)},
                    {"pad_token", OrNull(model_.pad_token)},
                    {"chat_template", OrNull(model_.chat_template)}});
}

HttpReply HttpApi::Version() const { return JsonReply({{"version", version_}}); }

HttpReply HttpApi::Live() const { return JsonReply({{"status", "live"}}); }

HttpReply HttpApi::Ready() const {
  const HealthReport health = resources_->progress->Check();
  if (!health.ready()) return ErrorReply(503, health.message);
  return JsonReply({{"status", "ready"}});
}

void HttpApi::Scrape(const std::shared_ptr<Exchange>& exchange) {
  const bool queued = scrapes_.TryPost([this, exchange] {
    HttpReply reply;
    reply.content_type = Metrics::kContentType;
    reply.body = metrics_->Render();
    exchange->Post([exchange, reply = std::move(reply)] { exchange->Reply(reply); });
  });
  if (!queued) exchange->Reply(ErrorReply(503, "too many scrapes wait; scrape less often"));
}

// ---- What runs on workers

absl::Status HttpApi::Generate(const HttpRequest& request,
                               const std::shared_ptr<Exchange>& exchange, OpenAiApi api) {
  const bool is_chat = api == OpenAiApi::kChat;
  const std::string prefix = is_chat ? "chatcmpl-" : "cmpl-";
  const uint64_t serial = resources_->next_serial.fetch_add(1);
  const uint64_t random = base::RandomBits(~resources_->process_seed, serial);
  std::string request_id;
  AnswerHead head;
  if (const std::string* const given = request.Header("x-request-id")) {
    RETURN_IF_ERROR(CheckRequestId(*given));
    request_id = *given;
    head.id = prefix + request_id;
  } else {
    head.id = request_id = absl::StrCat(prefix, absl::Hex(random, absl::kZeroPad16));
  }
  head.created_seconds = absl::ToUnixSeconds(resources_->clock->Now());
  head.model = model_.name;
  head.call_seed = random;
  ASSIGN_OR_RETURN(OpenAiRequest read, ReadBody(request.body, api));
  Caller caller = {request.tenant, TraceIdOf(HeadersOf(request, kTraceparent))};
  std::make_shared<OpenAiAnswer>(resources_, exchange, std::move(read), head, request_id,
                                 std::move(caller))
      ->Start();
  return absl::OkStatus();
}

absl::StatusOr<OpenAiRequest> HttpApi::ReadBody(const std::string& text, OpenAiApi api) const {
  ASSIGN_OR_RETURN(const auto body, ParseBody(text));
  if (api == OpenAiApi::kCompletions) return ReadCompletionsRequest(body->root());
  ASSIGN_OR_RETURN(OpenAiRequest read, ReadChatRequest(body->root(), tool_calls_));
  // A template that knows no tools at all is the codec's to refuse.
  const bool is_unread = tool_calls_ == ToolCallFormat::kNone &&
                         absl::StrContains(model_.chat_template.value_or(""), "tool");
  if (!read.style.tools || !is_unread) return read;
  return absl::UnimplementedError(
      "tools: this model writes its calls in a form that this server does not read; over gRPC, "
      "tools_json tells it of tools and its answer is the text that it wrote");
}

absl::Status HttpApi::Completions(const HttpRequest& request,
                                  const std::shared_ptr<Exchange>& exchange) {
  return Generate(request, exchange, OpenAiApi::kCompletions);
}

absl::Status HttpApi::ChatCompletions(const HttpRequest& request,
                                      const std::shared_ptr<Exchange>& exchange) {
  return Generate(request, exchange, OpenAiApi::kChat);
}

// A prompt, or a chat laid out by the template; what /v1/completions and /v1/chat/completions would
// give the model.
absl::Status HttpApi::Tokenize(const HttpRequest& request,
                               const std::shared_ptr<Exchange>& exchange) {
  ASSIGN_OR_RETURN(const auto body, ParseBody(request.body));
  std::vector<int32_t> ids;
  if (FindField(body->root(), "messages").has_value()) {
    v1::GenerateRequest chat;
    RETURN_IF_ERROR(ReadConversation(body->root(), chat.mutable_chat()));
    ASSIGN_OR_RETURN(ReadRequest read, resources_->reader->Read(chat, /*default_seed=*/0));
    ids = std::move(read.request.prompt);
  } else {
    v1::TokenizeRequest text;
    text.set_parse_special(true);
    bool add_special = true;
    RETURN_IF_ERROR(ReadString(body->root(), "prompt",
                               [&](absl::string_view v) { text.set_text(std::string(v)); }));
    RETURN_IF_ERROR(
        ReadBool(body->root(), "parse_special", [&](bool v) { text.set_parse_special(v); }));
    RETURN_IF_ERROR(ReadBool(body->root(), "add_special_tokens", [&](bool v) { add_special = v; }));
    if (!text.has_text()) return FieldError("prompt", "is required, or messages");
    ASSIGN_OR_RETURN(ids, resources_->reader->ReadTokenize(text));
    const int32_t prefix = resources_->codec->prefix_token_id();
    if (add_special && prefix >= 0) ids.insert(ids.begin(), prefix);
  }
  Json out = {{"count", ids.size()}, {"max_model_len", model_.context_tokens}, {"tokens", ids}};
  exchange->Post([exchange, reply = JsonReply(out)] { exchange->Reply(reply); });
  return absl::OkStatus();
}

absl::Status HttpApi::Detokenize(const HttpRequest& request,
                                 const std::shared_ptr<Exchange>& exchange) {
  ASSIGN_OR_RETURN(const auto body, ParseBody(request.body));
  v1::DetokenizeRequest in;
  in.set_show_special(true);
  if (!FindField(body->root(), "tokens").has_value()) return FieldError("tokens", "is required");
  RETURN_IF_ERROR(ReadIntegers(body->root(), "tokens", [&](int64_t v) { in.add_token_ids(v); }));
  RETURN_IF_ERROR(ReadBool(body->root(), "show_special", [&](bool v) { in.set_show_special(v); }));
  ASSIGN_OR_RETURN(const std::string text, resources_->reader->ReadDetokenize(in));
  exchange->Post([exchange, reply = JsonReply({{"prompt", text}})] { exchange->Reply(reply); });
  return absl::OkStatus();
}

}  // namespace ebb::server

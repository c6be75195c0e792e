// HttpTest: the HTTP server on a real socket of the loopback, over a FakeEngine and byte tokens.
#pragma once

#include <memory>
#include <string>

#include "server/http/http_api.h"
#include "server/http/http_server.h"
#include "tests/server/calls_fixture.h"
#include "tests/server/http/http_client.h"
#include "tests/server/wait_until.h"

namespace ebb::server {

class HttpTest : public CallsTest {
 protected:
  HttpTest() {
    UseTemplate("");
    options_.listen = *ParseListenAddress("127.0.0.1:0");
    options_.body_bytes_max = 1 << 20;
  }

  // The model's chat template has this source, as far as the API looks at it. Ends the server.
  void UseTemplate(const std::string& source) {
    server_.reset();
    HttpModelInfo model;
    model.name = "fake";
    model.context_tokens = kContextTokens;
    model.eos_token = "<|end|>";
    if (!source.empty()) model.chat_template = source;
    api_ = std::make_unique<HttpApi>(&resources_, &metrics_, model, "test");
  }

  // Called by itself at the first connection: a test may change options_ before.
  const std::string& address() {
    if (server_ == nullptr) {
      server_ = *HttpServer::Start(options_, api_.get());
      address_ = server_->address().ToString();
    }
    return address_;
  }
  std::unique_ptr<tests::HttpClient> Connect() {
    return std::make_unique<tests::HttpClient>(address());
  }
  tests::HttpAnswer Get(const std::string& path) { return Connect()->Get(path); }
  tests::HttpAnswer Post(const std::string& path, const std::string& body,
                         const std::string& more_headers = "") {
    return Connect()->Post(path, body, more_headers);
  }
  tests::HttpAnswer Complete(const std::string& body) { return Post("/v1/completions", body); }
  tests::HttpAnswer Chat(const std::string& body) { return Post("/v1/chat/completions", body); }

  const Metrics metrics_{
      {"test", "0123", "fake", "none"}, &engine_, &request_metrics_, &refusals_, &progress_};
  std::unique_ptr<HttpApi> api_;
  HttpServerOptions options_;
  std::string address_;
  std::unique_ptr<HttpServer> server_;  // Last: it is the first to go.
};

}  // namespace ebb::server

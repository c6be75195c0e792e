// Exchange: one HTTP request being answered, as those see it who answer; HttpHandler and Responder
// are what they implement. The session (session.h) is the other side.
//
//   HttpHandler::Screen(head)          before the body is read
//   HttpHandler::Serve(request, exchange)
//     exchange->Reply(...)             whole, or
//     exchange->StartEvents, SendEvents ... OnSent ... SendEvents(last)
//   Responder::OnEnd(sent)             all is with the client, or the client left
//
// An exchange has one thread at a time, its session's: everything here is called there, but Post,
// which is how others get there.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/http/http_message.h"

namespace ebb::server {

// Who makes an answer bit by bit, or has to know that the client left.
class Responder {
 public:
  virtual ~Responder() = default;
  // What SendEvents was given is sent: more may be.
  virtual void OnSent() = 0;
  // The exchange is over: all is `sent`, or the client left. Called once, and nothing after it.
  virtual void OnEnd(bool sent) = 0;
};

class Exchange {
 public:
  virtual ~Exchange() = default;

  // Thread-safe: runs `work` soon on the exchange's thread, also when the exchange is over.
  virtual void Post(std::function<void()> work) = 0;

  // Tells `responder` from now on; at once, if the exchange is over.
  virtual void SetResponder(std::shared_ptr<Responder> responder) = 0;
  // The whole answer. No effect once the exchange is over.
  virtual void Reply(HttpReply reply) = 0;
  // Status 200 and server-sent events from here on; goes out with the first of them.
  virtual void StartEvents(const std::vector<HttpHeader>& headers) = 0;
  // REQUIRES: StartEvents was called, and OnSent after the last call. No effect once the exchange
  // is over.
  virtual void SendEvents(std::string events, bool last) = 0;
};

// Thread-safe.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // A refusal by the head alone, before the body is read. May set the tenant. Must not block.
  virtual std::optional<HttpReply> Screen(HttpRequest* head) = 0;
  // Answers through `exchange`, now or later. Must not block.
  virtual void Serve(HttpRequest request, std::shared_ptr<Exchange> exchange) = 0;
  // The answer to a request that could not be read: 400, 408, 413, 417, 431, 501, 503, 505.
  virtual HttpReply Unreadable(int status, const std::string& message) = 0;
};

}  // namespace ebb::server

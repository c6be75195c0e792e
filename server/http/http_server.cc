#include "server/http/http_server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/http/session.h"
#include "server/http/session_hub.h"

namespace ebb::server {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = boost::asio::ip::tcp;

// Two read, screen and write for all connections; what takes long is done elsewhere.
constexpr int kThreads = 2;
constexpr int kBacklog = 1024;
// The system has no file descriptor left: it is asked again after this.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);

absl::Status CannotListen(const ListenAddress& address, const error_code& ec) {
  return absl::UnavailableError(
      absl::StrCat("cannot listen for HTTP on ", address.ToString(), ": ", ec.message(),
                   "; choose another with --http-listen ADDR:PORT (port 0 takes a free one), or "
                   "--http-listen off"));
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpServerOptions& options, HttpHandler* handler)
      : hub_(options, handler),
        context_(kThreads),
        work_(context_.get_executor()),
        strand_(asio::make_strand(context_)),
        acceptor_(strand_),
        pause_(strand_),
        address_(options.listen) {}
  ~Impl() { Shutdown(absl::ZeroDuration()); }

  absl::Status Start() {
    error_code ec;
    const tcp::endpoint endpoint(asio::ip::make_address(address_.host, ec),
                                 static_cast<uint16_t>(address_.port));
    if (!ec) acceptor_.open(endpoint.protocol(), ec);
    // A port whose last server has just ended is free.
    if (!ec) acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor_.bind(endpoint, ec);
    if (!ec) acceptor_.listen(kBacklog, ec);
    if (!ec) address_.port = acceptor_.local_endpoint(ec).port();
    if (ec) return CannotListen(address_, ec);
    asio::post(strand_, [this] { Accept(); });
    for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { context_.run(); });
    return absl::OkStatus();
  }

  void Shutdown(absl::Duration flush) {
    if (threads_.empty()) return;
    asio::post(strand_, [this] {
      error_code ignored;
      acceptor_.close(ignored);
      pause_.cancel();
    });
    hub_.closing = true;
    hub_.StopAll(/*now=*/false);
    hub_.WaitUntilEmpty(flush);
    hub_.StopAll(/*now=*/true);
    work_.reset();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  SessionHub& hub() { return hub_; }
  const ListenAddress& address() const { return address_; }

 private:
  void Accept() {
    if (!acceptor_.is_open()) return;
    acceptor_.async_accept(asio::make_strand(context_), [this](error_code ec, tcp::socket socket) {
      if (!acceptor_.is_open()) return;
      if (!ec) {
        StartSession(std::move(socket), &context_, &hub_);
        return Accept();
      }
      // A client that gave up at once, or no descriptor left.
      pause_.expires_after(absl::ToChronoNanoseconds(kAcceptPause));
      pause_.async_wait([this](error_code) { Accept(); });
    });
  }

  SessionHub hub_;
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::strand<asio::io_context::executor_type> strand_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  ListenAddress address_;
  std::vector<std::thread> threads_;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                              HttpHandler* handler) {
  auto impl = std::make_unique<Impl>(options, handler);
  if (absl::Status status = impl->Start(); !status.ok()) return status;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

const ListenAddress& HttpServer::address() const { return impl_->address(); }
size_t HttpServer::connection_count() const { return impl_->hub().size(); }
int64_t HttpServer::bodies_bytes() const { return impl_->hub().bodies_bytes; }
void HttpServer::SetClosing() { impl_->hub().closing = true; }
void HttpServer::Shutdown(absl::Duration flush) { impl_->Shutdown(flush); }

}  // namespace ebb::server

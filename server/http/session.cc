#include "server/http/session.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/parser.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/http/request_head.h"
#include "server/http/session_stream.h"
#include "server/http/wire_text.h"

namespace ebb::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = boost::asio::ip::tcp;

constexpr size_t kReadBytes = size_t{16} << 10;
// What may come while a request is answered, and the longest head of a chunk.
constexpr size_t kBufferBytesMax = size_t{64} << 10;
// After the last answer, what the client still sends is thrown away for so long: closing at once
// would reset the connection and could cost it the answer.
constexpr absl::Duration kLingerTime = absl::Seconds(2);

// A body that grows as it comes, whatever length the head promises.
struct GrowingBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool kIsRequest, typename Fields>
    reader(http::header<kIsRequest, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<uint64_t>&, error_code& ec) { ec = {}; }
    template <typename Buffers>
    size_t put(const Buffers& buffers, error_code& ec) {
      ec = {};
      size_t bytes = 0;
      for (const asio::const_buffer buffer : beast::buffers_range_ref(buffers)) {
        body_.append(static_cast<const char*>(buffer.data()), buffer.size());
        bytes += buffer.size();
      }
      return bytes;
    }
    void finish(error_code& ec) { ec = {}; }

   private:
    value_type& body_;
  };
};

int StatusOfError(const error_code& ec) {
  if (ec == http::error::header_limit) return 431;
  if (ec == http::error::body_limit) return 413;
  if (ec == http::error::bad_version) return 505;
  return 400;
}

// For a connection that ends at once: as much as the system takes without waiting.
void WriteOnce(const HttpReply& reply, PlainStream* socket) {
  error_code ignored;
  socket->non_blocking(true, ignored);
  socket->write_some(asio::buffer(ReplyText(reply, /*keep_alive=*/false, /*with_body=*/true)),
                     ignored);
}

// A peer that is switched off or cut off says nothing. Where something is on its way to it, the
// system gives up after `timeout`; where nothing is, it asks from half of that on.
void NoticeVanishedPeer(absl::Duration timeout, tcp::socket* socket) {
  const auto seconds = static_cast<int>(absl::ToInt64Seconds(timeout));
  error_code ignored;
  socket->set_option(asio::socket_base::keep_alive(true), ignored);
  const auto set = [&](int option, int value) {
    setsockopt(socket->native_handle(), IPPROTO_TCP, option, &value, sizeof(value));
  };
  set(TCP_KEEPIDLE, seconds / 2);
  set(TCP_KEEPINTVL, std::max(1, seconds / 5));
  set(TCP_USER_TIMEOUT, 1000 * seconds);
}

// Everything happens on the stream's strand.
template <typename Stream>
class Session final : public AnySession, public std::enable_shared_from_this<Session<Stream>> {
 public:
  Session(Stream stream, asio::io_context* context, SessionHub* hub)
      : hub_(*hub),
        context_(context),
        stream_(std::move(stream)),
        timer_(stream_.get_executor()),
        read_bytes_(std::make_unique<char[]>(kReadBytes)) {}

  void Start() {
    asio::post(stream_.get_executor(), [self = this->shared_from_this()] {
      self->SetDeadline(self->hub_.options.handshake_timeout);
      Handshake(&self->stream_, [self](const error_code& ec) { self->OnHandshake(ec); });
    });
  }
  // For a connection that found no place.
  void TurnAway() {
    WriteOnce(
        hub_.handler->Unreadable(
            503, absl::StrCat("too many connections: ", hub_.options.connections_max, " are open")),
        SocketOf(&stream_));
  }
  void Stop(bool now) override {
    asio::post(stream_.get_executor(), [self = this->shared_from_this(), now] {
      self->may_keep_ = false;
      if (now || (self->state_ == State::kReading && !self->begun_)) self->Close();
    });
  }

 private:
  using Parser = http::request_parser<GrowingBody>;
  enum class State { kReading, kAnswering, kLingering, kClosed };
  enum class After { kNothing, kOnSent, kEnd };  // What follows when all is written.

  class LiveExchange final : public Exchange {
   public:
    explicit LiveExchange(std::shared_ptr<Session> session)
        : session_(std::move(session)), work_(session_->context_->get_executor()) {}

    void Post(std::function<void()> work) override {
      asio::post(session_->stream_.get_executor(), std::move(work));
    }
    void SetResponder(std::shared_ptr<Responder> responder) override {
      if (!IsOver()) {
        session_->responder_ = std::move(responder);
      } else {
        responder->OnEnd(false);
      }
    }
    void Reply(HttpReply reply) override {
      if (!IsOver()) session_->Answer(reply);
    }
    void StartEvents(const std::vector<HttpHeader>& headers) override {
      if (!IsOver()) session_->StartEvents(headers);
    }
    void SendEvents(std::string events, bool last) override {
      if (!IsOver()) session_->SendEvents(std::move(events), last);
    }

   private:
    bool IsOver() const { return session_->exchange_.get() != this; }

    const std::shared_ptr<Session> session_;
    // The server's threads stay for as long as somebody may post.
    const asio::executor_work_guard<asio::io_context::executor_type> work_;
  };

  // ---- Reading

  void OnHandshake(const error_code& ec) {
    if (state_ == State::kClosed) return;
    if (!ec) return NextRequest();
    if (IsPlainHttp(ec)) {
      WriteOnce(hub_.handler->Unreadable(400, "this port speaks TLS: ask for https://"),
                SocketOf(&stream_));
    }
    Close();
  }

  void NextRequest() {
    state_ = State::kReading;
    begun_ = false;
    head_done_ = false;
    after_ = After::kNothing;
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(hub_.options.header_bytes_max));
    parser_->body_limit(static_cast<uint64_t>(hub_.options.body_bytes_max));
    if (hub_.closing && buffer_.empty() && served_) return Close();
    SetDeadline(hub_.options.idle_timeout);
    ReadRequest();
  }

  // Goes on with the request as far as the buffer reaches.
  void ReadRequest() {
    while (state_ == State::kReading && !buffer_.empty()) {
      if (!std::exchange(begun_, true)) SetDeadline(hub_.options.header_timeout);
      error_code ec;
      buffer_.erase(0, parser_->put(asio::buffer(buffer_), ec));
      if (ec == http::error::need_more) {
        if (buffer_.size() == kBufferBytesMax)
          return Refuse(400, "the head of a chunk is too long");
        break;
      }
      if (ec) return Refuse(StatusOfError(ec), absl::StrCat("not a valid request: ", ec.message()));
      if (parser_->is_header_done() && !std::exchange(head_done_, true) && !TakeHead()) return;
      if (!CountBody()) return Refuse(503, "too much is being sent to this server; try again");
      if (parser_->is_done()) return ServeRequest();
    }
    ReadMore();
  }

  // The head is here. False when the request is already answered.
  bool TakeHead() {
    const auto& message = parser_->get();
    request_ = HttpRequest();
    request_.method = std::string(message.method_string());
    request_.path = PathOf({message.target().data(), message.target().size()});
    for (const auto& field : message) {
      request_.headers.push_back({std::string(field.name_string()), std::string(field.value())});
    }
    is_http_1_1_ = message.version() == 11;
    may_keep_ = parser_->keep_alive();
    const HeadProblem problem = CheckHead(request_, is_http_1_1_, hub_.options.hosts);
    if (problem.status != 0) {
      Refuse(problem.status, problem.message);
      return false;
    }
    if (const std::optional<HttpReply> refusal = hub_.handler->Screen(&request_)) {
      if (!parser_->is_done()) may_keep_ = false;  // Its body is not read.
      Answer(*refusal);
      return false;
    }
    if (parser_->is_done()) return true;
    SetDeadline(hub_.options.body_timeout);
    parser_->eager(true);
    if (is_http_1_1_ && ExpectsContinue(request_) && buffer_.empty()) {
      Send("HTTP/1.1 100 Continue\r\n\r\n", After::kNothing);
    }
    return true;
  }

  bool CountBody() {
    const auto bytes = static_cast<int64_t>(parser_->get().body().size());
    hub_.bodies_bytes += bytes - body_bytes_;
    body_bytes_ = bytes;
    return hub_.bodies_bytes <= hub_.options.bodies_bytes_max;
  }

  void ServeRequest() {
    state_ = State::kAnswering;
    SetDeadline(absl::InfiniteDuration());
    request_.body = std::move(parser_->get().body());
    exchange_ = std::make_shared<LiveExchange>(this->shared_from_this());
    ReadMore();
    hub_.handler->Serve(std::move(request_), exchange_);
  }

  void ReadMore() {
    const size_t room = kBufferBytesMax - buffer_.size();
    if (reading_ || read_ended_ || state_ == State::kClosed || room == 0) return;
    reading_ = true;
    // Not into buffer_, which changes while a read is pending.
    stream_.async_read_some(asio::buffer(read_bytes_.get(), std::min(room, kReadBytes)),
                            [self = this->shared_from_this()](error_code ec, size_t bytes) {
                              self->OnRead(ec, bytes);
                            });
  }

  void OnRead(const error_code& ec, size_t bytes) {
    reading_ = false;
    if (state_ == State::kClosed) return;
    if (ec) {
      read_ended_ = true;
      // The last bytes of an answer still go out: the client may only have said that it will not
      // ask again.
      if (state_ == State::kAnswering && after_ == After::kEnd) {
        may_keep_ = false;
        keep_alive_ = false;
        return;
      }
      return Close();
    }
    buffer_.append(read_bytes_.get(), bytes);
    if (state_ == State::kReading) return ReadRequest();
    if (state_ == State::kLingering) buffer_.clear();
    ReadMore();
  }

  // ---- Answering

  void Refuse(int status, const std::string& message) {
    may_keep_ = false;
    Answer(hub_.handler->Unreadable(status, message));
  }

  bool DecideKeepAlive() { return keep_alive_ = may_keep_ && !hub_.closing; }

  void Answer(const HttpReply& reply) {
    if (after_ == After::kEnd) return;
    state_ = State::kAnswering;
    const bool with_body = !head_done_ || parser_->get().method() != http::verb::head;
    Send(ReplyText(reply, DecideKeepAlive(), with_body), After::kEnd);
  }

  void StartEvents(const std::vector<HttpHeader>& headers) {
    is_chunked_ = is_http_1_1_;
    if (!is_chunked_) may_keep_ = false;
    out_ += EventsHead(headers, DecideKeepAlive(), is_chunked_);
  }

  void SendEvents(std::string events, bool last) {
    if (is_chunked_ && !events.empty()) events = Chunk(events);
    if (is_chunked_ && last) absl::StrAppend(&events, kLastChunk);
    Send(std::move(events), last ? After::kEnd : After::kOnSent);
  }

  void Send(std::string text, After after) {
    out_ += text;
    after_ = after;
    if (!writing_) WriteAll();
  }

  void WriteAll() {
    writing_ = true;
    write_text_ = std::exchange(out_, std::string());
    written_ = 0;
    WriteSome();
  }

  void WriteSome() {
    if (state_ == State::kAnswering) SetDeadline(hub_.options.write_timeout);
    stream_.async_write_some(
        asio::buffer(write_text_.data() + written_, write_text_.size() - written_),
        [self = this->shared_from_this()](error_code ec, size_t bytes) {
          self->OnWritten(ec, bytes);
        });
  }

  void OnWritten(const error_code& ec, size_t bytes) {
    if (state_ == State::kClosed) return;
    if (ec) return Close();
    written_ += bytes;
    if (written_ < write_text_.size()) return WriteSome();
    writing_ = false;
    if (!out_.empty()) return WriteAll();
    if (state_ != State::kAnswering) return;  // That was "100 Continue".
    SetDeadline(absl::InfiniteDuration());
    switch (after_) {
      case After::kNothing:
        return;
      case After::kOnSent:
        after_ = After::kNothing;
        return responder_->OnSent();
      case After::kEnd:
        return EndExchange();
    }
  }

  void EndExchange() {
    ForgetRequest(/*sent=*/true);
    served_ = true;
    if (keep_alive_) return NextRequest();
    EndSending(&stream_, this->shared_from_this());
    state_ = State::kLingering;
    if (read_ended_) return Close();
    buffer_.clear();
    SetDeadline(kLingerTime);
    ReadMore();
  }

  void ForgetRequest(bool sent) {
    hub_.bodies_bytes -= std::exchange(body_bytes_, 0);
    const std::shared_ptr<Exchange> exchange = std::move(exchange_);
    const std::shared_ptr<Responder> responder = std::move(responder_);
    exchange_ = nullptr;
    responder_ = nullptr;
    if (responder != nullptr) responder->OnEnd(sent);
  }

  // ---- The end

  // The deadline of what the session is at; each replaces the one before.
  void SetDeadline(absl::Duration timeout) {
    ++deadline_number_;
    if (timeout == absl::InfiniteDuration()) {
      timer_.cancel();
      return;
    }
    timer_.expires_after(absl::ToChronoNanoseconds(timeout));
    timer_.async_wait(
        [self = this->shared_from_this(), number = deadline_number_](const error_code& ec) {
          if (!ec && number == self->deadline_number_) self->OnDeadline();
        });
  }

  void OnDeadline() {
    if (state_ == State::kReading && begun_) {
      return Refuse(408, head_done_ ? "the body took too long" : "the head took too long");
    }
    Close();
  }

  void Close() {
    if (std::exchange(state_, State::kClosed) == State::kClosed) return;
    ++deadline_number_;
    timer_.cancel();
    error_code ignored;
    stream_.lowest_layer().close(ignored);
    ForgetRequest(/*sent=*/false);
    hub_.Leave(this);
  }

  SessionHub& hub_;
  asio::io_context* const context_;
  Stream stream_;
  asio::steady_timer timer_;
  uint64_t deadline_number_ = 0;
  State state_ = State::kReading;

  const std::unique_ptr<char[]> read_bytes_;  // Where a pending read puts them.
  std::string buffer_;                        // Read, and not yet taken by the parser.
  std::optional<Parser> parser_;
  bool reading_ = false;     // A read is pending.
  bool read_ended_ = false;  // Nothing more will come.
  bool begun_ = false;       // Something of the request has come.
  bool head_done_ = false;
  bool served_ = false;  // A request has been answered here.
  HttpRequest request_;
  int64_t body_bytes_ = 0;  // Counted in the hub.

  std::shared_ptr<LiveExchange> exchange_;  // Of the request being answered.
  std::shared_ptr<Responder> responder_;
  bool is_http_1_1_ = false;
  bool may_keep_ = false;    // As far as the request goes.
  bool keep_alive_ = false;  // As the answer has told the client.
  bool is_chunked_ = false;
  std::string out_;  // To be written next.
  std::string write_text_;
  size_t written_ = 0;
  bool writing_ = false;
  After after_ = After::kNothing;
};

}  // namespace

void StartSession(tcp::socket socket, asio::io_context* context, SessionHub* hub) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);  // Tokens go out as they come.
  NoticeVanishedPeer(hub->options.peer_timeout, &socket);
  if (hub->options.tls != nullptr) {
    const auto session = std::make_shared<Session<TlsStream>>(
        NewTlsStream(std::move(socket), *hub->options.tls->Current()), context, hub);
    // One that finds no place ends here: nothing can be said before the handshake.
    if (hub->Enter(session)) session->Start();
    return;
  }
  const auto session = std::make_shared<Session<PlainStream>>(std::move(socket), context, hub);
  if (hub->Enter(session)) return session->Start();
  session->TurnAway();
}

}  // namespace ebb::server

// What a session's stream is, and what differs between plain and encrypted ones.
#pragma once

#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <utility>

#include "server/tls_files.h"

namespace ebb::server {

using PlainStream = boost::asio::ip::tcp::socket;
using TlsStream = boost::asio::ssl::stream<PlainStream>;

// The server's end of a connection that comes now.
inline TlsStream NewTlsStream(PlainStream socket, const TlsIdentity& identity) {
  // A context of Asio's owns what it is made of: one reference of it. The stream keeps another.
  SSL_CTX_up_ref(identity.context.get());
  boost::asio::ssl::context context(identity.context.get());
  return TlsStream(std::move(socket), context);
}

inline PlainStream* SocketOf(PlainStream* stream) { return stream; }
inline PlainStream* SocketOf(TlsStream* stream) { return &stream->next_layer(); }

// Calls `done` with how it went.
template <typename Done>
void Handshake(PlainStream*, Done done) {
  done(boost::system::error_code());
}
template <typename Done>
void Handshake(TlsStream* stream, Done done) {
  stream->async_handshake(boost::asio::ssl::stream_base::server, std::move(done));
}

// Whether a handshake failed because the client speaks HTTP without TLS.
inline bool IsPlainHttp(const boost::system::error_code& ec) {
  return ec.category() == boost::asio::error::get_ssl_category() &&
         ERR_GET_REASON(static_cast<unsigned long>(ec.value())) == SSL_R_HTTP_REQUEST;
}

// Tells the client that nothing more comes. `keep` is what the stream belongs to.
inline void EndSending(PlainStream* stream, const std::shared_ptr<void>&) {
  boost::system::error_code ignored;
  stream->shutdown(PlainStream::shutdown_send, ignored);
}
inline void EndSending(TlsStream* stream, const std::shared_ptr<void>& keep) {
  // Its own end is sent at once; the client's is not waited for.
  stream->async_shutdown([keep](const boost::system::error_code&) {});
}

}  // namespace ebb::server

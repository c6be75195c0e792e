#include "tests/server/http2_client.h"

#include "base/check.h"

namespace ebb::tests {
namespace {

std::string BigEndian(uint64_t value, int bytes) {
  std::string out;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift));
  }
  return out;
}

// RFC 7541, 5.2: a length in the lower seven bits, and a string as it is.
std::string Literal(const std::string& text) {
  std::string out;
  if (text.size() < 127) {
    out.push_back(static_cast<char>(text.size()));
  } else {
    out.push_back(127);
    size_t rest = text.size() - 127;
    for (; rest >= 128; rest >>= 7) out.push_back(static_cast<char>(rest % 128 + 128));
    out.push_back(static_cast<char>(rest));
  }
  return out + text;
}

// The first time that a connection's answers have it, the name is written out.
int StatusIn(const std::string& block) {
  const std::string name = "grpc-status";
  const size_t at = block.find(name);
  if (at == std::string::npos) return -1;
  const size_t length = at + name.size();
  CHECK_LT(length, block.size());
  return std::stoi(block.substr(length + 1, static_cast<uint8_t>(block[length])));
}

}  // namespace

Http2Client::Http2Client(const std::string& address) : socket_(address) {
  socket_.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  SendFrame(kSettings, 0, 0, "");
}

bool Http2Client::SendFrame(FrameType type, uint8_t flags, uint32_t stream,
                            const std::string& payload) {
  return socket_.Send(BigEndian(payload.size(), 3) + static_cast<char>(type) +
                      static_cast<char>(flags) + BigEndian(stream, 4) + payload);
}

std::string Http2Client::HeaderBlock(const Headers& headers) {
  std::string block;
  for (const auto& [name, value] : headers) {
    block += '\0' + Literal(name) + Literal(value);  // Not to be remembered.
  }
  return block;
}

bool Http2Client::SendCall(uint32_t stream, const std::string& method, const Headers& more) {
  Headers headers = {{":method", "POST"}, {":scheme", "http"},
                     {":path", method},   {":authority", "test"},
                     {"te", "trailers"},  {"content-type", "application/grpc"}};
  headers.insert(headers.end(), more.begin(), more.end());
  return SendFrame(kHeaders, kEndHeaders, stream, HeaderBlock(headers));
}

bool Http2Client::SendMessage(uint32_t stream, const std::string& message, bool last) {
  return SendFrame(kData, last ? kEndStream : 0, stream,
                   std::string(1, '\0') + BigEndian(message.size(), 4) + message);
}

Http2Client::Answer Http2Client::Read() {
  for (;;) {
    std::string head;
    if (!socket_.ReadBytes(9, &head)) return {};
    size_t bytes = 0;
    for (int i = 0; i < 3; ++i)
      bytes = bytes << 8 | static_cast<uint8_t>(head[static_cast<size_t>(i)]);
    std::string payload;
    if (!socket_.ReadBytes(bytes, &payload)) return {};
    const auto flags = static_cast<uint8_t>(head[4]);
    switch (static_cast<FrameType>(head[3])) {
      case kHeaders:
        if (const int status = StatusIn(payload); status >= 0) return {End::kStatus, status};
        break;
      case kResetStream:
        return {End::kStreamReset, -1};
      case kGoAway:
        return {End::kGoAway, -1};
      case kSettings:
        if ((flags & kAck) == 0) SendFrame(kSettings, kAck, 0, "");
        break;
      case kPing:
        if ((flags & kAck) == 0) SendFrame(kPing, kAck, 0, payload);
        break;
      default:
        break;
    }
  }
}

}  // namespace ebb::tests

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

std::string Http2Client::HeaderBlock(const Headers& headers, bool remembered) {
  std::string block;
  for (const auto& [name, value] : headers) {
    block += (remembered ? '\x40' : '\0') + Literal(name) + Literal(value);
  }
  return block;
}

Http2Client::Headers Http2Client::CallHeaders(const std::string& method) {
  return {{":method", "POST"},    {":scheme", "http"}, {":path", method},
          {":authority", "test"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
}

bool Http2Client::SendCall(uint32_t stream, const std::string& method, const Headers& more) {
  Headers headers = CallHeaders(method);
  headers.insert(headers.end(), more.begin(), more.end());
  return SendFrame(kHeaders, kEndHeaders, stream, HeaderBlock(headers));
}

bool Http2Client::SendMessage(uint32_t stream, const std::string& message, bool last) {
  return SendFrame(kData, last ? kEndStream : 0, stream,
                   std::string(1, '\0') + BigEndian(message.size(), 4) + message);
}

bool Http2Client::ReadFrame(Frame* frame) {
  std::string head;
  if (!socket_.ReadBytes(9, &head)) return false;
  const auto number = [&](size_t begin, size_t end) {
    uint32_t value = 0;
    for (size_t i = begin; i < end; ++i) value = value << 8 | static_cast<uint8_t>(head[i]);
    return value;
  };
  frame->payload.clear();
  if (!socket_.ReadBytes(number(0, 3), &frame->payload)) return false;
  frame->type = static_cast<FrameType>(head[3]);
  frame->flags = static_cast<uint8_t>(head[4]);
  frame->stream = number(5, 9);
  if ((frame->flags & kAck) != 0) return true;
  if (frame->type == kSettings) SendFrame(kSettings, kAck, 0, "");
  if (frame->type == kPing) SendFrame(kPing, kAck, 0, frame->payload);
  return true;
}

Http2Client::Answer Http2Client::Read() {
  Frame frame;
  while (ReadFrame(&frame)) {
    switch (frame.type) {
      case kHeaders:
        if (const int status = StatusIn(frame.payload); status >= 0) return {End::kStatus, status};
        break;
      case kResetStream:
        return {End::kStreamReset, -1};
      case kGoAway:
        return {End::kGoAway, -1};
      default:
        break;
    }
  }
  return {};
}

}  // namespace ebb::tests

// Http2Client: HTTP/2 frames as a test likes them, beside what any library would send, to a gRPC
// server. It knows as much of the protocol (RFC 9113, RFC 7541) as that takes: it writes header
// blocks without compression, and of answers it finds the gRPC status of the first call.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/server/http/http_client.h"

namespace ebb::tests {

class Http2Client {
 public:
  enum FrameType : uint8_t {
    kData = 0,
    kHeaders = 1,
    kResetStream = 3,
    kSettings = 4,
    kPing = 6,
    kGoAway = 7,
    kWindowUpdate = 8,
    kContinuation = 9,
  };
  static constexpr uint8_t kEndStream = 1;
  static constexpr uint8_t kAck = 1;
  static constexpr uint8_t kEndHeaders = 4;

  using Headers = std::vector<std::pair<std::string, std::string>>;

  // Connects and says which protocol it speaks.
  explicit Http2Client(const std::string& address);

  // Each is false when the server has closed.
  bool SendFrame(FrameType type, uint8_t flags, uint32_t stream, const std::string& payload);
  // The head of a call, with more headers behind those that a call has.
  bool SendCall(uint32_t stream, const std::string& method, const Headers& more = {});
  static Headers CallHeaders(const std::string& method);
  // A message in gRPC's framing.
  bool SendMessage(uint32_t stream, const std::string& message, bool last);

  // How the server ended something: the status of the first call that ended with one, or what came
  // instead.
  struct Frame {
    FrameType type = kData;
    uint8_t flags = 0;
    uint32_t stream = 0;
    std::string payload;
  };
  // The next frame, pings and settings answered. False when the server has closed.
  bool ReadFrame(Frame* frame);

  enum class End { kStatus, kStreamReset, kGoAway, kClosed };
  struct Answer {
    End end = End::kClosed;
    int status = -1;
  };
  Answer Read();

  // `remembered`: to be put into the dynamic table (RFC 7541, 6.2.1).
  static std::string HeaderBlock(const Headers& headers, bool remembered = false);
  HttpClient& socket() { return socket_; }

 private:
  HttpClient socket_;
};

}  // namespace ebb::tests

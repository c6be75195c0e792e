// The gRPC port under frames that no gRPC library sends: timeouts, messages too many and too few,
// encodings, floods. What answers is the gRPC library, by the limits that server/grpc_server sets;
// that they hold is what this shows. See docs/hostile-inputs.md.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/server/http2_client.h"
#include "tests/server/service_fixture.h"

namespace ebb::server {
namespace {

using tests::Http2Client;
using tests::WaitUntil;
using End = Http2Client::End;

constexpr char kGenerate[] = "/ebb.v1.Inference/Generate";

class Http2Test : public ServiceTest {
 protected:
  Http2Test() { Answers("ok"); }

  std::unique_ptr<Http2Client> Connect() {
    return std::make_unique<Http2Client>(server_->address().ToString());
  }
  static std::string HiBytes() { return Ask("hi").SerializeAsString(); }

  // Another client notices nothing.
  void ExpectServing() {
    v1::GenerateResponse response;
    const grpc::Status status = Generate(Ask("hi"), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.text(), "ok");
    EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
  }
};

int64_t ResidentBytes() {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

// A call with one message: its status.
TEST_F(Http2Test, PlainFramesAreACall) {
  const auto client = Connect();
  ASSERT_TRUE(client->SendCall(1, kGenerate));
  ASSERT_TRUE(client->SendMessage(1, HiBytes(), true));
  const Http2Client::Answer answer = client->Read();
  EXPECT_EQ(answer.end, End::kStatus);
  EXPECT_EQ(answer.status, grpc::StatusCode::OK);
}

TEST_F(Http2Test, TimeoutsThatHavePassedAreLateAtOnce) {
  for (const std::string timeout : {"0S", "0n", "00000000H"}) {
    const auto client = Connect();
    ASSERT_TRUE(client->SendCall(1, kGenerate, {{"grpc-timeout", timeout}}));
    client->SendMessage(1, HiBytes(), true);
    const Http2Client::Answer answer = client->Read();
    EXPECT_TRUE(answer.end == End::kStreamReset ||
                answer.status == grpc::StatusCode::DEADLINE_EXCEEDED)
        << timeout << ": " << answer.status;
  }
  EXPECT_TRUE(engine_.requests().empty());
  ExpectServing();
}

// Thousands of years ahead is no number that wraps round. What is no timeout by the protocol is
// none for the library.
TEST_F(Http2Test, TimeoutsThatAreNoneOrVeryLongAreNotLate) {
  for (const std::string timeout : {"99999999H", "99999999S", "999999999999999999H", "-1S",
                                    "garbage", "", "5", "S", "1.5S", "1e9S", "5 S"}) {
    const auto client = Connect();
    ASSERT_TRUE(client->SendCall(1, kGenerate, {{"grpc-timeout", timeout}}));
    client->SendMessage(1, HiBytes(), true);
    EXPECT_EQ(client->Read().status, grpc::StatusCode::OK) << timeout;
  }
}

TEST_F(Http2Test, ACallHasOneMessage) {
  const auto none = Connect();
  ASSERT_TRUE(none->SendCall(1, kGenerate));
  none->SendFrame(Http2Client::kData, Http2Client::kEndStream, 1, "");
  EXPECT_EQ(none->Read().status, grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_TRUE(engine_.requests().empty());
  // The second has no reader: the first is answered.
  const auto two = Connect();
  ASSERT_TRUE(two->SendCall(1, kGenerate));
  two->SendMessage(1, HiBytes(), false);
  two->SendMessage(1, HiBytes(), true);
  EXPECT_NE(two->Read().end, End::kClosed);
  EXPECT_LE(engine_.requests().size(), 1u);
  // After its end, a call takes nothing.
  const auto late = Connect();
  ASSERT_TRUE(late->SendCall(1, kGenerate));
  late->SendMessage(1, HiBytes(), true);
  late->SendMessage(1, HiBytes(), true);
  EXPECT_NE(late->Read().end, End::kClosed);
  EXPECT_LE(engine_.requests().size(), 2u);
  ExpectServing();
}

TEST_F(Http2Test, MessagesAreNotBelievedBeforeTheyCome) {
  // A length of 4 GiB, and nothing behind it.
  const auto claims = Connect();
  ASSERT_TRUE(claims->SendCall(1, kGenerate));
  const int64_t before = ResidentBytes();
  claims->SendFrame(Http2Client::kData, 0, 1, std::string("\0\xFF\xFF\xFF\xFF", 5) + "abc");
  v1::GenerateResponse response;
  EXPECT_TRUE(Generate(Ask("hi"), &response).ok());
  EXPECT_LT(ResidentBytes() - before, int64_t{64} << 20);
  claims->socket().Close();
  // One that ends early.
  const auto cut = Connect();
  ASSERT_TRUE(cut->SendCall(1, kGenerate));
  cut->SendFrame(Http2Client::kData, Http2Client::kEndStream, 1,
                 std::string("\0\0\0\0\x40", 5) + "abc");
  EXPECT_NE(cut->Read().status, grpc::StatusCode::OK);
  // Encodings: one that nobody knows, a message marked as compressed without one, and a small
  // message that would be a large one.
  const auto unknown = Connect();
  ASSERT_TRUE(unknown->SendCall(1, kGenerate, {{"grpc-encoding", "lzma"}}));
  unknown->SendFrame(Http2Client::kData, Http2Client::kEndStream, 1,
                     std::string("\1\0\0\0\3", 5) + "abc");
  EXPECT_NE(unknown->Read().status, grpc::StatusCode::OK);
  const auto unmarked = Connect();
  ASSERT_TRUE(unmarked->SendCall(1, kGenerate));
  unmarked->SendFrame(Http2Client::kData, Http2Client::kEndStream, 1,
                      std::string("\1\0\0\0\3", 5) + "abc");
  EXPECT_NE(unmarked->Read().status, grpc::StatusCode::OK);
  EXPECT_EQ(engine_.requests().size(), 1u);
  ExpectServing();
}

// Sends what the length of a message promises, as fast as the server's windows let it, `each` after
// every frame. How many bytes of it were taken before the server ended the call or the connection.
int64_t SendGiantMessage(Http2Client* client, int64_t bytes_max,
                         const std::function<void()>& each) {
  constexpr int64_t kFirstWindow = 65'535;  // RFC 9113, 6.9.2.
  int64_t connection_window = kFirstWindow;
  int64_t stream_window = kFirstWindow;
  int64_t initial_window = kFirstWindow;
  const auto number = [](const std::string& text, size_t at) {
    int64_t value = 0;
    for (size_t i = at; i < at + 4; ++i) value = value << 8 | static_cast<uint8_t>(text[i]);
    return value;
  };
  std::string bytes("\0\xFF\xFF\xFF\xFF", 5);
  bytes.resize(size_t{16} << 10, 'x');
  int64_t sent = 0;
  while (sent < bytes_max) {
    const int64_t room = std::min(connection_window, stream_window);
    if (room > 0) {
      const int64_t count = std::min(room, static_cast<int64_t>(bytes.size()));
      if (!client->SendFrame(Http2Client::kData, 0, 1, bytes.substr(0, static_cast<size_t>(count))))
        return sent;
      sent += count;
      connection_window -= count;
      stream_window -= count;
      bytes.replace(0, 5, 5, 'x');
      each();
      continue;
    }
    Http2Client::Frame frame;
    if (!client->ReadFrame(&frame)) return sent;
    if (frame.type == Http2Client::kResetStream || frame.type == Http2Client::kGoAway) return sent;
    if (frame.type == Http2Client::kWindowUpdate) {
      (frame.stream == 0 ? connection_window : stream_window) += number(frame.payload, 0);
    }
    if (frame.type != Http2Client::kSettings) continue;
    for (size_t at = 0; at + 6 <= frame.payload.size(); at += 6) {
      if (frame.payload[at + 1] != 4) continue;  // SETTINGS_INITIAL_WINDOW_SIZE
      const int64_t window = number(frame.payload, at + 2);
      stream_window += window - std::exchange(initial_window, window);
    }
  }
  return sent;
}

// A message of 4 GiB that really comes: it is held as it comes, and cut off long before it is
// whole, while others are served.
TEST_F(Http2Test, AGiantMessageIsCutOff) {
  // What gRPC may buffer, a window, and what the kernel holds in the sockets of both sides.
  constexpr int64_t kHeldMax = int64_t{640} << 20;
  const auto client = Connect();
  ASSERT_TRUE(client->SendCall(1, kGenerate));
  const int64_t before = ResidentBytes();
  int64_t largest = 0;
  int64_t frames = 0;
  const int64_t taken = SendGiantMessage(client.get(), int64_t{1} << 30, [&] {
    if (++frames % 256 == 0) largest = std::max(largest, ResidentBytes() - before);
    if (frames % 2048 == 1) ExpectServing();
  });
  EXPECT_LT(taken, kHeldMax);
  EXPECT_LT(largest, kHeldMax);
  ExpectServing();
}

TEST_F(Http2Test, ACompressedMessageIsMeasuredByWhatItHolds) {
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  v1::GenerateResponse response;
  // Some 16 KiB on the wire.
  const int64_t before = ResidentBytes();
  const grpc::Status status =
      stub_->Generate(&context, Ask(std::string(size_t{16} << 20, 'a')), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_TRUE(engine_.requests().empty());
  EXPECT_LT(ResidentBytes() - before, int64_t{256} << 20);
  ExpectServing();
}

TEST_F(Http2Test, LargeMetadataIsRefused) {
  grpc::ClientContext context;
  context.AddMetadata("x-note", std::string(1 << 20, 'm'));
  v1::GenerateResponse response;
  // On a connection of its own, which may be lost with it.
  const auto stub = v1::Inference::NewStub(NewChannel());
  EXPECT_FALSE(stub->Generate(&context, Ask("hi"), &response).ok());
  EXPECT_TRUE(engine_.requests().empty());
  ExpectServing();
}

// A head that never ends: it is cut off, and not kept.
TEST_F(Http2Test, AFloodOfContinuationsIsCutOff) {
  const auto client = Connect();
  ASSERT_TRUE(client->SendFrame(Http2Client::kHeaders, 0, 1,
                                Http2Client::HeaderBlock({{":method", "POST"}})));
  const int64_t before = ResidentBytes();
  const std::string block = Http2Client::HeaderBlock({{"x", std::string(8000, 'y')}});
  for (int i = 0; i < 4000; ++i) {
    if (!client->SendFrame(Http2Client::kContinuation, 0, 1, block)) break;
  }
  client->SendFrame(Http2Client::kContinuation, Http2Client::kEndHeaders, 1, "");
  EXPECT_LT(ResidentBytes() - before, int64_t{64} << 20);
  EXPECT_NE(client->Read().status, grpc::StatusCode::OK);
  ExpectServing();
}

TEST_F(Http2Test, FloodsOfFramesCostLittle) {
  const int64_t before = ResidentBytes();
  const std::string zeros(8, '\0');
  const auto pings = Connect();
  for (int i = 0; i < 20'000; ++i) {
    if (!pings->SendFrame(Http2Client::kPing, 0, 0, zeros)) break;
  }
  EXPECT_NE(pings->Read().end, End::kStatus);  // Enhance your calm.
  const auto settings = Connect();
  for (int i = 0; i < 20'000; ++i) {
    if (!settings->SendFrame(Http2Client::kSettings, 0, 0, "")) break;
  }
  const auto empty = Connect();
  ASSERT_TRUE(empty->SendCall(1, kGenerate));
  for (int i = 0; i < 20'000; ++i) {
    if (!empty->SendFrame(Http2Client::kData, 0, 1, "")) break;
  }
  const auto windows = Connect();
  for (int i = 0; i < 20'000; ++i) {
    if (!windows->SendFrame(Http2Client::kWindowUpdate, 0, 0, std::string("\x7F\xFF\xFF\xFF", 4))) {
      break;
    }
  }
  EXPECT_LT(ResidentBytes() - before, int64_t{64} << 20);
  EXPECT_TRUE(engine_.requests().empty());
  empty->socket().Close();
  ExpectServing();
}

// RFC 7541, 6.3: the dynamic table is to hold nothing, as much as it may, or 1 MiB.
const std::string kTableEmptied = "\x20";
const std::string kTableWhole = "\x3F\xE1\x1F";
const std::string kTableTooLarge = "\x3F\xE1\xFF\x3F";

// Each head empties the table twice over and fills it again, many times its size.
TEST_F(Http2Test, HeadsThatThrashTheTableCostLittle) {
  constexpr uint32_t kHeads = 1000;
  const auto client = Connect();
  const std::string call = Http2Client::HeaderBlock(Http2Client::CallHeaders(kGenerate));
  const int64_t before = ResidentBytes();
  const std::clock_t started = std::clock();
  uint32_t heads = 0;
  for (; heads < kHeads; ++heads) {
    Http2Client::Headers more;
    for (uint32_t i = 0; i < 150; ++i) {
      more.emplace_back("x-" + std::to_string(heads * 150 + i), std::string(i % 40, 'v'));
    }
    if (!client->SendFrame(Http2Client::kHeaders,
                           Http2Client::kEndHeaders | Http2Client::kEndStream, 2 * heads + 1,
                           kTableEmptied + kTableWhole + call +
                               Http2Client::HeaderBlock(more, /*remembered=*/true))) {
      break;
    }
    if (heads % 250 == 0) ExpectServing();
  }
  EXPECT_NE(client->Read().status, grpc::StatusCode::OK);
  EXPECT_LT(ResidentBytes() - before, int64_t{64} << 20) << heads << " heads";
  EXPECT_LT((std::clock() - started) / CLOCKS_PER_SEC, 10) << heads << " heads";
  client->socket().Close();
  EXPECT_LE(engine_.requests().size(), 4u) << "those of the neighbour";
  ExpectServing();
}

// A head of 16 KiB that stands for 48 MiB: one entry of the table, named again and again.
TEST_F(Http2Test, AHeadIsMeasuredByWhatItStandsFor) {
  const auto client = Connect();
  const std::string block =
      Http2Client::HeaderBlock({{"x", std::string(4000, 'y')}}, /*remembered=*/true) +
      std::string(12'000, '\xBE');
  const int64_t before = ResidentBytes();
  for (uint32_t stream = 1; stream < 40; stream += 2) {
    if (!client->SendFrame(Http2Client::kHeaders,
                           Http2Client::kEndHeaders | Http2Client::kEndStream, stream, block)) {
      break;
    }
    EXPECT_NE(client->Read().status, grpc::StatusCode::OK);
  }
  EXPECT_LT(ResidentBytes() - before, int64_t{64} << 20);
  client->socket().Close();
  ExpectServing();
}

// Good calls, but for what their heads do to the table.
TEST_F(Http2Test, HeadsThatTheTableDoesNotAllowAreRefused) {
  const std::string call = Http2Client::HeaderBlock(Http2Client::CallHeaders(kGenerate));
  const std::string bad[] = {
      kTableTooLarge + call,
      kTableEmptied + kTableWhole + kTableEmptied + kTableWhole + call,
      call + "\x80",                                  // Entry 0, which is none.
      call + "\xFF\xFF\xFF\x7F",                      // An entry far behind the last.
      call + "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",  // One whose number has no end.
  };
  for (const std::string& block : bad) {
    const auto client = Connect();
    ASSERT_TRUE(client->SendFrame(Http2Client::kHeaders, Http2Client::kEndHeaders, 1, block));
    client->SendMessage(1, HiBytes(), true);
    EXPECT_NE(client->Read().status, grpc::StatusCode::OK);
  }
  EXPECT_TRUE(engine_.requests().empty());
  ExpectServing();
}

// Calls that are taken back in the same breath, over and over.
TEST_F(Http2Test, RapidResetsLeaveNothingBehind) {
  Answers("ok", [] {
    engine::FakeEngine::Script held;
    held.hold_after = 0;
    return held;
  }());
  const auto client = Connect();
  for (uint32_t stream = 1; stream < 4000; stream += 2) {
    if (!client->SendCall(stream, kGenerate)) break;
    client->SendMessage(stream, HiBytes(), true);
    client->SendFrame(Http2Client::kResetStream, 0, stream, std::string("\0\0\0\x08", 4));
  }
  EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
  Answers("ok");
  ExpectServing();
}

TEST_F(Http2Test, WhatIsNoHttp2IsCutOff) {
  for (const std::string& text :
       {std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), std::string("SSH-2.0-x\r\n"),
        std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03", 11) + std::string(500, '\x55'),
        std::string(1000, '\0')}) {
    tests::HttpClient client(server_->address().ToString());
    client.Send(text);
    client.Read();  // A GOAWAY, or nothing.
    std::string rest;
    while (client.ReadBytes(1, &rest)) {
    }
    EXPECT_LT(rest.size(), 200u);
  }
  EXPECT_TRUE(engine_.requests().empty());
  // A frame that is larger than was agreed on; a stream whose number is a server's.
  const auto large = Connect();
  large->SendFrame(Http2Client::kData, 0, 1, std::string(1 << 20, 'x'));
  EXPECT_NE(large->Read().end, End::kStatus);
  const auto even = Connect();
  even->SendCall(2, kGenerate);
  even->SendMessage(2, HiBytes(), true);
  ExpectServing();
}

}  // namespace
}  // namespace ebb::server

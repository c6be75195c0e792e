// Clients that are gone without a word: no FIN, no reset, nothing acknowledged. Their requests end
// once, within peer_timeout, and other clients notice nothing.
#include <string>

#include "tests/server/http/http_fixture.h"
#include "tests/server/http2_client.h"
#include "tests/server/service_fixture.h"

namespace ebb::server {
namespace {

using tests::Http2Client;
using tests::HttpAnswer;
using tests::HttpClient;
using tests::WaitUntil;

constexpr absl::Duration kPeerTimeout = absl::Seconds(2);
// Several times that, for a machine that is busy.
constexpr absl::Duration kNoticed = absl::Seconds(20);

class VanishedHttpPeerTest : public HttpTest {
 protected:
  VanishedHttpPeerTest() { options_.peer_timeout = kPeerTimeout; }
  void ExpectOneCancelled(absl::Time since) {
    EXPECT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == 1; }));
    EXPECT_LT(clock_.Now() - since, kNoticed);
    EXPECT_EQ(engine_.cancel_count(), 1);
    EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
    EXPECT_TRUE(WaitUntil([&] { return server_->connection_count() == 1; })) << "the other's";
  }
};

// Nothing is on its way to the client, so that only asking tells.
TEST_F(VanishedHttpPeerTest, EndsARequestThatWaitsForItsAnswer) {
  Answers("abcdef", Held(2));
  const auto other = Connect();
  EXPECT_EQ(other->Get("/version").status, 200);
  const auto gone = Connect();
  ASSERT_TRUE(gone->Send(HttpClient::PostText("/v1/completions", R"({"prompt":"hi"})")));
  ASSERT_TRUE(WaitUntil([&] { return engine_.requests().size() == 1; }));
  gone->Vanish();
  ExpectOneCancelled(clock_.Now());
  EXPECT_EQ(other->Get("/version").status, 200) << "idle meanwhile, and still there";
}

// A stream that goes on writes into the system's buffer, and no write of ours ever stands still.
TEST_F(VanishedHttpPeerTest, EndsAStream) {
  Answers("abcdef", Held(5));
  const auto other = Connect();
  EXPECT_EQ(other->Get("/version").status, 200);
  const auto gone = Connect();
  gone->Vanish();  // What it sends still goes out; the answer to it is never acknowledged.
  ASSERT_TRUE(
      gone->Send(HttpClient::PostText("/v1/completions", R"({"prompt":"hi","stream":true})")));
  ASSERT_TRUE(WaitUntil([&] { return engine_.requests().size() == 1; }));
  ExpectOneCancelled(clock_.Now());
  EXPECT_EQ(other->Get("/version").status, 200);
}

class VanishedGrpcPeerTest : public ServiceTest {
 protected:
  VanishedGrpcPeerTest() : ServiceTest(/*access=*/nullptr, /*operators=*/nullptr, kPeerTimeout) {}

  // Another client's stream is open all the while, and ends as it should.
  void ExpectTheOneEnds(const std::function<void(Http2Client*)>& vanish) {
    Answers("abcdef", Held(2));
    Http2Client gone(server_->address().ToString());
    ASSERT_TRUE(gone.SendCall(1, "/ebb.v1.Inference/GenerateStream"));
    ASSERT_TRUE(gone.SendMessage(1, Ask("hi").SerializeAsString(), true));
    ASSERT_TRUE(WaitUntil([&] { return engine_.requests().size() == 1; }));
    grpc::ClientContext context;
    const auto other = stub_->GenerateStream(&context, Ask("hi"));
    ASSERT_TRUE(WaitUntil([&] { return engine_.requests().size() == 2; }));
    const absl::Time since = clock_.Now();
    vanish(&gone);
    EXPECT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == 1; }));
    EXPECT_LT(clock_.Now() - since, kNoticed);
    EXPECT_EQ(engine_.cancel_count(), 1);
    engine_.ReleaseHeld();
    v1::GenerateStreamResponse message;
    while (other->Read(&message)) {
    }
    EXPECT_TRUE(other->Finish().ok());
    EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
    EXPECT_EQ(engine_.cancel_count(), 1);
  }
};

TEST_F(VanishedGrpcPeerTest, EndsItsCalls) {
  ExpectTheOneEnds([](Http2Client* gone) { gone->socket().Vanish(); });
}

// Its system goes on acknowledging, as that of a process that was stopped does, or a proxy's whose
// client is gone: only a ping that nobody answers tells.
TEST_F(VanishedGrpcPeerTest, EndsTheCallsOfOneThatHangs) {
  ExpectTheOneEnds([](Http2Client*) {});
}

}  // namespace
}  // namespace ebb::server

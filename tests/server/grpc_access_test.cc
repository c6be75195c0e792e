// What a call's metadata says of its caller; tokens are access_test's.
#include "server/grpc_access.h"

#include <string>
#include <vector>

#include "tests/server/service_fixture.h"

namespace ebb::server {
namespace {

TEST_F(ServiceTest, ATraceIsCarriedToTheEngine) {
  const std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  for (const std::vector<std::string>& headers :
       {std::vector<std::string>{good}, {"00-0"}, {good, good}, {}}) {
    grpc::ClientContext context;
    for (const std::string& header : headers) context.AddMetadata("traceparent", header);
    v1::GenerateResponse response;
    EXPECT_TRUE(stub_->Generate(&context, Ask("hi"), &response).ok());
  }
  const std::vector<engine::Request> seen = engine_.requests();
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0].trace_id, "0af7651916cd43dd8448eb211c80319c");
  for (size_t i = 1; i < seen.size(); ++i) EXPECT_EQ(seen[i].trace_id, "");
}

}  // namespace
}  // namespace ebb::server

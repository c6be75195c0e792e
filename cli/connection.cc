#include "cli/connection.h"

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/support/client_interceptor.h"

namespace ebb::cli {
namespace {

constexpr absl::string_view kUnixScheme = "unix:";

// Puts the token into every call. (gRPC's own way to do that wants an encrypted channel.)
class TokenSender final : public grpc::experimental::Interceptor {
 public:
  explicit TokenSender(std::string authorization) : authorization_(std::move(authorization)) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            grpc::experimental::InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace("authorization", authorization_);
    }
    methods->Proceed();
  }

 private:
  const std::string authorization_;
};

class TokenSenderFactory final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit TokenSenderFactory(std::string authorization)
      : authorization_(std::move(authorization)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo*) override {
    return new TokenSender(authorization_);  // gRPC deletes it.
  }

 private:
  const std::string authorization_;
};

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, const std::string& token,
                                           const Credentials& credentials) {
  grpc::ChannelArguments arguments;
  // Prompt log-probabilities of a long prompt pass gRPC's standard limit of 4 MiB.
  arguments.SetMaxReceiveMessageSize(-1);
  // A server that has just been started is found at once, not after a growing pause.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // The address is ours to judge, not a proxy's.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> senders;
  if (!token.empty()) {
    senders.push_back(std::make_unique<TokenSenderFactory>(absl::StrCat("Bearer ", token)));
  }
  // Servers do not encrypt what passes a Unix socket.
  const bool encrypted = !credentials.ca_pem.empty() && !absl::StartsWith(address, kUnixScheme);
  return grpc::experimental::CreateCustomChannelWithInterceptors(
      address,
      encrypted ? grpc::SslCredentials(
                      {credentials.ca_pem, credentials.key_pem, credentials.certificate_pem})
                : grpc::InsecureChannelCredentials(),
      arguments, std::move(senders));
}

// To Control: `main` where neither its address nor its token is another.
std::shared_ptr<grpc::Channel> ControlChannel(const std::shared_ptr<grpc::Channel>& main,
                                              const Addresses& addresses,
                                              const Credentials& credentials) {
  if (addresses.control.empty() && credentials.control_token.empty()) return main;
  const bool apart = !addresses.control.empty();
  const bool own_token = !credentials.control_token.empty();
  return MakeChannel(apart ? addresses.control : addresses.address,
                     own_token ? credentials.control_token : credentials.token, credentials);
}

}  // namespace

absl::Status CheckAddress(absl::string_view option, absl::string_view address) {
  if (absl::StartsWith(address, kUnixScheme) && address.size() > kUnixScheme.size()) {
    return absl::OkStatus();
  }
  const size_t colon = address.rfind(':');
  const absl::string_view host = address.substr(0, colon);
  const absl::string_view port = colon == absl::string_view::npos ? "" : address.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const bool host_ok = !host.empty() && host.find_first_of("/% \t\n") == absl::string_view::npos &&
                       (bracketed || host.find_first_of(":[]") == absl::string_view::npos);
  const bool digits =
      !port.empty() && port.find_first_not_of("0123456789") == absl::string_view::npos;
  int number = 0;
  if (host_ok && digits && absl::SimpleAtoi(port, &number) && number >= 1 && number <= 65535) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--", option, ": must be ADDR:PORT with a port from 1 to 65535, such as ",
                   kDefaultAddress, " or [::1]:50051; not \"", address, "\""));
}

Connection::Connection(const Addresses& addresses, const Credentials& credentials)
    : address_(addresses.address),
      encrypted_(!credentials.ca_pem.empty()),
      channel_(MakeChannel(address_, credentials.token, credentials)),
      inference_(v1::Inference::NewStub(channel_)),
      control_(v1::Control::NewStub(ControlChannel(channel_, addresses, credentials))) {}

bool Connection::WaitUntilReachable(absl::Duration timeout) const {
  return channel_->WaitForConnected(std::chrono::system_clock::now() +
                                    absl::ToChronoMilliseconds(timeout));
}

bool Connection::IsUnreachable(const grpc::Status& status) const {
  // The channel's own failures are told from a server's UNAVAILABLE by what gRPC calls them: the
  // state of the channel may have changed since.
  return status.error_code() == grpc::StatusCode::UNAVAILABLE &&
         (absl::StartsWith(status.error_message(), "failed to connect to all addresses") ||
          absl::StartsWith(status.error_message(), "DNS resolution failed") ||
          absl::StrContains(status.error_message(), "name resolution") ||
          absl::StrContains(status.error_message(), "empty address list"));
}

std::string Connection::Explain(const grpc::Status& status) const {
  if (IsUnreachable(status)) {
    return absl::StrCat("no server answers at ", address_,
                        "\n  start one with ./run, or name another with --address ADDR:PORT\n",
                        encrypted_ ? "" : "  one that speaks TLS wants --tls-ca FILE\n", "  (",
                        status.error_message(), ")");
  }
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    return absl::StrCat(
        "the server at ", address_, " does not serve this call",
        "\n  one with server.control_listen serves Control there: name that address "
        "with --control-address");
  }
  return absl::StrCat(StatusCodeName(status.error_code()), ": ", status.error_message());
}

absl::string_view StatusCodeName(grpc::StatusCode code) {
  constexpr absl::string_view kNames[] = {"OK",
                                          "CANCELLED",
                                          "UNKNOWN",
                                          "INVALID_ARGUMENT",
                                          "DEADLINE_EXCEEDED",
                                          "NOT_FOUND",
                                          "ALREADY_EXISTS",
                                          "PERMISSION_DENIED",
                                          "RESOURCE_EXHAUSTED",
                                          "FAILED_PRECONDITION",
                                          "ABORTED",
                                          "OUT_OF_RANGE",
                                          "UNIMPLEMENTED",
                                          "INTERNAL",
                                          "UNAVAILABLE",
                                          "DATA_LOSS",
                                          "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "UNKNOWN";
}

}  // namespace ebb::cli

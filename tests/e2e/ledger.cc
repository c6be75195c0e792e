#include "tests/e2e/ledger.h"

#include <algorithm>
#include <cctype>

#include "gtest/gtest.h"

namespace ebb::tests {
namespace {

using Seen = Ledger::Seen;

absl::StatusCode CodeOf(const grpc::Status& status) {
  return static_cast<absl::StatusCode>(status.error_code());
}

Seen SeenByUnary(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return Seen::kEnded;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::UNIMPLEMENTED:
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::FAILED_PRECONDITION:
      return Seen::kRefused;
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Seen::kLeft;
    default:
      return Seen::kUnclear;
  }
}

// The status of an answer over HTTP, by the name in its error, of events in the last one.
absl::StatusCode CodeOf(const HttpAnswer& answer) {
  nlohmann::json body = answer.Json();
  const std::vector<std::string> events = answer.Events();
  if (body.is_null() && !events.empty() && events.back() != "[DONE]") {
    body = nlohmann::json::parse(events.back(), nullptr, false);
  }
  if (!body.is_object() || !body.contains("error")) return absl::StatusCode::kOk;
  const nlohmann::json& code = body["error"]["code"];
  for (int c = 0; c <= 16; ++c) {
    std::string name = absl::StatusCodeToString(static_cast<absl::StatusCode>(c));
    for (char& letter : name) letter = static_cast<char>(std::tolower(letter));
    if (code == name) return static_cast<absl::StatusCode>(c);
  }
  return absl::StatusCode::kUnknown;
}

}  // namespace

void Ledger::Record(const std::string& id, Seen seen, absl::StatusCode code) {
  base::MutexLock lock(&mutex_);
  entries_[id].push_back({seen, absl::StatusCodeToString(code)});
}

void Ledger::Record(const std::string& id, const grpc::Status& unary) {
  Record(id, SeenByUnary(unary), CodeOf(unary));
}

void Ledger::Record(const std::string& id, const Streamed& streamed) {
  EXPECT_EQ(streamed.finished_count, streamed.status.ok() ? 1 : 0) << id;
  if (streamed.accepted) {
    EXPECT_EQ(streamed.request_id, id);
  }
  Seen seen = SeenByUnary(streamed.status);
  if (seen != Seen::kLeft) seen = streamed.accepted ? Seen::kEnded : Seen::kRefused;
  Record(id, seen, CodeOf(streamed.status));
}

void Ledger::Record(const std::string& id, const HttpAnswer& answer) {
  Seen seen = Seen::kUnclear;
  if (answer.status == 0) {
    seen = Seen::kLeft;
  } else if (answer.status == 200) {
    seen = Seen::kEnded;
  } else if (answer.status < 429 || answer.status == 501) {
    seen = Seen::kRefused;
  }
  Record(id, seen, CodeOf(answer));
}

void Ledger::ExpectBalanced(const ServerProcess& server) const {
  base::MutexLock lock(&mutex_);
  std::map<std::string, std::vector<std::string>> logged;
  const std::vector<nlohmann::json> lines = server.Lines("request_finished");
  for (const nlohmann::json& line : lines) {
    logged[line["label"].get<std::string>()].push_back(line["status"].get<std::string>());
  }
  for (const auto& [id, statuses] : logged) {
    EXPECT_EQ(entries_.count(id), 1u) << id << " is nobody's";
  }
  for (const auto& [id, entries] : entries_) {
    std::vector<std::string> left = logged[id];
    size_t optional_count = 0;
    for (const Entry& entry : entries) {
      const auto found = std::find(left.begin(), left.end(), entry.status);
      if (entry.seen == Seen::kEnded) {
        EXPECT_NE(found, left.end()) << id << " ended with " << entry.status << " for its client";
      }
      const bool matches = entry.seen == Seen::kEnded || entry.seen == Seen::kUnclear;
      if (matches && found != left.end()) left.erase(found);
      if (entry.seen == Seen::kLeft) ++optional_count;
    }
    EXPECT_LE(left.size(), optional_count) << id << " is logged too often";
  }
  // The server's own count, of which the log is a copy.
  const std::vector<nlohmann::json> stopped = server.Lines("stopped");
  ASSERT_EQ(stopped.size(), 1u) << server.errors();
  EXPECT_EQ(stopped[0]["requests_total"], lines.size());
  EXPECT_EQ(server.other_line_count(), 0) << server.output();
}

}  // namespace ebb::tests

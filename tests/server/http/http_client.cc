#include "tests/server/http/http_client.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <utility>

#include "base/check.h"

namespace ebb::tests {
namespace {

constexpr int kLimitSeconds = 30;

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::string HttpAnswer::Header(const std::string& name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return "";
}

nlohmann::json HttpAnswer::Json() const {
  nlohmann::json json = nlohmann::json::parse(body, nullptr, false);
  return json.is_discarded() ? nlohmann::json() : json;
}

std::vector<std::string> HttpAnswer::Events() const {
  std::vector<std::string> events;
  size_t at = 0;
  for (size_t end; (end = body.find("\n\n", at)) != std::string::npos; at = end + 2) {
    const std::string event = body.substr(at, end - at);
    events.push_back(event.rfind("data: ", 0) == 0 ? event.substr(6) : "not an event: " + event);
  }
  if (at != body.size()) events.push_back("cut off: " + body.substr(at));
  return events;
}

HttpClient::HttpClient(const std::string& address) {
  const size_t colon = address.rfind(':');
  CHECK(colon != std::string::npos);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.substr(colon + 1).c_str())));
  CHECK_EQ(inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr), 1);
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_GE(fd_, 0);
  const timeval limit = {kLimitSeconds, 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0) Close();
}

HttpClient::~HttpClient() { Close(); }

void HttpClient::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

void HttpClient::Reset() {
  const linger at_once = {1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  Close();
}

void HttpClient::Vanish() {
  sock_filter drop_all = {BPF_RET, 0, 0, 0};
  const sock_fprog filter = {1, &drop_all};
  CHECK_EQ(setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)), 0);
}

ssize_t HttpClient::Put(const char* bytes, size_t count) {
  return send(fd_, bytes, count, MSG_NOSIGNAL);
}

ssize_t HttpClient::Take(char* bytes, size_t count) { return recv(fd_, bytes, count, 0); }

bool HttpClient::Send(const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = Put(bytes.data() + sent, bytes.size() - sent);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

bool HttpClient::Fill() {
  char bytes[4096];
  const ssize_t n = Take(bytes, sizeof(bytes));
  if (n <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(n));
  return true;
}

bool HttpClient::TakeUntil(const std::string& end, std::string* out) {
  size_t at = 0;
  while ((at = buffer_.find(end)) == std::string::npos) {
    if (!Fill()) return false;
  }
  *out = buffer_.substr(0, at);
  buffer_.erase(0, at + end.size());
  return true;
}

bool HttpClient::ReadBytes(size_t bytes, std::string* out) {
  while (buffer_.size() < bytes) {
    if (!Fill()) return false;
  }
  out->append(buffer_, 0, bytes);
  buffer_.erase(0, bytes);
  return true;
}

bool HttpClient::TakeChunks(std::string* out) {
  for (;;) {
    std::string line;
    if (!TakeUntil("\r\n", &line)) return false;
    const size_t bytes = std::strtoul(line.c_str(), nullptr, 16);
    if (!ReadBytes(bytes, out) || !TakeUntil("\r\n", &line) || !line.empty()) return false;
    if (bytes == 0) return true;
  }
}

HttpAnswer HttpClient::Read() {
  HttpAnswer answer;
  std::string line;
  if (!TakeUntil("\r\n", &line) || line.rfind("HTTP/1.1 ", 0) != 0) return answer;
  const int status = std::atoi(line.c_str() + 9);
  while (TakeUntil("\r\n", &line) && !line.empty()) {
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) return answer;
    answer.headers.emplace_back(Lower(line.substr(0, colon)), line.substr(colon + 2));
  }
  bool whole = true;
  if (answer.Header("transfer-encoding") == "chunked") {
    whole = TakeChunks(&answer.body);
  } else if (!answer.Header("content-length").empty()) {
    whole =
        ReadBytes(std::strtoul(answer.Header("content-length").c_str(), nullptr, 10), &answer.body);
  } else if (status >= 200) {
    while (Fill()) {
    }
    answer.body = std::exchange(buffer_, "");
  }
  if (whole) answer.status = status;
  return answer;
}

std::string HttpClient::ReadUntil(const std::string& text) {
  std::string read;
  if (!TakeUntil(text, &read)) return "";
  return read + text;
}

bool HttpClient::ReadsEnd() {
  if (!buffer_.empty()) return false;
  char byte;
  return Take(&byte, 1) == 0;
}

std::string HttpClient::PostText(const std::string& path, const std::string& body,
                                 const std::string& more_headers) {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
         more_headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

HttpAnswer HttpClient::Get(const std::string& path) {
  if (!Send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")) return {};
  return Read();
}

HttpAnswer HttpClient::Post(const std::string& path, const std::string& body,
                            const std::string& more_headers) {
  if (!Send(PostText(path, body, more_headers))) return {};
  return Read();
}

}  // namespace ebb::tests

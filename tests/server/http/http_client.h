// HttpClient: one connection of the loopback, on which a test writes what bytes it likes, and reads
// answers. Waiting has a limit, so that a server that hangs fails a test and does not stop it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace ebb::tests {

struct HttpAnswer {
  int status = 0;  // 0: the connection ended, or nothing came in time.
  std::vector<std::pair<std::string, std::string>> headers;  // Names in small letters.
  std::string body;                                          // Put together from its chunks.

  std::string Header(const std::string& name) const;
  // Null when the body is no JSON.
  nlohmann::json Json() const;
  // What followed "data: " in each event, in order.
  std::vector<std::string> Events() const;
};

class HttpClient {
 public:
  // `address`: "127.0.0.1:8000".
  explicit HttpClient(const std::string& address);
  virtual ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // False when the server has closed.
  bool Send(const std::string& bytes);
  HttpAnswer Read();
  // Reads until `text` has come, and gives everything so far, "" when it does not come.
  std::string ReadUntil(const std::string& text);
  // False when so many do not come; they are appended to what is in `out`.
  bool ReadBytes(size_t bytes, std::string* out);
  // Whether the server ends the connection, with nothing more to read.
  bool ReadsEnd();
  // Ends the connection as a client does that is killed.
  void Close();
  // The same, and what is under way is lost: the server's side gets a reset.
  void Reset();
  // From now on nothing that comes is taken or acknowledged, and the other side is not told: so is
  // a client that is switched off, or whose cable is cut.
  void Vanish();

  HttpAnswer Get(const std::string& path);
  HttpAnswer Post(const std::string& path, const std::string& body,
                  const std::string& more_headers = "");

  static std::string PostText(const std::string& path, const std::string& body,
                              const std::string& more_headers = "");

 protected:
  // As send() and recv(); here they are.
  virtual ssize_t Put(const char* bytes, size_t count);
  virtual ssize_t Take(char* bytes, size_t count);
  int fd() const { return fd_; }

 private:
  bool Fill();
  // Up to and without `end`, which is taken too. False when it does not come.
  bool TakeUntil(const std::string& end, std::string* out);
  bool TakeChunks(std::string* out);

  int fd_ = -1;
  std::string buffer_;
};

}  // namespace ebb::tests

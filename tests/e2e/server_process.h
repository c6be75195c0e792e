// ServerProcess: the real ebb_server, started for a test, on a port of its own choice.
//
// Its standard output is read as it comes, a JSON object a line; its standard error is kept. It is
// killed, by its process id, when the test is done with it, or when the test dies.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "nlohmann/json.hpp"

namespace ebb::tests {

// Where ./run keeps the model; empty when it is not there.
std::string ModelPath();

class ServerProcess {
 public:
  static constexpr std::chrono::seconds kLimit{60};

  // Starts `server/ebb_server` of the runfiles with these arguments, and with these variables
  // ("NAME=value") beside the test's own.
  explicit ServerProcess(const std::vector<std::string>& arguments,
                         const std::vector<std::string>& variables = {});
  // SIGKILL, if it still runs.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // A server of configs/cpu.json with the model, on a free port of the loopback, with these
  // settings besides; ready. Null, and a test failure, when it does not become ready.
  static std::unique_ptr<ServerProcess> StartReady(const std::vector<std::string>& sets = {});

  // Waits for a line with this event. Null JSON when the process ends or the limit passes first.
  nlohmann::json WaitForEvent(const std::string& event);
  // The address of the ready line. REQUIRES: the process is ready.
  std::string address() const;
  // Likewise; empty where HTTP is off.
  std::string http_address() const;
  std::vector<nlohmann::json> Lines(const std::string& event) const;
  // Lines of standard output that are no JSON object with an event.
  int other_line_count() const;
  // All of standard output and standard error so far.
  std::string output() const;
  std::string errors() const;

  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // The exit code; 128 + the signal that ended it; -1 when it still runs after the limit. All
  // output has been read when it returns.
  int Wait(std::chrono::seconds limit = kLimit);

 private:
  void ReadLines(int fd);
  void ReadErrors(int fd);

  pid_t pid_ = -1;
  int exit_code_ = -1;
  bool reaped_ = false;
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::string output_ ABSL_GUARDED_BY(mutex_);
  std::string errors_ ABSL_GUARDED_BY(mutex_);
  std::vector<nlohmann::json> lines_ ABSL_GUARDED_BY(mutex_);
  int other_line_count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool output_ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread output_reader_;
  std::thread error_reader_;
};

}  // namespace ebb::tests

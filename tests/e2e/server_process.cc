#include "tests/e2e/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/check.h"
#include "gtest/gtest.h"
#include "tests/server/wait_until.h"

namespace ebb::tests {

std::string ModelPath() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  const char* const home = std::getenv("HOME");
  const std::string base =
      cache != nullptr ? cache : std::string(home == nullptr ? "" : home) + "/.cache";
  const std::string path = base + "/ebb/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  return access(path.c_str(), R_OK) == 0 ? path : "";
}

ServerProcess::ServerProcess(const std::vector<std::string>& arguments,
                             const std::vector<std::string>& variables) {
  std::vector<std::string> all = {"server/ebb_server"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : all) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<std::string> added = variables;
  std::vector<char*> environment;
  for (std::string& variable : added) environment.push_back(variable.data());
  for (char** variable = environ; *variable != nullptr; ++variable) {
    environment.push_back(*variable);
  }
  environment.push_back(nullptr);

  int out[2];
  int err[2];
  CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
  CHECK_EQ(pipe2(err, O_CLOEXEC), 0);
  pid_ = fork();
  CHECK_GE(pid_, 0);
  if (pid_ == 0) {
    // Only what is safe between fork and exec.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    execve(argv[0], argv.data(), environment.data());
    _exit(127);
  }
  close(out[1]);
  close(err[1]);
  output_reader_ = std::thread([this, fd = out[0]] { ReadLines(fd); });
  error_reader_ = std::thread([this, fd = err[0]] { ReadErrors(fd); });
}

ServerProcess::~ServerProcess() {
  if (!reaped_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (output_reader_.joinable()) output_reader_.join();
  if (error_reader_.joinable()) error_reader_.join();
}

std::unique_ptr<ServerProcess> ServerProcess::StartReady(const std::vector<std::string>& sets) {
  const std::string model = ModelPath();
  if (model.empty()) {
    ADD_FAILURE() << "the model is missing: run ./run --setup";
    return nullptr;
  }
  std::vector<std::string> arguments = {"--config", "configs/cpu.json", "--model",
                                        model,      "--listen",         "127.0.0.1:0"};
  for (const std::string& set : sets) {
    arguments.push_back("--set");
    arguments.push_back(set);
  }
  auto server = std::make_unique<ServerProcess>(arguments);
  if (server->WaitForEvent("ready").is_null()) {
    ADD_FAILURE() << "not ready:\n" << server->output() << server->errors();
    return nullptr;
  }
  return server;
}

nlohmann::json ServerProcess::WaitForEvent(const std::string& event) {
  const auto end = std::chrono::steady_clock::now() + kLimit;
  base::MutexLock lock(&mutex_);
  for (size_t seen = 0;;) {
    for (; seen < lines_.size(); ++seen) {
      if (lines_[seen].value("event", "") == event) return lines_[seen];
    }
    const auto left = end - std::chrono::steady_clock::now();
    if (output_ended_ || left <= left.zero()) return nullptr;
    changed_.WaitFor(&mutex_, left);
  }
}

std::string ServerProcess::address() const {
  const std::vector<nlohmann::json> ready = Lines("ready");
  CHECK_EQ(ready.size(), 1u);
  return ready[0].at("address").get<std::string>();
}

std::string ServerProcess::http_address() const {
  const std::vector<nlohmann::json> ready = Lines("ready");
  CHECK_EQ(ready.size(), 1u);
  return ready[0].at("http_address").get<std::string>();
}

std::vector<nlohmann::json> ServerProcess::Lines(const std::string& event) const {
  base::MutexLock lock(&mutex_);
  std::vector<nlohmann::json> found;
  for (const nlohmann::json& line : lines_) {
    if (line.value("event", "") == event) found.push_back(line);
  }
  return found;
}

int ServerProcess::other_line_count() const {
  base::MutexLock lock(&mutex_);
  return other_line_count_;
}

std::string ServerProcess::output() const {
  base::MutexLock lock(&mutex_);
  return output_;
}

std::string ServerProcess::errors() const {
  base::MutexLock lock(&mutex_);
  return errors_;
}

void ServerProcess::Signal(int signal) { CHECK_EQ(kill(pid_, signal), 0); }

int ServerProcess::Wait(std::chrono::seconds limit) {
  if (reaped_) return exit_code_;
  int status = 0;
  const bool ended = WaitUntil([&] { return waitpid(pid_, &status, WNOHANG) == pid_; }, limit);
  if (!ended) return -1;
  reaped_ = true;
  output_reader_.join();
  error_reader_.join();
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

void ServerProcess::ReadLines(int fd) {
  std::string partial;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t bytes = read(fd, buffer, sizeof(buffer));
    if (bytes < 0 && errno == EINTR) continue;
    base::MutexLock lock(&mutex_);
    if (bytes <= 0) {
      output_ended_ = true;
      changed_.SignalAll();
      break;
    }
    output_.append(buffer, static_cast<size_t>(bytes));
    partial.append(buffer, static_cast<size_t>(bytes));
    for (size_t end; (end = partial.find('\n')) != std::string::npos;) {
      nlohmann::json line = nlohmann::json::parse(partial.substr(0, end), nullptr, false);
      if (line.is_object() && line.contains("event") && line.contains("time")) {
        lines_.push_back(std::move(line));
      } else {
        ++other_line_count_;
      }
      partial.erase(0, end + 1);
    }
    changed_.SignalAll();
  }
  close(fd);
}

void ServerProcess::ReadErrors(int fd) {
  char buffer[4096];
  for (;;) {
    const ssize_t bytes = read(fd, buffer, sizeof(buffer));
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) break;
    base::MutexLock lock(&mutex_);
    errors_.append(buffer, static_cast<size_t>(bytes));
  }
  close(fd);
}

}  // namespace ebb::tests

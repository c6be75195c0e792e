// The real binary: signals, exit codes, streams.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/cli/fake_server.h"

namespace ebb::cli {
namespace {

// A child with its standard output in a pipe, or in a file.
class Child {
 public:
  explicit Child(std::vector<std::string> words, const char* out_file = nullptr) {
    words.insert(words.begin(), "cli/ebb");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    pid_ = fork();
    CHECK_GE(pid_, 0);
    if (pid_ == 0) {
      dup2(out_file == nullptr ? ends[1] : open(out_file, O_WRONLY), STDOUT_FILENO);
      close(ends[0]);
      close(ends[1]);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    out_ = ends[0];
  }
  ~Child() { close(out_); }

  pid_t pid() const { return pid_; }
  void CloseOutput() { close(std::exchange(out_, -1)); }
  // The next `bytes` bytes.
  std::string ReadBytes(size_t bytes) {
    std::string text(bytes, '\0');
    size_t have = 0;
    for (ssize_t n; have < bytes && (n = read(out_, &text[have], bytes - have)) > 0;) {
      have += static_cast<size_t>(n);
    }
    text.resize(have);
    return text;
  }
  std::string ReadAll() {
    std::string text;
    char buffer[4096];
    for (ssize_t n; (n = read(out_, buffer, sizeof(buffer))) > 0;) {
      text.append(buffer, static_cast<size_t>(n));
    }
    return text;
  }
  int Wait() {
    int status = 0;
    CHECK_EQ(waitpid(pid_, &status, 0), pid_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = 0;
  int out_ = -1;
};

TEST(BinaryTest, SigintCancelsOnTheServerAndExitsWith130) {
  for (const int signal : {SIGINT, SIGTERM}) {
    FakeServer server;
    Child child({"--address", server.address(), "generate", "--prompt", "forever"});
    EXPECT_EQ(child.ReadBytes(3), "H\u00e9");  // Streamed, not kept until the end.
    ASSERT_EQ(kill(child.pid(), signal), 0);
    server.AwaitCancelled();
    EXPECT_EQ(child.ReadAll(), "\n");
    EXPECT_EQ(child.Wait(), 130);
  }
}

TEST(BinaryTest, AReaderThatLeavesCancelsOnTheServer) {
  FakeServer server;
  Child child({"--address", server.address(), "generate", "--prompt", "forever"});
  child.CloseOutput();
  // The first piece of text cannot be written.
  server.AwaitCancelled();
  EXPECT_EQ(child.Wait(), 1);
}

TEST(BinaryTest, AnAnswerThatCannotBeWrittenIsAFailure) {
  FakeServer server;
  for (const char* command : {"health", "memory"}) {
    Child child({"--address", server.address(), command}, "/dev/full");
    EXPECT_EQ(child.Wait(), 1) << command;
  }
  Child whole({"--address", server.address(), "generate", "--prompt", "x", "--json"}, "/dev/full");
  EXPECT_EQ(whole.Wait(), 1);
  Child streamed({"--address", server.address(), "generate", "--prompt", "x"}, "/dev/full");
  EXPECT_EQ(streamed.Wait(), 1);
}

TEST(BinaryTest, AnswersAndExitCodes) {
  FakeServer server;
  Child good({"--address", server.address(), "generate", "--prompt", "x"});
  EXPECT_EQ(good.ReadAll(), "H\u00e9llo\n");
  EXPECT_EQ(good.Wait(), 0);
  Child refused({"--address", server.address(), "generate", "--prompt", "refuse"});
  EXPECT_EQ(refused.Wait(), 1);
  Child usage({"generate"});
  EXPECT_EQ(usage.Wait(), 2);
}

}  // namespace
}  // namespace ebb::cli

// CHECK: ends the process when one of our own invariants is broken, in release builds too.
//
// For our bugs only. What a client, a file, a device or the system does wrong is an absl::Status.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

namespace ebb::base {

// Collects the message of a failed CHECK and aborts at the end of the full expression.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition) {
    message_ << file << ":" << line << ": CHECK failed: " << condition << " ";
  }
  CheckFailure(const CheckFailure&) = delete;
  CheckFailure& operator=(const CheckFailure&) = delete;
  [[noreturn]] ~CheckFailure() {
    const std::string text = message_.str();
    std::fprintf(stderr, "%s\n", text.c_str());
    std::fflush(stderr);
    std::abort();
  }
  std::ostream& stream() { return message_; }

 private:
  std::ostringstream message_;
};

// Makes both arms of CHECK's conditional expression void.
struct CheckVoidify {
  void operator&(std::ostream&) const {}
};

}  // namespace ebb::base

#define CHECK(condition)                      \
  (condition) ? static_cast<void>(0)          \
              : ::ebb::base::CheckVoidify() & \
                    ::ebb::base::CheckFailure(__FILE__, __LINE__, #condition).stream()

#define EBB_CHECK_OP(a, op, b) CHECK((a)op(b)) << "(" << (a) << " vs " << (b) << ") "
#define CHECK_EQ(a, b) EBB_CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) EBB_CHECK_OP(a, !=, b)
#define CHECK_LT(a, b) EBB_CHECK_OP(a, <, b)
#define CHECK_LE(a, b) EBB_CHECK_OP(a, <=, b)
#define CHECK_GT(a, b) EBB_CHECK_OP(a, >, b)
#define CHECK_GE(a, b) EBB_CHECK_OP(a, >=, b)

// REQUIRES: `status_expression` gives an absl::Status. For statuses that only our bug could make
// bad.
#define CHECK_OK(status_expression)                  \
  do {                                               \
    const auto& ebb_status = (status_expression);    \
    CHECK(ebb_status.ok()) << ebb_status.ToString(); \
  } while (false)

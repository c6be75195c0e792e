// Compares chat templates that are not kept here with jinja2: see
// tests/golden/chat_template_cases.py.
//
//   bazel run //tests/model:chat_template_check -- CASES
//
// Ends with 1 if any case is rendered otherwise. To refuse what Jinja refuses, too, is to agree.

#include <fstream>
#include <iostream>
#include <map>
#include <string>

#include "tests/model/chat_cases.h"

namespace ebb::model {
namespace {

struct Count {
  int agree = 0;
  int differ = 0;
};

// What stands around the first difference.
std::string Difference(const std::string& ours, const std::string& theirs) {
  size_t at = 0;
  while (at < ours.size() && at < theirs.size() && ours[at] == theirs[at]) ++at;
  const size_t begin = at < 60 ? 0 : at - 60;
  return "  ours:   " +
         OrderedJson(ours.substr(begin, 120))
             .dump(-1, ' ', true, OrderedJson::error_handler_t::replace) +
         "\n  theirs: " +
         OrderedJson(theirs.substr(begin, 120))
             .dump(-1, ' ', true, OrderedJson::error_handler_t::replace);
}

int Check(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::map<std::string, Count> templates;
  while (std::getline(in, line)) {
    const OrderedJson item = OrderedJson::parse(line);
    const auto name = item["name"].get<std::string>();
    Count& count = templates[name.substr(0, name.find(' '))];
    const absl::StatusOr<std::string> ours = RenderCase(item);
    const bool refused = item["text"].is_null();
    if (refused ? !ours.ok() : ours.ok() && *ours == item["text"].get<std::string>()) {
      ++count.agree;
      continue;
    }
    ++count.differ;
    std::cout << name << "\n";
    if (!ours.ok()) {
      std::cout << "  ours:   " << ours.status() << "\n";
    } else if (refused) {
      std::cout << "  theirs: " << item["error"] << "\n";
    } else {
      std::cout << Difference(*ours, item["text"].get<std::string>()) << "\n";
    }
  }
  int whole = 0;
  Count all;
  for (const auto& [name, count] : templates) {
    whole += count.differ == 0 ? 1 : 0;
    all.agree += count.agree;
    all.differ += count.differ;
  }
  std::cout << whole << " of " << templates.size() << " templates agree in all cases; " << all.agree
            << " of " << all.agree + all.differ << " cases agree\n";
  return all.differ == 0 && !templates.empty() ? 0 : 1;
}

}  // namespace
}  // namespace ebb::model

int main(int argc, char** argv) {
  if (argc == 2) return ebb::model::Check(argv[1]);
  std::cerr << "usage: chat_template_check CASES\n";
  return 2;
}

#include "tests/cli/plot/svg_reader.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/check.h"

namespace ebb::cli {
namespace {

std::string Resolve(absl::string_view text) {
  CHECK(text.find('<') == text.npos) << text;
  const std::string plain = absl::StrReplaceAll(
      text, {{"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}, {"&amp;", "\x01"}});
  CHECK(plain.find('&') == plain.npos) << text;
  return absl::StrReplaceAll(plain, {{"\x01", "&"}});
}

// `inside`: what stands between < and >, without a closing slash.
SvgElement ReadStart(absl::string_view inside) {
  SvgElement element;
  const size_t name_end = std::min(inside.find(' '), inside.size());
  element.name = std::string(inside.substr(0, name_end));
  for (size_t at = name_end; at < inside.size();) {
    CHECK_EQ(inside[at], ' ');
    const size_t equals = inside.find("=\"", at);
    CHECK(equals != inside.npos) << inside;
    const size_t end = inside.find('"', equals + 2);
    CHECK(end != inside.npos) << inside;
    const bool fresh = element.attributes
                           .emplace(std::string(inside.substr(at + 1, equals - at - 1)),
                                    Resolve(inside.substr(equals + 2, end - equals - 2)))
                           .second;
    CHECK(fresh) << inside;
    at = end + 1;
  }
  return element;
}

}  // namespace

bool SvgElement::HasClass(const std::string& wanted) const {
  const auto found = attributes.find("class");
  if (found == attributes.end()) return false;
  for (absl::string_view word : absl::StrSplit(found->second, ' ')) {
    if (word == wanted) return true;
  }
  return false;
}

std::vector<SvgElement> ReadSvg(absl::string_view svg) {
  std::vector<SvgElement> elements;
  std::vector<size_t> open;
  for (size_t at = 0; at < svg.size();) {
    const size_t tag = std::min(svg.find('<', at), svg.size());
    const absl::string_view text = svg.substr(at, tag - at);
    if (!open.empty()) elements[open.back()].text += Resolve(text);
    if (tag == svg.size()) break;
    const size_t end = svg.find('>', tag);
    CHECK(end != svg.npos);
    absl::string_view inside = svg.substr(tag + 1, end - tag - 1);
    if (inside[0] == '/') {
      CHECK(!open.empty());
      CHECK_EQ(std::string(inside.substr(1)), elements[open.back()].name);
      open.pop_back();
    } else {
      const bool closed = inside.back() == '/';
      if (closed) inside.remove_suffix(1);
      elements.push_back(ReadStart(inside));
      if (!closed) open.push_back(elements.size() - 1);
    }
    at = end + 1;
  }
  CHECK(open.empty());
  return elements;
}

std::vector<const SvgElement*> WithClass(const std::vector<SvgElement>& elements,
                                         const std::string& name) {
  std::vector<const SvgElement*> found;
  for (const SvgElement& element : elements) {
    if (element.HasClass(name)) found.push_back(&element);
  }
  return found;
}

std::vector<Polyline> ReadSteps(const std::string& path) {
  std::vector<Polyline> pieces;
  const char* at = path.c_str();
  const auto number = [&at] {
    char* end = nullptr;
    const double value = std::strtod(at, &end);
    CHECK(end != at);
    at = end;
    return value;
  };
  while (*at != '\0') {
    const char verb = *at++;
    if (verb == 'M') {
      const double x = number();
      CHECK_EQ(*at++, ',');
      pieces.push_back({{x, number()}});
      continue;
    }
    CHECK(!pieces.empty());
    const auto last = pieces.back().back();
    if (verb == 'H') {
      pieces.back().emplace_back(number(), last.second);
    } else if (verb == 'V') {
      pieces.back().emplace_back(last.first, number());
    } else {
      CHECK_EQ(verb, 'Z');
    }
  }
  return pieces;
}

}  // namespace ebb::cli

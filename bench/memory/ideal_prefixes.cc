#include "bench/memory/ideal_prefixes.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <set>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace ebb::bench {
namespace {

struct Request {
  absl::Time at;
  size_t findable = 0;        // Blocks, all but that of the last token.
  std::vector<int64_t> full;  // Its blocks; those of the answer have negative ids of their own.
};

Request RequestOf(const PrefixTrace& trace, size_t index, int64_t* answer_blocks) {
  const cli::Arrival& arrival = trace.arrivals[index];
  Request request;
  request.at = absl::UnixEpoch() + arrival.at;
  request.findable = static_cast<size_t>((arrival.prompt_tokens - 1) / kPrefixBlockTokens);
  const auto of_prompt = static_cast<size_t>(arrival.prompt_tokens / kPrefixBlockTokens);
  const std::vector<int32_t>& ids = trace.blocks[index];
  request.full.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(of_prompt));
  // The last token of an answer is never computed.
  const auto all =
      static_cast<size_t>((arrival.prompt_tokens + arrival.output_tokens - 1) / kPrefixBlockTokens);
  while (request.full.size() < all) request.full.push_back(-++*answer_blocks);
  return request;
}

double Share(int64_t hit_blocks, const PrefixTrace& trace) {
  int64_t tokens = 0;
  for (const cli::Arrival& arrival : trace.arrivals) tokens += arrival.prompt_tokens;
  return static_cast<double>(hit_blocks * kPrefixBlockTokens) / static_cast<double>(tokens);
}

class IdealCache {
 public:
  IdealCache(int64_t blocks, const IdealRule& rule) : blocks_(blocks), rule_(rule) {}

  // How many blocks it finds. The request has ended when this returns.
  int64_t Serve(const Request& request) {
    while (rule_.expires && !order_.empty() && std::get<0>(*order_.begin()) <= request.at) Evict();
    size_t hits = 0;
    while (hits < request.findable && nodes_.contains(request.full[hits])) ++hits;
    // What it uses cannot go meanwhile.
    for (size_t i = 0; i < request.full.size(); ++i) {
      const auto [entry, is_new] = nodes_.try_emplace(request.full[i]);
      Node& node = entry->second;
      if (!is_new) order_.erase(RankOf(request.full[i], node));
      node.depth = static_cast<int64_t>(i);
      node.last_use = request.at;
      if (i < hits) ++node.hits;
    }
    while (static_cast<int64_t>(nodes_.size()) > blocks_ && !order_.empty()) Evict();
    for (const int64_t id : request.full) order_.insert(RankOf(id, nodes_[id]));
    return static_cast<int64_t>(hits);
  }

 private:
  struct Node {
    absl::Time last_use;
    int64_t hits = 0;
    int64_t depth = 0;
  };
  using Rank = std::tuple<absl::Time, int64_t, int64_t>;

  Rank RankOf(int64_t id, const Node& node) const {
    const double lives = rule_.counts_hits ? 1 + std::log2(1 + static_cast<double>(node.hits)) : 1;
    return {node.last_use + rule_.idle * lives, -node.depth, id};
  }
  void Evict() {
    nodes_.erase(std::get<2>(*order_.begin()));
    order_.erase(order_.begin());
  }

  const int64_t blocks_;
  const IdealRule rule_;
  absl::flat_hash_map<int64_t, Node> nodes_;
  std::set<Rank> order_;  // Of those not in use.
};

}  // namespace

double IdealHitRate(const PrefixTrace& trace, int64_t blocks, const IdealRule& rule) {
  IdealCache cache(blocks, rule);
  int64_t hits = 0;
  int64_t answer_blocks = 0;
  for (size_t i = 0; i < trace.arrivals.size(); ++i) {
    hits += cache.Serve(RequestOf(trace, i, &answer_blocks));
  }
  return Share(hits, trace);
}

double BestHitRate(const PrefixTrace& trace, int64_t blocks) {
  constexpr size_t kNever = std::numeric_limits<size_t>::max();
  int64_t answer_blocks = 0;
  std::vector<Request> requests;
  for (size_t i = 0; i < trace.arrivals.size(); ++i) {
    requests.push_back(RequestOf(trace, i, &answer_blocks));
  }
  // Of each request's blocks, which request looks for it next.
  std::vector<std::vector<size_t>> next(requests.size());
  absl::flat_hash_map<int64_t, size_t> sought;
  for (size_t i = requests.size(); i-- > 0;) {
    for (size_t block = 0; block < requests[i].full.size(); ++block) {
      const auto found = sought.find(requests[i].full[block]);
      next[i].push_back(found == sought.end() ? kNever : found->second);
      if (block < requests[i].findable) sought[requests[i].full[block]] = i;
    }
  }
  // A block's next use is never before that of those it follows: what is kept of a chain is its
  // beginning.
  std::set<std::tuple<size_t, size_t, int64_t>> kept;
  absl::flat_hash_map<int64_t, std::tuple<size_t, size_t, int64_t>> places;
  int64_t hits = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    bool all_there = true;
    for (size_t block = 0; block < requests[i].full.size(); ++block) {
      const int64_t id = requests[i].full[block];
      const auto found = places.find(id);
      all_there = all_there && block < requests[i].findable && found != places.end();
      hits += all_there;
      if (found != places.end()) {
        kept.erase(found->second);
        places.erase(found);
      }
      if (next[i][block] == kNever) continue;
      places[id] = {next[i][block], block, id};
      kept.insert(places[id]);
    }
    while (static_cast<int64_t>(kept.size()) > blocks) {
      places.erase(std::get<2>(*kept.rbegin()));
      kept.erase(std::prev(kept.end()));
    }
  }
  return Share(hits, trace);
}

}  // namespace ebb::bench

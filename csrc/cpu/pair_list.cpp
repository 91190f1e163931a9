#include "cpu/pair_list.hpp"

#include <algorithm>
#include <string>
#include <tuple>

namespace idsim::cpu {

PairList::PairList(Metric metric, const Listing& listing)
    : metric_(metric), listing_(listing), found_(listing.found_before) {}

void PairList::make_parts(int workers) {
  if (parts_.size() < static_cast<size_t>(workers)) parts_.resize(static_cast<size_t>(workers));
}

void PairList::count(int worker) {
  Part& part = parts_[static_cast<size_t>(worker)];
  const auto added = static_cast<int64_t>(part.pairs.size() - part.counted);
  if (added == 0) return;
  part.counted = part.pairs.size();
  if (found_.fetch_add(added, std::memory_order_relaxed) + added > listing_.max_pairs) {
    throw TooManyPairs("more than max_pairs = " + std::to_string(listing_.max_pairs) +
                       " pairs reach the threshold; raise the threshold or max_pairs");
  }
}

const std::vector<FoundPair>& PairList::finish() {
  for (Part& part : parts_) {
    pairs_.insert(pairs_.end(), part.pairs.begin(), part.pairs.end());
    part = {};
  }
  std::sort(pairs_.begin(), pairs_.end(), [](const FoundPair& a, const FoundPair& b) {
    return std::tie(a.query, a.id) < std::tie(b.query, b.id);
  });
  return pairs_;
}

}  // namespace idsim::cpu

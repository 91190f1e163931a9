#include "cpu/scan.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "core/error.hpp"

namespace idsim::cpu {
namespace {

// How the work is cut: runs of consecutive blocks (so that the next block can be prefetched) times groups
// of panels (so that few blocks and many queries still fill all threads).
struct Plan {
  int block_rows;
  int64_t blocks;
  int64_t blocks_per_item;
  int64_t runs;
  int64_t panels;
  int64_t panel_groups;
  int64_t items() const { return runs * panel_groups; }
};

// Zen 4, 1M x 512: beyond eight queries, coding the rows and the row scan cost less.
constexpr int64_t kMostDirect = 8;
constexpr int64_t kProductsPerItem = int64_t{1} << 29;
// Where more than one pair per kMostPassing rows passes the 4-bit codes, the next blocks are scanned without.
constexpr int kMostPassing = 4;
constexpr int kBlocksWithout = 16;

Plan make_plan(const Gallery& gallery, const Queries& queries, const ScanOptions& options) {
  Plan plan{};
  plan.block_rows = block_rows(*options.kernels, queries.d_pad());
  plan.blocks = (gallery.count() + plan.block_rows - 1) / plan.block_rows;
  plan.panels = queries.panels();
  const int64_t wanted = 4 * int64_t{options.threads};
  plan.blocks_per_item = std::clamp<int64_t>(
      std::min(64 / std::max<int64_t>(plan.panels, 1), plan.blocks / wanted), 1, 8);
  plan.runs = (plan.blocks + plan.blocks_per_item - 1) / plan.blocks_per_item;
  // Interrupts are seen between items: an item stays within some 10 ms on any instruction set in use.
  const int64_t products =
      plan.blocks_per_item * plan.block_rows * plan.panels * kPanel * queries.d_pad();
  const int64_t too_long = (products + kProductsPerItem - 1) / kProductsPerItem;
  const int64_t short_of = (wanted + plan.runs - 1) / std::max<int64_t>(plan.runs, 1);
  plan.panel_groups = std::max<int64_t>(std::clamp<int64_t>(options.threads > 1 ? short_of : 1, 1,
                                                            std::max<int64_t>(plan.panels / 4, 1)),
                                        std::min(too_long, plan.panels));
  return plan;
}

// Scratch of one worker, made when it gets its first item.
struct Worker {
  Worker(const Gallery& gallery, const Queries& queries, const Kernels& kernels, int max_rows,
         bool dense)
      : reader(gallery, queries.metric(), kernels, max_rows) {
    const int width = queries.few() && !dense ? static_cast<int>(queries.count()) : kPanel;
    if (dense) {
      dots = AlignedBuffer<int32_t>(int64_t{max_rows} * kPanel);
    } else {
      hits = AlignedBuffer<Hit>(int64_t{max_rows} * width);
    }
    if (gallery.nibbles != nullptr) {
      passing = AlignedBuffer<int32_t>(int64_t{kFewNibble} * (max_rows + 16));
    }
    if (kernels.staged_bytes != nullptr) {
      staged = AlignedBuffer<char>(kernels.staged_bytes(max_rows, queries.d_pad()));
    }
  }
  BlockReader reader;
  AlignedBuffer<Hit> hits;
  AlignedBuffer<int32_t> dots;
  AlignedBuffer<char> staged;
  AlignedBuffer<int32_t> passing;
  int blocks_without = 0;  // to be scanned without their 4-bit codes
};

// Walks the plan and hands each block, with its panels, to `visit(worker_state, worker, block, first_panel, end_panel)`.
template <class Visit>
ScanReport walk(const Gallery& gallery, const Queries& queries, const ScanOptions& options,
                bool dense, const Visit& visit) {
  if (gallery.count() == 0 || queries.count() == 0) return {};
  const Plan plan = make_plan(gallery, queries, options);
  const bool all_finite = gallery.terms != nullptr && gallery.terms->skipped == 0;
  std::vector<std::unique_ptr<Worker>> workers(static_cast<size_t>(options.threads));
  std::atomic<int64_t> skipped{0};
  std::atomic<bool> met_nonfinite{false};

  const auto body = [&](int w, int64_t item) {
    auto& worker = workers[static_cast<size_t>(w)];
    if (!worker) {
      worker = std::make_unique<Worker>(gallery, queries, *options.kernels, plan.block_rows, dense);
    }
    const int64_t group = item % plan.panel_groups;
    const int64_t first_panel = plan.panels * group / plan.panel_groups;
    const int64_t end_panel = plan.panels * (group + 1) / plan.panel_groups;
    const int64_t first_block = item / plan.panel_groups * plan.blocks_per_item;
    const int64_t end_block = std::min(first_block + plan.blocks_per_item, plan.blocks);
    for (int64_t b = first_block; b < end_block; ++b) {
      const int64_t first = b * plan.block_rows;
      const auto n = static_cast<int>(std::min<int64_t>(plan.block_rows, gallery.count() - first));
      const Block block = worker->reader.read(first, n);
      const int64_t bad = all_finite ? 0 : std::count_if(block.norm, block.norm + n, [](double x) {
        return std::isnan(x);
      });
      if (bad > 0 && !options.skip_nonfinite) {
        met_nonfinite.store(true);
        throw NonFiniteRow("gallery", gallery.first_id + first);
      }
      if (group == 0) skipped.fetch_add(bad, std::memory_order_relaxed);
      visit(*worker, w, block, first_panel, end_panel);
    }
  };
  Poll poll;
  if (options.poll) {
    const int64_t rows_per_item = plan.blocks_per_item * plan.block_rows;
    poll = [&, rows_per_item](int64_t done) {
      options.poll(std::min(done / plan.panel_groups * rows_per_item, gallery.count()));
    };
  }
  try {
    parallel_for(options.threads, plan.items(), body, poll);
  } catch (const NonFiniteRow&) {
    if (!met_nonfinite.load()) throw;
    // Workers met some bad row; name the first.
    const int64_t row = first_nonfinite_row(gallery.rows, *options.kernels);
    throw NonFiniteRow("gallery", gallery.first_id + row);
  }
  if (options.poll) options.poll(gallery.count());
  return {skipped.load()};
}

// The block's part of the tile kernels' arguments, for so many panels.
TileArgs block_args(const Kernels& kernels, Worker& worker, const Block& block, int d_pad,
                    int64_t panels) {
  TileArgs args{};
  args.staged = kernels.stage_rows != nullptr && panels >= kernels.stage_panels;
  if (args.staged) kernels.stage_rows(block.codes, block.n, d_pad, worker.staged.data());
  args.rows = args.staged ? static_cast<const void*>(worker.staged.data()) : block.codes;
  args.n_rows = block.n;
  args.d_pad = d_pad;
  args.u = block.u;
  args.v = block.v;
  args.w = block.w;
  return args;
}

// Has the i-th of so many panels fetch its part of the next block.
void fetch_next(TileArgs& args, const Kernels& kernels, const Block& block, int64_t i,
                int64_t panels) {
  const auto most = std::min<int64_t>(kernels.prefetch_parts, panels);
  const auto parts = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(most)));
  const int64_t bytes = int64_t{block.n} * args.d_pad / parts;
  args.prefetch_parts = static_cast<int>(parts);
  args.prefetch = block.next != nullptr && i < parts ? block.next + i * bytes : nullptr;
}

// Of a query's rows, those that pass the 8-bit codes.
int keep_coded(const Kernels& kernels, const RowScanArgs& args, int q, const int32_t* rows,
               int count, Hit* hits) {
  constexpr int ahead = 8;
  const auto fetch = [&](int i) {
    const uint8_t* code = args.rows + int64_t{rows[i]} * args.d_pad;
    for (int at = 0; at < args.d_pad; at += 64) __builtin_prefetch(code + at);
  };
  for (int i = 0; i < std::min(ahead, count); ++i) fetch(i);
  const int8_t* query = args.queries + int64_t{q} * args.d_pad;
  const QueryTerms terms{args.a[q], args.b[q], args.c[q]};
  int kept = 0;
  for (int i = 0; i < count; ++i) {
    if (i + ahead < count) fetch(i + ahead);
    const int row = rows[i];
    const int32_t dot = kernels.dot_i8(args.rows + int64_t{row} * args.d_pad, query, args.d_pad);
    const RowTerms x{args.u[row], args.v[row], args.w != nullptr ? args.w[row] : 0.0F};
    if (static_cast<float>(dot) >= row_limit(terms, x)) hits[kept++] = {row, q, dot};
  }
  return kept;
}

// Few queries as the scan of 4-bit codes takes them.
class NibbleQueries {
 public:
  explicit NibbleQueries(const Queries& queries)
      : queries_(queries),
        n_(static_cast<int>(queries.count())),
        bytes_(2 * nibble_bytes(queries.d_pad())),
        digits_(n_ * 2 * bytes_) {
    std::fill(digits_.data(), digits_.data() + n_ * 2 * bytes_, int8_t{0});
    for (int i = 0; i < n_; ++i) {
      int8_t* coarse = digits_.data() + i * 2 * bytes_;
      int8_t* fine = coarse + bytes_;
      std::copy_n(queries.code(i), queries.d_pad(), coarse);
      bounds_[i] = fine_digits(queries.row(i), queries.dim(), queries.d_pad(), coarse,
                               queries.scale(i), queries.bound(i), fine);
      starts_[2 * i] = -128 * std::accumulate(coarse, coarse + bytes_, 0);
      starts_[2 * i + 1] = -128 * std::accumulate(fine, fine + bytes_, 0);
    }
  }

  // Pairs of a block that pass its 4-bit codes and then its codes; passed: how many the former let through.
  int hits(const Kernels& kernels, const RowScanArgs& codes, const Block& block,
           const Collector& collector, int32_t* rows, Hit* hits, int* passed) const {
    float a[kFewNibble], b[kFewNibble], c[kFewNibble];
    for (int i = 0; i < n_; ++i) {
      const QueryTerms t = query_terms(queries_.metric(), bounds_[i], collector.reach(i));
      a[i] = t.a;
      b[i] = t.b;
      c[i] = t.c;
    }
    int counts[kFewNibble];
    kernels.nibble_scan({block.nibbles, block.n, queries_.d_pad(), digits_.data(), n_, starts_,
                         block.nibble_u, block.nibble_v, block.nibble_w, a, b, c},
                        rows, counts);
    *passed = std::accumulate(counts, counts + n_, 0);
    int count = 0;
    for (int q = 0; q < n_; ++q) {
      count += keep_coded(kernels, codes, q, rows + q * (block.n + 16), counts[q], hits + count);
    }
    return count;
  }

 private:
  const Queries& queries_;
  int n_;
  int64_t bytes_;
  AlignedBuffer<int8_t> digits_;  // [n, 2, bytes]
  int32_t starts_[2 * kFewNibble];
  QueryBound bounds_[kFewNibble];
};

}  // namespace

ScanReport scan(const Gallery& gallery, const Queries& queries, Collector& collector,
                const ScanOptions& options) {
  if (!gallery.coded() && queries.count() <= kMostDirect && !collector.needs_codes()) {
    return scan_direct(gallery, queries, collector, options);
  }
  const Kernels& kernels = *options.kernels;
  std::optional<NibbleQueries> nibbles;
  if (gallery.nibbles != nullptr && kernels.nibble_scan != nullptr &&
      queries.count() <= kernels.few_nibble) {
    nibbles.emplace(queries);
  }
  const auto few = [&](Worker& worker, int w, const Block& block) {
    float a[kFewQueries];
    const auto n = static_cast<int>(queries.count());
    collector.load_terms(0, n, a);
    const RowScanArgs args{block.codes,       block.n,    queries.d_pad(), queries.code(0), n,
                           queries.offsets(), block.u,    block.v,         block.w,         a,
                           queries.b(),       queries.c()};
    int count = 0;
    if (!nibbles || worker.blocks_without > 0) {
      count = kernels.row_scan_hits(args, worker.hits.data());
      worker.blocks_without = std::max(0, worker.blocks_without - 1);
    } else {
      int passed = 0;
      count = nibbles->hits(kernels, args, block, collector, worker.passing.data(),
                            worker.hits.data(), &passed);
      if (passed > block.n / kMostPassing) worker.blocks_without = kBlocksWithout;
    }
    if (count == 0) return;
    collector.take({block, 0, worker.hits.data(), count}, worker.reader, w);
    collector.end_block(block, worker.reader, w);
  };
  const auto visit = [&](Worker& worker, int w, const Block& block, int64_t first_panel,
                         int64_t end_panel) {
    if (queries.few()) return few(worker, w, block);
    TileArgs args = block_args(kernels, worker, block, queries.d_pad(), end_panel - first_panel);
    for (int64_t p = first_panel; p < end_panel; ++p) {
      const int64_t first = p * kPanel;
      const auto n = static_cast<int>(std::min<int64_t>(kPanel, queries.count() - first));
      alignas(64) float a[kPanel];
      std::fill(a + n, a + kPanel, std::numeric_limits<float>::infinity());
      collector.load_terms(first, n, a);
      args.panel = queries.panel(p);
      args.a = a;
      args.b = queries.b() + first;
      args.c = queries.c() + first;
      fetch_next(args, kernels, block, p - first_panel, end_panel - first_panel);
      const int count = kernels.tile_hits(args, worker.hits.data());
      if (count > 0) collector.take({block, first, worker.hits.data(), count}, worker.reader, w);
    }
    collector.end_block(block, worker.reader, w);
  };
  return walk(gallery, queries, options, false, visit);
}

ScanReport scan_dense(const Gallery& gallery, const Queries& queries, DenseCollector& collector,
                      const ScanOptions& options) {
  const Kernels& kernels = *options.kernels;
  const auto visit = [&](Worker& worker, int w, const Block& block, int64_t first_panel,
                         int64_t end_panel) {
    TileArgs args = block_args(kernels, worker, block, queries.d_pad(), end_panel - first_panel);
    for (int64_t p = first_panel; p < end_panel; ++p) {
      if (!collector.wants(block.first, block.n, p * kPanel)) continue;
      args.panel = queries.panel(p);
      fetch_next(args, kernels, block, p - first_panel, end_panel - first_panel);
      kernels.tile_dots(args, worker.dots.data());
      collector.take_all(block, p * kPanel, worker.dots.data(), worker.reader, w);
    }
  };
  return walk(gallery, queries, options, true, visit);
}

}  // namespace idsim::cpu

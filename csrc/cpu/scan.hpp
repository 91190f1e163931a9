// The one loop: tiles of queries x tiles of gallery -> pairs that may reach their query's threshold -> a
// collector. Every question that the engine answers is a collector over this loop.
#pragma once

#include <cstdint>

#include "core/threads.hpp"
#include "cpu/kernels.hpp"
#include "cpu/queries.hpp"
#include "cpu/source.hpp"

namespace idsim::cpu {

struct ScanOptions {
  const Kernels* kernels = nullptr;
  int threads = 1;
  bool skip_nonfinite = false;  // false: a gallery row with NaN or Inf throws NonFiniteRow
  Poll poll;                    // called with the number of gallery rows done
};

// Pairs of a block that passed the filter, for one panel of queries.
struct Hits {
  const Block& block;
  int64_t first_query;  // of the panel
  const Hit* hits;
  int count;
};

// A pair that float32 could not rule out, in a scan of raw rows.
struct RowHit {
  int64_t row;
  int64_t query;
};

class Collector {
 public:
  virtual ~Collector() = default;
  // The `a` terms (core/bounds.hpp) of n queries from `first`, as they stand now.
  virtual void load_terms(int64_t first, int n, float* a) const = 0;
  // Called by several workers at once, each with its own `worker` number and reader.
  virtual void take(const Hits& hits, BlockReader& reader, int worker) = 0;
  // After the last take of a block by this worker.
  virtual void end_block(const Block&, BlockReader&, int /*worker*/) {}

  // For scans of raw rows (scan_direct.cpp): the canonical score that query's rows have to reach as of
  // now, and the candidates. A collector that needs the codes of its hits says so.
  virtual bool needs_codes() const { return false; }
  virtual float reach(int64_t query) const = 0;
  virtual void take_rows(const RowHit* hits, int64_t count, BlockReader& reader, int worker) = 0;
};

struct ScanReport {
  int64_t skipped_rows = 0;  // rows with NaN or Inf
};

// Throws NonFiniteRow (naming the first such row), FileReadError, or what the collector or poll throws.
ScanReport scan(const Gallery& gallery, const Queries& queries, Collector& collector,
                const ScanOptions& options);

// The scan for few queries over rows without codes: reads the float32 rows once instead of coding them.
// scan() calls it where it pays.
ScanReport scan_direct(const Gallery& gallery, const Queries& queries, Collector& collector,
                       const ScanOptions& options);

// The same walk with every integer dot of a block and panel: for questions about all pairs.
class DenseCollector {
 public:
  virtual ~DenseCollector() = default;
  virtual bool wants(int64_t first_row, int n, int64_t first_query) const = 0;
  virtual void take_all(const Block& block, int64_t first_query, const int32_t* dots,
                        BlockReader& reader, int worker) = 0;
};
ScanReport scan_dense(const Gallery& gallery, const Queries& queries, DenseCollector& collector,
                      const ScanOptions& options);

}  // namespace idsim::cpu

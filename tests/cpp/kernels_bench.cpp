// Times the kernels of one instruction set on this machine:
//   idsim_kernels_bench [table] [threads] [rows] [dim] [read|quantize|float|scan|tiles]
// Prints the best and the median of several runs, in ms and in the unit that bounds the kernel.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/aligned.hpp"
#include "core/codes.hpp"
#include "cpu/kernels.hpp"

namespace {

using idsim::AlignedBuffer;
using idsim::cpu::Hit;
using idsim::cpu::Kernels;
using idsim::cpu::kPanel;
using idsim::cpu::RowScanArgs;
using idsim::cpu::TileArgs;

constexpr int kRuns = 9;
constexpr int kPanels = 8;
constexpr int64_t kScanRows = 4096;  // of one row scan

void ask_for_huge_pages(void* first, int64_t bytes) {
  constexpr uintptr_t page = 4096;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(first) + page - 1) / page * page;
  const uintptr_t end =
      (reinterpret_cast<uintptr_t>(first) + static_cast<uintptr_t>(bytes)) / page * page;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

struct Setup {
  const Kernels* kernels;
  int threads;
  int64_t n, d;
  int d_pad;
  AlignedBuffer<float> rows;
  AlignedBuffer<uint8_t> codes;
  AlignedBuffer<int8_t> queries;
  std::vector<float> u, v;

  Setup(const Kernels& k, int thread_count, int64_t rows_, int64_t dim)
      : kernels(&k),
        threads(thread_count),
        n(rows_),
        d(dim),
        d_pad(static_cast<int>(idsim::padded_dim(dim))),
        rows(n * d),
        codes(n * d_pad),
        queries(int64_t{kPanel} * d_pad),
        u(static_cast<size_t>(n), 1.0F),
        v(static_cast<size_t>(n), 1.0F) {
    ask_for_huge_pages(codes.data(), n * d_pad);  // as the engine does
    std::minstd_rand random(7);
    for (int64_t i = 0; i < n * d; ++i) rows[i] = static_cast<float>(random() % 2001) - 1000.0F;
    for (int64_t i = 0; i < n * d_pad; ++i) codes[i] = static_cast<uint8_t>(1 + random() % 255);
    for (int64_t i = 0; i < int64_t{kPanel} * d_pad; ++i) {
      queries[i] = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    }
  }
};

using Work = std::function<void(int64_t first, int64_t last)>;

// Splits the rows among the threads; seconds of one pass.
double seconds(const Setup& s, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> pool;
  for (int t = 0; t < s.threads; ++t) {
    pool.emplace_back(work, s.n * t / s.threads, s.n * (t + 1) / s.threads);
  }
  for (std::thread& t : pool) t.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void report(const Setup& s, const char* name, double amount, const char* unit, const Work& work) {
  std::vector<double> times;
  for (int i = 0; i < kRuns; ++i) times.push_back(seconds(s, work));
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  std::printf("%-20s best %8.2f ms  median %8.2f ms  %8.1f %s\n", name, times[0] * 1e3,
              median * 1e3, amount / times[0] * 1e-9, unit);
  std::fflush(stdout);
}

volatile uint64_t g_sink;

void read_bandwidth(const Setup& s) {
  const double bytes = static_cast<double>(s.n) * s.d_pad;
  report(s, "read codes", bytes, "GB/s", [&](int64_t first, int64_t last) {
    uint64_t sums[8] = {};
    const uint8_t* end = s.codes.data() + last * s.d_pad;
    for (const uint8_t* p = s.codes.data() + first * s.d_pad; p < end; p += 64) {
      uint64_t words[8];
      std::memcpy(words, p, 64);
      for (int i = 0; i < 8; ++i) sums[i] += words[i];
    }
    g_sink = sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
  });
}

void quantize(Setup& s) {
  AlignedBuffer<uint8_t> out(s.n * s.d_pad);
  std::memset(out.data(), 1, static_cast<size_t>(s.n * s.d_pad));
  const double bytes = static_cast<double>(s.n) * static_cast<double>(4 * s.d + s.d_pad);
  report(s, "quantize_row", bytes, "GB/s", [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      s.kernels->quantize_row(s.rows.data() + i * s.d, s.d, out.data() + i * s.d_pad);
    }
  });
}

void float_products(const Setup& s) {
  const double bytes = static_cast<double>(s.n) * static_cast<double>(4 * s.d);
  report(s, "dot", bytes, "GB/s", [&](int64_t first, int64_t last) {
    double sum = 0.0;
    for (int64_t i = first; i < last; ++i) {
      sum += s.kernels->dot(s.rows.data(), s.rows.data() + i * s.d, s.d);
    }
    g_sink = static_cast<uint64_t>(sum);
  });
  report(s, "dot, in cache", bytes, "GB/s", [&](int64_t first, int64_t last) {
    double sum = 0.0;
    for (int64_t i = first; i < last; ++i)
      sum += s.kernels->dot(s.rows.data(), s.rows.data() + s.d, s.d);
    g_sink = static_cast<uint64_t>(sum);
  });
  for (const int q : {1, 4, 8}) {
    const std::string name = "dots_f32 q=" + std::to_string(q);
    report(s, name.c_str(), bytes, "GB/s", [&](int64_t first, int64_t last) {
      constexpr int64_t block = 256;
      std::vector<float> dots(block * 8), squares(block);
      for (int64_t i = first; i < last; i += block) {
        const auto n = static_cast<int>(std::min(block, last - i));
        s.kernels->dots_f32(s.rows.data() + i * s.d, s.d, n, s.rows.data(), q, s.d, dots.data(),
                            squares.data());
      }
    });
  }
}

void row_scans(const Setup& s) {
  const double bytes = static_cast<double>(s.n) * s.d_pad;
  std::vector<float> a(kPanel, 1e30F), b(kPanel, 1.0F);
  std::vector<int32_t> offsets(kPanel, 0);
  for (const int q : {1, 2, 3, 4, 8, 16, 24}) {
    const std::string name = "row_scan_hits q=" + std::to_string(q);
    report(s, name.c_str(), bytes, "GB/s", [&](int64_t first, int64_t last) {
      std::vector<Hit> hits(static_cast<size_t>(kScanRows * q));
      for (int64_t i = first; i < last; i += kScanRows) {
        const auto n = static_cast<int>(std::min(kScanRows, last - i));
        s.kernels->row_scan_hits(
            {s.codes.data() + i * s.d_pad, n, s.d_pad, s.queries.data(), q, offsets.data(),
             s.u.data() + i, s.v.data() + i, nullptr, a.data(), b.data(), nullptr},
            hits.data());
      }
    });
  }
}

// Blocks of about a quarter of a megabyte, as the scans cut them.
void tiles(const Setup& s, int panels) {
  const Kernels& k = *s.kernels;
  const int64_t block =
      k.tile_rows * std::max<int64_t>(1, (int64_t{258} << 10) / s.d_pad / k.tile_rows);
  AlignedBuffer<char> panel(k.panel_bytes(s.d_pad));
  k.pack_panel(s.queries.data(), kPanel, s.d_pad, panel.data());
  std::vector<float> a(kPanel, 1e30F), b(kPanel, 1.0F);
  const double products = 2.0 * static_cast<double>(s.n) * s.d_pad * kPanel * panels;
  const auto pass = [&](int64_t first, int64_t last, auto&& use) {
    AlignedBuffer<char> staged(k.staged_bytes(static_cast<int>(block), s.d_pad));
    for (int64_t i = first; i < last; i += block) {
      const auto n = static_cast<int>(std::min(block, last - i));
      const uint8_t* codes = s.codes.data() + i * s.d_pad;
      const bool stage = k.stage_rows != nullptr && panels >= k.stage_panels;
      if (stage) k.stage_rows(codes, n, s.d_pad, staged.data());
      const void* rows = stage ? static_cast<const void*>(staged.data()) : codes;
      const bool more = i + 2 * block <= last;
      for (int p = 0; p < panels; ++p) {
        use(TileArgs{rows, stage, n, s.d_pad, panel.data(), s.u.data() + i, s.v.data() + i, nullptr,
                     a.data(), b.data(), nullptr,
                     p == 0 && more ? codes + block * s.d_pad : nullptr});
      }
    }
  };
  const std::string name = std::to_string(panels) + " panels";
  report(s, ("tile_hits " + name).c_str(), products, "GOP/s", [&](int64_t first, int64_t last) {
    std::vector<Hit> hits(static_cast<size_t>(block * kPanel));
    pass(first, last, [&](const TileArgs& args) { k.tile_hits(args, hits.data()); });
  });
  report(s, ("tile_dots " + name).c_str(), products, "GOP/s", [&](int64_t first, int64_t last) {
    std::vector<int32_t> dots(static_cast<size_t>(block * kPanel));
    pass(first, last, [&](const TileArgs& args) { k.tile_dots(args, dots.data()); });
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string table = argc > 1 ? argv[1] : "portable";
  const Kernels* kernels = &idsim::cpu::portable_kernels();
#if defined(__x86_64__)
  if (table == "avx2") kernels = &idsim::cpu::avx2_kernels();
  if (table == "avx512") kernels = &idsim::cpu::avx512_kernels();
  if (table == "vnni") kernels = &idsim::cpu::vnni_kernels();
  if (table == "amx" && idsim::cpu::may_use_amx()) kernels = &idsim::cpu::amx_kernels();
#endif
  const int threads = argc > 2 ? std::atoi(argv[2]) : 2;
  const int64_t n = argc > 3 ? std::atoll(argv[3]) : 1000000;
  const int64_t d = argc > 4 ? std::atoll(argv[4]) : 512;
  const std::string only = argc > 5 ? argv[5] : "";
  std::printf("%s: %d threads, %lld rows, %lld dimensions\n", kernels->name, threads,
              static_cast<long long>(n), static_cast<long long>(d));
  Setup setup(*kernels, threads, n, d);
  const auto wanted = [&](const char* what) { return only.empty() || only == what; };
  if (wanted("read")) read_bandwidth(setup);
  if (wanted("quantize")) quantize(setup);
  if (wanted("float")) float_products(setup);
  if (wanted("scan")) row_scans(setup);
  if (wanted("tiles")) tiles(setup, 1);
  if (wanted("tiles")) tiles(setup, kPanels);
  return 0;
}

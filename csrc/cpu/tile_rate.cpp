#include "cpu/tile_rate.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "core/aligned.hpp"
#include "core/threads.hpp"
#include "cpu/isa.hpp"
#include "cpu/kernels.hpp"

namespace idsim::cpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRows = 480;  // whole tiles of every table, 240 KiB of codes
constexpr int kDim = 512;
constexpr auto kTime = std::chrono::milliseconds(20);

double rate_of_one_thread(const Kernels& kernels) {
  AlignedBuffer<uint8_t> codes(int64_t{kRows} * kDim);
  AlignedBuffer<int8_t> queries(int64_t{kPanel} * kDim);
  for (int64_t i = 0; i < int64_t{kRows} * kDim; ++i) codes[i] = static_cast<uint8_t>(1 + i % 255);
  for (int64_t i = 0; i < int64_t{kPanel} * kDim; ++i)
    queries[i] = static_cast<int8_t>(i % 251 - 125);
  AlignedBuffer<char> panel(kernels.panel_bytes(kDim));
  kernels.pack_panel(queries.data(), kPanel, kDim, panel.data());
  TileArgs args{};
  args.rows = codes.data();
  AlignedBuffer<char> staged(kernels.staged_bytes(kRows, kDim));
  if (kernels.stage_rows != nullptr) {
    kernels.stage_rows(codes.data(), kRows, kDim, staged.data());
    args.rows = staged.data();
    args.staged = true;
  }
  // Thresholds that no dot reaches: nothing is written.
  const std::vector<float> ones(static_cast<size_t>(std::max(kRows, kPanel)), 1.0F);
  const std::vector<float> high(static_cast<size_t>(kPanel), 1e30F);
  std::vector<Hit> hits(static_cast<size_t>(kRows) * kPanel);
  args.n_rows = kRows;
  args.d_pad = kDim;
  args.panel = panel.data();
  args.u = args.v = ones.data();
  args.a = high.data();
  args.b = ones.data();
  int64_t tiles = 0;
  const Clock::time_point start = Clock::now();
  Clock::duration spent{};
  while (spent < kTime) {
    kernels.tile_hits(args, hits.data());
    ++tiles;
    spent = Clock::now() - start;
  }
  const double operations = 2.0 * kRows * kPanel * kDim * static_cast<double>(tiles);
  return operations / std::chrono::duration<double>(spent).count();
}

}  // namespace

double tile_rate(int threads) {
  const Kernels& kernels = active_kernels();
  std::vector<double> rates(static_cast<size_t>(threads));
  parallel_for(
      threads, threads,
      [&](int, int64_t item) { rates[static_cast<size_t>(item)] = rate_of_one_thread(kernels); },
      {});
  double sum = 0.0;
  for (const double rate : rates) sum += rate;
  return sum;
}

}  // namespace idsim::cpu

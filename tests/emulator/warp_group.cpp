#include "warp_group.hpp"

#include <cstring>
#include <utility>

#include "core/widen.hpp"
#include "state.hpp"
#include "tensor_sum.hpp"

namespace emulator {
namespace {

constexpr int kBytes = 32;   // of k in one product
constexpr char kOthers = 0;  // marks threads that wait for the rest of their warp group

void meet(int kind) {
  warp_collective(~0U, kind, [](void**, unsigned) {}, nullptr);
}

// The threads of the running thread's warp group.
std::unique_ptr<Thread>* group_of_running() {
  auto& threads = running->block->threads;
  const int first = flat(running->place) / kWarpGroup * kWarpGroup;
  if (static_cast<size_t>(first + kWarpGroup) > threads.size()) {
    fail("a product by warps that are no whole warp group");
  }
  return &threads[static_cast<size_t>(first)];
}

// 32 bytes of k of a row, by its descriptor (PTX ISA, "Matrix descriptor format").
void read_row(const Block& b, uint64_t descriptor, int row, char* out) {
  const size_t start = (descriptor & 0x3FFF) << 4, stride = (descriptor >> 32 & 0x3FFF) << 4;
  const size_t first =
      start + static_cast<size_t>(row / 8) * stride + static_cast<size_t>(row % 8) * 128;
  for (size_t chunk = 0; chunk < kBytes; chunk += 16) {
    const size_t linear = first + chunk, at = linear ^ (linear >> 7 & 7) << 4;
    if (at + 16 > b.shared_bytes) fail("a product's operand ends beyond shared memory");
    std::memcpy(out + chunk, b.shared.get() + at, 16);
  }
}

uint32_t multiply_bytes(uint32_t sum, const char* row, const char* column) {
  for (int k = 0; k < kBytes; ++k) {
    const int x = static_cast<int8_t>(row[k]), y = static_cast<uint8_t>(column[k]);
    sum += static_cast<uint32_t>(x * y);
  }
  return sum;
}

// Four products at a time, as mma_f16 of cuda/ptx/mma.cuh.
uint32_t multiply_halves(uint32_t bits, const float* row, const float* column) {
  float sum = std::bit_cast<float>(bits);
  for (int k = 0; k < kBytes / 2; k += 4) {
    float products[4];
    for (int i = 0; i < 4; ++i) products[i] = row[k + i] * column[k + i];
    sum = truncating_sum(sum, products, 4);
  }
  return std::bit_cast<uint32_t>(sum);
}

void widen(const char* halves, float* out) {
  for (int k = 0; k < kBytes / 2; ++k) {
    uint16_t half = 0;
    std::memcpy(&half, halves + 2 * k, 2);
    out[k] = idsim::widen_f16(half);
  }
}

// The thread's 64 elements of one product.
void multiply(const Thread& thread, const Product& product, uint32_t* sums) {
  const int number = flat(thread.place) % kWarpGroup, lane = number % kWarp;
  char rows[2][kBytes], columns[32][kBytes];
  for (int i = 0; i < 2; ++i) {
    read_row(*thread.block, product.a, 16 * (number / kWarp) + lane / 4 + 8 * i, rows[i]);
  }
  for (int i = 0; i < 32; ++i) {
    read_row(*thread.block, product.b, 8 * (i / 2) + 2 * (lane % 4) + i % 2, columns[i]);
  }
  if (product.of == Multiplied::s8_u8) {
    for (int i = 0; i < 64; ++i) {
      sums[i] = multiply_bytes(sums[i], rows[i / 2 % 2], columns[2 * (i / 4) + i % 2]);
    }
    return;
  }
  float wide_rows[2][kBytes / 2], wide_columns[32][kBytes / 2];
  for (int i = 0; i < 2; ++i) widen(rows[i], wide_rows[i]);
  for (int i = 0; i < 32; ++i) widen(columns[i], wide_columns[i]);
  for (int i = 0; i < 64; ++i) {
    sums[i] = multiply_halves(sums[i], wide_rows[i / 2 % 2], wide_columns[2 * (i / 4) + i % 2]);
  }
}

// What an accumulator holds before the products of `group`: of an earlier one that its thread has not waited for yet, or
// what the thread has in it.
std::array<uint32_t, 64> sums_before(const Thread& thread, const ProductGroup& group, void* d) {
  std::array<uint32_t, 64> sums;
  std::memcpy(sums.data(), d, sizeof sums);
  for (const ProductGroup& earlier : thread.product_groups) {
    if (&earlier == &group) break;
    for (const auto& known : earlier.sums) {
      if (known.d == d) sums = known.bits;
    }
  }
  return sums;
}

void compute(const Thread& thread, ProductGroup& group) {
  for (const Product& product : group.products) {
    ProductGroup::Sums* sums = nullptr;
    for (auto& known : group.sums) {
      if (known.d == product.d) sums = &known;
    }
    if (sums == nullptr) {
      group.sums.push_back({product.d, sums_before(thread, group, product.d)});
      sums = &group.sums.back();
    }
    if (!product.accumulate) sums->bits.fill(0);
    multiply(thread, product, sums->bits.data());
  }
  group.known = true;
}

// Computes the groups of a thread before its `end`th.
void compute_until(Thread& thread, int64_t end) {
  int64_t number = thread.committed - static_cast<int64_t>(thread.product_groups.size());
  for (ProductGroup& group : thread.product_groups) {
    if (number++ >= end) break;
    if (!group.known) compute(thread, group);
  }
}

}  // namespace

uint64_t operand(const void* shared) {
  const size_t place = place_in_shared(shared, 16);
  if (place % 16 != 0 || place >= 1U << 18) fail("an operand at byte %zu of shared memory", place);
  return place >> 4 | uint64_t{1024 / 16} << 32 | uint64_t{1} << 62;
}

void begin_products() { meet(kWgmmaBegin); }

void add_product(const Product& product) {
  struct Asked {
    uint64_t a, b;
    bool differ;
  } mine{product.a, product.b, false};
  warp_collective(
      ~0U, kWgmma,
      [](void** lanes, unsigned) {
        const auto* first = static_cast<const Asked*>(lanes[0]);
        bool differ = false;
        for (int i = 1; i < kWarp; ++i) {
          const auto* lane = static_cast<const Asked*>(lanes[i]);
          differ |= lane->a != first->a || lane->b != first->b;
        }
        for (int i = 0; i < kWarp; ++i) static_cast<Asked*>(lanes[i])->differ = differ;
      },
      &mine);
  if (mine.differ) fail("lanes of a warp multiply by different descriptors");
  running->open_products.push_back(product);
}

void commit_products() {
  meet(kWgmmaCommit);
  auto* group = group_of_running();
  running->product_groups.push_back({std::exchange(running->open_products, {}), false, {}});
  ++running->committed;
  for (int i = 0; i < kWarpGroup; ++i) {
    if (group[i]->waits_at == &kOthers) wake(*group[i]);
  }
}

void wait_products(int left) {
  meet(kWgmmaWait);
  auto* group = group_of_running();
  const int64_t end = running->committed - left;
  for (int i = 0; i < kWarpGroup; ++i) {
    while (group[i]->committed < end) {
      running->waits_at = &kOthers;
      pause("thread %d of its warp group, which has not committed the products", i);
      running->waits_at = nullptr;
    }
  }
  for (int i = 0; i < kWarpGroup; ++i) compute_until(*group[i], end);
  auto& groups = running->product_groups;
  while (static_cast<int64_t>(groups.size()) > left) {
    for (const auto& sums : groups.front().sums) std::memcpy(sums.d, &sums.bits, sizeof sums.bits);
    groups.pop_front();
  }
}

}  // namespace emulator

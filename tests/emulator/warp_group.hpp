// wgmma: products by the four warps of a warp group that are under way until they are waited for. Shared memory is read
// as late as may be: when the first thread waits; d changes when its own thread waits. All threads of the group have to
// have committed a group of products before one of them is done waiting for it.
#pragma once

#include <cstdint>

namespace emulator {

enum class Multiplied { s8_u8, f16 };

struct Product {
  void* d;        // 64 sums of the thread, of 4 bytes
  uint64_t a, b;  // descriptors
  bool accumulate;
  Multiplied of;
};

// The descriptor of rows of 128 bytes with the 128-byte swizzle, 1024 bytes from group to group of 8.
uint64_t operand(const void* shared);

// Lanes of a warp meet in each of these; the launch fails where they do not, or bring different descriptors.
void begin_products();
void add_product(const Product& product);
void commit_products();
// Until at most `left` of the groups that were committed are under way.
void wait_products(int left);

}  // namespace emulator

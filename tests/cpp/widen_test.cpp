// Elements of every type widen to the float32 that their bits say, at any stride, alignment and count.
#include <cstring>
#include <limits>
#include <vector>

#include "check.hpp"
#include "core/widen.hpp"

namespace {

using idsim::DType;
using idsim::test::Buffer;
using idsim::test::expect;
using idsim::test::Random;
using idsim::test::same_bits;

// A float of `exponent_bits` and `fraction_bits` below a sign, from its definition.
float by_definition(uint32_t bits, int exponent_bits, int fraction_bits) {
  const int top = (1 << exponent_bits) - 1;
  const int exponent = static_cast<int>(bits >> fraction_bits) & top;
  const int fraction = static_cast<int>(bits) & ((1 << fraction_bits) - 1);
  const int bias = top / 2;
  double size = std::ldexp(fraction, 1 - bias - fraction_bits);
  if (exponent > 0)
    size = std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
  if (exponent == top) {
    size = fraction == 0 ? std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  const bool negative = ((bits >> (exponent_bits + fraction_bits)) & 1U) != 0;
  return static_cast<float>(negative ? -size : size);
}

bool same_value(float a, float b) { return std::isnan(a) ? std::isnan(b) : same_bits(a, b); }

// Widens `elements` laid `stride` bytes apart, from an odd address on.
template <class Element>
Buffer<float> widened(const std::vector<Element>& elements, int64_t stride, DType dtype) {
  const auto count = static_cast<int64_t>(elements.size());
  constexpr auto kSize = static_cast<int64_t>(sizeof(Element));
  Buffer<char> bytes(count > 0 ? 1 + (count - 1) * stride + kSize : 1);
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(bytes.data() + 1 + i * stride, &elements[static_cast<size_t>(i)], sizeof(Element));
  }
  Buffer<float> out(count);
  idsim::widen(bytes.data() + 1, stride, count, dtype, out.data());
  return out;
}

template <class Element>
void check(const std::vector<Element>& elements, DType dtype, float (*expected)(Element),
           const char* name) {
  constexpr auto kSize = static_cast<int64_t>(sizeof(Element));
  for (const int64_t stride : {kSize, kSize + 1, 5 * kSize}) {
    const Buffer<float> found = widened(elements, stride, dtype);
    for (size_t i = 0; i < elements.size(); ++i) {
      const float x = found[static_cast<int64_t>(i)];
      const float y = expected(elements[i]);
      expect(same_value(x, y), "%s, element %zu, stride %ld: %a, expected %a", name, i,
             static_cast<long>(stride), static_cast<double>(x), static_cast<double>(y));
    }
  }
}

float half(uint16_t bits) { return by_definition(bits, 5, 10); }
float brain(uint16_t bits) { return by_definition(bits, 8, 7); }
float single(float x) { return x; }
float rounded(double x) { return static_cast<float>(x); }

void check_counts(int count, Random& random) {
  std::vector<uint16_t> bits(static_cast<size_t>(count));
  std::vector<float> floats(bits.size());
  std::vector<double> doubles(bits.size());
  for (size_t i = 0; i < bits.size(); ++i) {
    bits[i] = static_cast<uint16_t>(random.bits());
    floats[i] = random.bell();
    doubles[i] =
        static_cast<double>(random.bell()) * std::ldexp(1.0 + 0x1p-30, random.below(300) - 150);
  }
  check(bits, DType::f16, half, "float16");
  check(bits, DType::bf16, brain, "bfloat16");
  check(floats, DType::f32, single, "float32");
  check(doubles, DType::f64, rounded, "float64");
}

}  // namespace

int main() {
  std::vector<uint16_t> every(65536);
  for (size_t i = 0; i < every.size(); ++i) every[i] = static_cast<uint16_t>(i);
  check(every, DType::f16, half, "float16");
  check(every, DType::bf16, brain, "bfloat16");
  Random random(4);
  for (int count = 0; count <= 70; ++count) check_counts(count, random);
  // Midpoints of float32 go to the even neighbour; beyond the largest is infinity.
  const std::vector<double> edges{1.0 + 0x1p-24,  1.0 + 0x3p-24, 1e300,    -1e300,
                                  0x1.ffffffp127, 0x1p-149,      0x1p-150, -0.0};
  const float wanted[] = {1.0F,
                          1.0F + 0x1p-22F,
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::infinity(),
                          0x1p-149F,
                          0.0F,
                          -0.0F};
  const Buffer<float> found = widened(edges, 8, DType::f64);
  for (int64_t i = 0; i < found.size(); ++i) {
    expect(same_bits(found[i], wanted[i]), "float64 edge %ld: %a", static_cast<long>(i),
           static_cast<double>(found[i]));
  }
  return idsim::test::finish("widen_test");
}

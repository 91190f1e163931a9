// Kernels in plain C++, for machines without a table of their own and as the yardstick of the
// others. The loops are written so that compilers vectorise them for SSE2 and NEON: 16-bit codes
// multiply into 32 bits.
#include <bit>
#include <cmath>
#include <cstring>

#include "core/score.hpp"
#include "cpu/kernels.hpp"

namespace idsim::cpu {
namespace {

// Elements [i, i + kLanes) of a row of d, zeros past its end.
const float* lanes_at(const float* x, int64_t i, int64_t d, float* padded) {
  if (i + kLanes <= d) return x + i;
  std::memset(padded, 0, kLanes * sizeof(float));
  std::memcpy(padded, x + i, static_cast<size_t>(d - i) * sizeof(float));
  return padded;
}

double dot(const float* a, const float* b, int64_t d) {
  double lanes[kLanes] = {};
  float pad_a[kLanes];
  float pad_b[kLanes];
  for (int64_t i = 0; i < d; i += kLanes) {
    const float* p = lanes_at(a, i, d, pad_a);
    const float* q = lanes_at(b, i, d, pad_b);
    for (int l = 0; l < kLanes; ++l)
      lanes[l] += static_cast<double>(p[l]) * static_cast<double>(q[l]);
  }
  return fold_lanes(lanes);
}

float max_abs(const float* x, int64_t d) {
  float most = 0.0F;
  for (int64_t i = 0; i < d; ++i) {
    const float value = std::fabs(x[i]);
    most = value > most ? value : most;  // NaN never wins
  }
  return most;
}

float fold_float_lanes(float* lanes) {
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  }
  return lanes[0];
}

// Adding 1.5 * 2^23 leaves the nearest integer (ties to even) in the low bits of the sum.
constexpr float kRounder = 0x1.8p23F;

RowStats quantize_row(const float* x, int64_t d, uint8_t* code) {
  const float most = max_abs(x, d);
  const double squared_norm = dot(x, x, d);
  const int64_t d_pad = padded_dim(d);
  if (!codable(most, squared_norm)) {
    std::memset(code, 128, static_cast<size_t>(d_pad));
    return finish_row_stats(0.0F, most, squared_norm, d);
  }
  const float inverse = 127.0F / most;
  const float scale = most / 127.0F;
  float lanes[kLanes] = {};
  float padded[kLanes];
  int64_t i = 0;
  for (; i < d; i += kLanes) {
    const float* p = lanes_at(x, i, d, padded);
    for (int l = 0; l < kLanes; ++l) {
      const float shifted = p[l] * inverse + kRounder;
      const float lost = p[l] - scale * (shifted - kRounder);
      lanes[l] += lost * lost;
      code[i + l] = static_cast<uint8_t>(std::bit_cast<int32_t>(shifted) + 128);
    }
  }
  std::memset(code + i, 128, static_cast<size_t>(d_pad - i));
  return finish_row_stats(fold_float_lanes(lanes), most, squared_norm, d);
}

int32_t dot_i8(const uint8_t* row, const int8_t* query, int d_pad) {
  int32_t sum = 0;
  for (int i = 0; i < d_pad; ++i) {
    const auto r = static_cast<int16_t>(row[i] - 128);
    sum += static_cast<int32_t>(r) * static_cast<int32_t>(static_cast<int16_t>(query[i]));
  }
  return sum;
}

// Panels and staged rows: 16-bit codes, row-major.
int64_t panel_bytes(int d_pad) { return int64_t{kPanel} * d_pad * int64_t{sizeof(int16_t)}; }

void pack_panel(const int8_t* codes, int n_queries, int d_pad, void* panel) {
  auto* out = static_cast<int16_t*>(panel);
  const int64_t used = int64_t{n_queries} * d_pad;
  for (int64_t i = 0; i < used; ++i) out[i] = codes[i];
  std::memset(out + used, 0, static_cast<size_t>(int64_t{kPanel} * d_pad - used) * sizeof(int16_t));
}

int64_t staged_bytes(int n_rows, int d_pad) {
  return int64_t{n_rows} * d_pad * int64_t{sizeof(int16_t)};
}

void stage_rows(const uint8_t* codes, int n_rows, int d_pad, void* staged) {
  auto* out = static_cast<int16_t*>(staged);
  const int64_t count = int64_t{n_rows} * d_pad;
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<int16_t>(codes[i] - 128);
}

// I of two rows with four queries.
void dots_2x4(const int16_t* r0, const int16_t* r1, const int16_t* queries, int d_pad,
              int32_t* out0, int32_t* out1) {
  const int16_t* q0 = queries;
  const int16_t* q1 = q0 + d_pad;
  const int16_t* q2 = q1 + d_pad;
  const int16_t* q3 = q2 + d_pad;
  int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
  for (int i = 0; i < d_pad; ++i) {
    a0 += r0[i] * q0[i];
    a1 += r0[i] * q1[i];
    a2 += r0[i] * q2[i];
    a3 += r0[i] * q3[i];
    b0 += r1[i] * q0[i];
    b1 += r1[i] * q1[i];
    b2 += r1[i] * q2[i];
    b3 += r1[i] * q3[i];
  }
  out0[0] = a0, out0[1] = a1, out0[2] = a2, out0[3] = a3;
  out1[0] = b0, out1[1] = b1, out1[2] = b2, out1[3] = b3;
}

// I of one row, or two, with the whole panel: out[0], out[1].
void dots_of_rows(const TileArgs& args, int row, int n, int32_t (*out)[kPanel]) {
  const auto* rows = static_cast<const int16_t*>(args.rows);
  const auto* panel = static_cast<const int16_t*>(args.panel);
  const int16_t* first = rows + int64_t{row} * args.d_pad;
  const int16_t* second = n > 1 ? first + args.d_pad : first;
  for (int j = 0; j < kPanel; j += 4) {
    dots_2x4(first, second, panel + int64_t{j} * args.d_pad, args.d_pad, &out[0][j], &out[1][j]);
  }
}

struct Terms {
  const float* a;
  const float* b;
  const float* c;  // null where there is no third term
};

// Appends the queries whose I reaches the row's bound.
int append_hits(const int32_t* dots, int n_queries, int row, float u, float v, float w,
                const Terms& terms, Hit* hits) {
  float bound[kPanel];
  for (int j = 0; j < n_queries; ++j) {
    const float third = terms.c != nullptr ? terms.c[j] * w : 0.0F;
    bound[j] = terms.a[j] * u + (third - terms.b[j] * v);
  }
  int passed = 0;
  for (int j = 0; j < n_queries; ++j) passed += static_cast<float>(dots[j]) >= bound[j] ? 1 : 0;
  if (passed == 0) return 0;
  Hit* next = hits;
  for (int j = 0; j < n_queries; ++j) {
    if (static_cast<float>(dots[j]) >= bound[j]) *next++ = {row, j, dots[j]};
  }
  return passed;
}

int tile_hits(const TileArgs& args, Hit* hits) {
  int count = 0;
  int32_t dots[2][kPanel];
  const Terms terms{args.a, args.b, args.w != nullptr ? args.c : nullptr};
  for (int row = 0; row < args.n_rows; row += 2) {
    const int n = args.n_rows - row > 1 ? 2 : 1;
    dots_of_rows(args, row, n, dots);
    for (int i = 0; i < n; ++i) {
      const float w = args.w != nullptr ? args.w[row + i] : 0.0F;
      count += append_hits(dots[i], kPanel, row + i, args.u[row + i], args.v[row + i], w, terms,
                           hits + count);
    }
  }
  return count;
}

void tile_dots(const TileArgs& args, int32_t* out) {
  int32_t dots[2][kPanel];
  for (int row = 0; row < args.n_rows; row += 2) {
    const int n = args.n_rows - row > 1 ? 2 : 1;
    dots_of_rows(args, row, n, dots);
    std::memcpy(out + int64_t{row} * kPanel, dots, static_cast<size_t>(n) * sizeof dots[0]);
  }
}

int row_scan_hits(const RowScanArgs& args, Hit* hits) {
  int count = 0;
  int32_t dots[kFewQueries];
  const Terms terms{args.a, args.b, args.w != nullptr ? args.c : nullptr};
  for (int row = 0; row < args.n_rows; ++row) {
    const uint8_t* codes = args.rows + int64_t{row} * args.d_pad;
    for (int j = 0; j < args.n_queries; ++j) {
      dots[j] = dot_i8(codes, args.queries + int64_t{j} * args.d_pad, args.d_pad);
    }
    const float w = args.w != nullptr ? args.w[row] : 0.0F;
    count +=
        append_hits(dots, args.n_queries, row, args.u[row], args.v[row], w, terms, hits + count);
  }
  return count;
}

float dot_f32(const float* a, const float* b, int64_t d) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= d; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lanes[l] += a[i + l] * b[i + l];
  }
  for (int l = 0; i + l < d; ++l) lanes[l] += a[i + l] * b[i + l];
  return fold_float_lanes(lanes);
}

void dots_f32(const float* rows, int64_t stride, int n_rows, const float* queries, int n_queries,
              int64_t d, float* dots, float* squares) {
  for (int i = 0; i < n_rows; ++i) {
    const float* x = rows + i * stride;
    for (int j = 0; j < n_queries; ++j) dots[i * n_queries + j] = dot_f32(x, queries + j * d, d);
    squares[i] = dot_f32(x, x, d);
  }
}

}  // namespace

const Kernels& portable_kernels() {
  static constexpr Kernels kTable{"portable",  quantize_row, dot,           dot_i8,
                                  panel_bytes, pack_panel,   staged_bytes,  stage_rows,
                                  tile_hits,   tile_dots,    row_scan_hits, dots_f32};
  return kTable;
}

}  // namespace idsim::cpu

// The emulator's counterpart of csrc/cuda/ptx/registers.cuh: threads have the registers that they need.
#pragma once

namespace idsim::cuda::ptx {

template <int kCount>
inline constexpr bool is_register_count = kCount >= 24 && kCount <= 256 && kCount % 8 == 0;

template <int kCount>
inline void give_registers() {
  static_assert(is_register_count<kCount>);
}
template <int kCount>
inline void take_registers() {
  static_assert(is_register_count<kCount>);
}

}  // namespace idsim::cuda::ptx

// Element types as template arguments.
#pragma once

#include <type_traits>

#include "core/types.hpp"

namespace idsim::cuda {

// Calls f(std::integral_constant<DType, ...>) for the type.
template <class F>
void with_dtype(DType type, const F& f) {
  switch (type) {
    case DType::f32:
      return f(std::integral_constant<DType, DType::f32>{});
    case DType::f16:
      return f(std::integral_constant<DType, DType::f16>{});
    case DType::bf16:
      return f(std::integral_constant<DType, DType::bf16>{});
    case DType::f64:
      return f(std::integral_constant<DType, DType::f64>{});
  }
}

}  // namespace idsim::cuda

// Stands in for the CUDA backend.
#include "cuda/device.hpp"

namespace idsim::cuda {

BackendStatus backend_status() {
  return {false, 0, "This build of idsim has no CUDA backend; everything runs on the CPU."};
}

}  // namespace idsim::cuda

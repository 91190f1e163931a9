#include "cuda/runtime.hpp"

namespace idsim::cuda {

// The errors of which CUDA says that the process has to be relaunched before it can use CUDA again, and those of a
// device that is gone.
bool loses_context(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorMpsClientTerminated:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

namespace {

std::string free_memory() {
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) {
    cudaGetLastError();
    return "";
  }
  return ": " + std::to_string(free) + " of its " + std::to_string(total) + " are free";
}

// Hands memory that was freed in stream order, and is still kept for the next caller, back to the device.
void give_back_kept_memory(cudaStream_t stream) {
  int device = 0;
  cudaMemPool_t pool = nullptr;
  if (cudaStreamSynchronize(stream) == cudaSuccess && cudaGetDevice(&device) == cudaSuccess &&
      cudaDeviceGetDefaultMemPool(&pool, device) == cudaSuccess) {
    cudaMemPoolTrimTo(pool, 0);
  }
  cudaGetLastError();
}

}  // namespace

void fail(cudaError_t error, const char* doing) {
  cudaGetLastError();  // reported once
  const std::string text = std::string(doing) + ": " + cudaGetErrorString(error);
  if (error == cudaErrorMemoryAllocation) throw DeviceMemoryError(text + free_memory());
  if (!loses_context(error)) throw CudaError(text);
  throw CudaError(
      text +
      ". The CUDA context of this process is lost: nothing on the device can be used any more, and "
      "only a new process can use CUDA again");
}

void* allocate(size_t bytes, cudaStream_t stream) {
  void* p = nullptr;
  cudaError_t error = cudaMallocAsync(&p, bytes, stream);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    give_back_kept_memory(stream);
    error = cudaMallocAsync(&p, bytes, stream);
  }
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw DeviceMemoryError("the CUDA device has no room for another " + std::to_string(bytes) +
                            " bytes" + free_memory());
  }
  check(error, "allocating device memory");
  return p;
}

}  // namespace idsim::cuda

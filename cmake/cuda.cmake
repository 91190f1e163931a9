# The CUDA backend, target idsim_cuda, as IDSIM_CUDA says: ON with nvcc, OFF as a stand-in, AUTO whichever can be had,
# EMULATE for tests of the kernels on the CPU (tests/emulator).

set(cuda_sources
    csrc/cuda/buffer.cu
    csrc/cuda/device.cu
    csrc/cuda/distribution.cu
    csrc/cuda/fetch.cu
    csrc/cuda/host_rows.cu
    csrc/cuda/kept_memory.cu
    csrc/cuda/mapped_rows.cu
    csrc/cuda/ordering.cu
    csrc/cuda/prepared.cu
    csrc/cuda/replay.cu
    csrc/cuda/rows.cu
    csrc/cuda/runtime.cu
    csrc/cuda/sample.cu
    csrc/cuda/scan.cu
    csrc/cuda/search.cu
    csrc/cuda/tail.cu
    csrc/cuda/tensor_map.cu
    csrc/cuda/tiles.cu
    csrc/cuda/topk.cu
    csrc/cuda/transfer.cu
    csrc/cuda/upload.cu
)
list(TRANSFORM cuda_sources PREPEND ${PROJECT_SOURCE_DIR}/)

# The toolkit of PyPI's wheels keeps its libraries in lib, where neither nvcc nor CMake looks, and the shared runtime
# under its full name alone; CMake wants to see one, though the static one is linked.
set(nvcc "${CMAKE_CUDA_COMPILER}")
if(NOT nvcc)
    set(nvcc "$ENV{CUDACXX}")
endif()
cmake_path(GET nvcc PARENT_PATH toolkit)
cmake_path(GET toolkit PARENT_PATH toolkit)
if(EXISTS "${toolkit}/lib/libcudart_static.a" AND NOT EXISTS "${toolkit}/lib64")
    set(ENV{NVCC_APPEND_FLAGS} "$ENV{NVCC_APPEND_FLAGS} -L${toolkit}/lib")
    file(GLOB shared_runtime "${toolkit}/lib/libcudart.so.*")
    set(CUDA_CUDART "${shared_runtime}" CACHE FILEPATH "Shared CUDA runtime")
endif()

set(cuda_mode ${IDSIM_CUDA})
if(cuda_mode STREQUAL "AUTO")
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
        set(cuda_mode ON)
    else()
        set(cuda_mode OFF)
    endif()
endif()

# The kernels' logic on the CPU, for tests.
add_subdirectory(tests/emulator EXCLUDE_FROM_ALL)

if(cuda_mode STREQUAL "ON")
    set(CMAKE_CUDA_ARCHITECTURES OFF) # the flags below say it, suffixes included
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
        # CMake 3.25 does not know that nvcc 13 has it.
        set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
        set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit 12.8 REQUIRED)
    # Every chip since Ampere that has int8 tensor cores, and PTX of the lowest for those to come.
    set(IDSIM_CUDA_ARCHITECTURES
        80
        86
        89
        90a
        100
        120
        CACHE STRING
        "Compute capabilities that get machine code"
    )
    list(GET IDSIM_CUDA_ARCHITECTURES 0 lowest)
    set(gencode "SHELL:-gencode arch=compute_${lowest},code=compute_${lowest}")
    foreach(arch IN LISTS IDSIM_CUDA_ARCHITECTURES)
        list(APPEND gencode "SHELL:-gencode arch=compute_${arch},code=sm_${arch}")
    endforeach()
    add_library(idsim_cuda STATIC ${cuda_sources})
    # Multiply and add stay apart, as in the CPU engine: codes are defined operation by operation.
    target_compile_options(
        idsim_cuda
        PRIVATE ${gencode} -fmad=false --expt-relaxed-constexpr "SHELL:-Xfatbin -compress-all"
    )
    target_link_libraries(idsim_cuda PUBLIC idsim_core CUDA::cudart_static)

elseif(cuda_mode STREQUAL "EMULATE")
    add_library(idsim_cuda INTERFACE)
    target_link_libraries(idsim_cuda INTERFACE idsim_cuda_emulated)

else()
    add_library(idsim_cuda STATIC csrc/cuda/unavailable.cpp)
    target_link_libraries(idsim_cuda PUBLIC idsim_core)
endif()

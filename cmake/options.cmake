# What every C++ target of the project is compiled with, as the interface target idsim_options.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

if(NOT IDSIM_CUDA MATCHES "^(AUTO|ON|OFF|EMULATE)$")
    message(FATAL_ERROR "IDSIM_CUDA must be AUTO, ON, OFF or EMULATE, not \"${IDSIM_CUDA}\".")
endif()
if(NOT IDSIM_SANITIZE MATCHES "^(|address|thread|undefined)$")
    message(
        FATAL_ERROR
        "IDSIM_SANITIZE must be empty, address, thread or undefined, not \"${IDSIM_SANITIZE}\"."
    )
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(idsim_options INTERFACE)
# The canonical score is defined operation by operation, so the compiler may not fuse or reorder any.
target_compile_options(
    idsim_options
    INTERFACE
        "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wconversion;-ffp-contract=off>"
        "$<$<CONFIG:Release,RelWithDebInfo>:-O3>"
)
if(IDSIM_WERROR)
    target_compile_options(idsim_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(IDSIM_SANITIZE)
    set(sanitize -fsanitize=${IDSIM_SANITIZE} -fno-omit-frame-pointer -g)
    if(IDSIM_SANITIZE STREQUAL "address")
        list(APPEND sanitize -fsanitize=undefined)
    endif()
    target_compile_options(idsim_options INTERFACE ${sanitize})
    target_link_options(idsim_options INTERFACE ${sanitize})
endif()

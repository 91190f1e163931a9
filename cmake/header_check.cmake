# Every header of the engine compiles alone: one generated source per header, in an object library.

file(
    GLOB_RECURSE engine_headers
    RELATIVE ${PROJECT_SOURCE_DIR}/csrc
    CONFIGURE_DEPENDS
    ${PROJECT_SOURCE_DIR}/csrc/core/*.hpp
    ${PROJECT_SOURCE_DIR}/csrc/cpu/*.hpp
    ${PROJECT_SOURCE_DIR}/csrc/cuda/*.hpp
)
set(header_sources)
foreach(header IN LISTS engine_headers)
    string(MAKE_C_IDENTIFIER ${header} name)
    set(source ${PROJECT_BINARY_DIR}/header_check/${name}.cpp)
    file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${header}\"\n")
    list(APPEND header_sources ${source})
endforeach()
add_library(idsim_header_check OBJECT EXCLUDE_FROM_ALL ${header_sources})
target_link_libraries(idsim_header_check PRIVATE idsim_core)
# Headers of the CUDA backend include its runtime.
target_include_directories(idsim_header_check BEFORE PRIVATE tests/emulator)

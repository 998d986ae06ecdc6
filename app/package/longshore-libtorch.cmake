# torch's headers and libraries as the target longshore::libtorch; where none serves, no target, and the reason in
# LONGSHORE_NO_LIBTORCH. Looks in Torch_DIR, then below CMAKE_PREFIX_PATH (`torch.utils.cmake_prefix_path` says what to
# put there for a wheel), then below LONGSHORE_TORCH_HINTS.
#
# Does without torch's own package file: with a CUDA build of torch that one stops where there is no CUDA toolkit, of
# which nothing here is compiled with.
function(longshore_find_libtorch)
  if(TARGET longshore::libtorch)
    return()
  endif()
  if(NOT EXISTS "${Torch_DIR}/TorchConfigVersion.cmake")
    unset(Torch_DIR CACHE)
    find_path(Torch_DIR TorchConfigVersion.cmake HINTS ${CMAKE_PREFIX_PATH} ${LONGSHORE_TORCH_HINTS}
              PATH_SUFFIXES Torch share/cmake/Torch DOC "The folder of TorchConfig.cmake")
  endif()
  if(NOT Torch_DIR)
    set(LONGSHORE_NO_LIBTORCH "no torch was found; Torch_DIR can say where its TorchConfig.cmake is" PARENT_SCOPE)
    return()
  endif()
  include("${Torch_DIR}/TorchConfigVersion.cmake")
  if(PACKAGE_VERSION VERSION_LESS 2.8)  # the first with all of the types
    set(LONGSHORE_NO_LIBTORCH "torch ${PACKAGE_VERSION} in ${Torch_DIR} is older than 2.8" PARENT_SCOPE)
    return()
  endif()
  get_filename_component(root "${Torch_DIR}/../../.." ABSOLUTE)
  foreach(name torch torch_cpu c10)
    find_library(${name}_library ${name} PATHS "${root}/lib" NO_DEFAULT_PATH NO_CACHE)
    if(NOT ${name}_library)
      set(LONGSHORE_NO_LIBTORCH "${root}/lib has no library ${name}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(STATUS "torch ${PACKAGE_VERSION}: ${root}")
  add_library(longshore::libtorch INTERFACE IMPORTED GLOBAL)
  # libtorch.so has no symbols of its own: it brings in the part for the GPU, where there is one.
  target_link_libraries(longshore::libtorch INTERFACE
                        "-Wl,--no-as-needed,\"${torch_library}\" -Wl,--as-needed" "${torch_cpu_library}" "${c10_library}")
  target_include_directories(longshore::libtorch INTERFACE "${root}/include" "${root}/include/torch/csrc/api/include")
endfunction()

longshore_find_libtorch()

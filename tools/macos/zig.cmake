# Cross compiling with zig's clang, for checks only: see docs/macos-wheel.md.
# cross.py sets these variables of the environment: try_compile reads this file again, and does not
# hand on what was given by -D.
foreach(name MILANE_ZIG MILANE_ZIG_TARGET MILANE_LINK_STUBS)
  if(NOT DEFINED ENV{${name}})
    message(FATAL_ERROR "${name} is not set: run tools/macos/build_wheel.py or compile_linux.py")
  endif()
endforeach()

if("$ENV{MILANE_ZIG_TARGET}" MATCHES "macos")
  set(CMAKE_SYSTEM_NAME Darwin)
  set(CMAKE_SYSTEM_VERSION 23)  # macOS 14
  set(CMAKE_SYSTEM_PROCESSOR arm64)
  # There is no SDK; the oldest macOS is part of the target.
  set(CMAKE_OSX_SYSROOT "" CACHE PATH "")
  set(CMAKE_OSX_DEPLOYMENT_TARGET "" CACHE STRING "")
  set(frameworks "-iframework ${CMAKE_CURRENT_LIST_DIR}/stubs/Frameworks")
  set(CMAKE_OBJC_FLAGS_INIT "${frameworks}")
  set(CMAKE_OBJCXX_FLAGS_INIT "${frameworks}")
  set(link_stubs "-F$ENV{MILANE_LINK_STUBS}/Frameworks -L$ENV{MILANE_LINK_STUBS}/lib")
  set(CMAKE_MODULE_LINKER_FLAGS_INIT "${link_stubs}")
  set(CMAKE_SHARED_LINKER_FLAGS_INIT "${link_stubs}")
  # On a Mac, Foundation brings it.
  set(CMAKE_CXX_STANDARD_LIBRARIES_INIT "-lobjc")
else()
  set(CMAKE_SYSTEM_NAME Linux)
  set(CMAKE_SYSTEM_PROCESSOR aarch64)
endif()

foreach(lang C OBJC)
  set(CMAKE_${lang}_COMPILER $ENV{MILANE_ZIG} cc -target $ENV{MILANE_ZIG_TARGET})
endforeach()
foreach(lang CXX OBJCXX)
  set(CMAKE_${lang}_COMPILER $ENV{MILANE_ZIG} c++ -target $ENV{MILANE_ZIG_TARGET})
endforeach()
foreach(lang C CXX OBJC OBJCXX)
  # Warnings do not depend on optimisation, and without it the build takes half the time. zig adds
  # the sanitizer where it sees no -O.
  set(CMAKE_${lang}_FLAGS_RELEASE "-O0 -DNDEBUG -fno-sanitize=undefined" CACHE STRING "")
endforeach()
set(CMAKE_AR $ENV{MILANE_ZIG} CACHE FILEPATH "")
# CMake wants to know these two, but never runs them here.
set(CMAKE_RANLIB $ENV{MILANE_ZIG} CACHE FILEPATH "")
set(CMAKE_INSTALL_NAME_TOOL $ENV{MILANE_ZIG} CACHE FILEPATH "")
set(CMAKE_USER_MAKE_RULES_OVERRIDE ${CMAKE_CURRENT_LIST_DIR}/zig-rules.cmake)

# What try_compile asks here needs no executable.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

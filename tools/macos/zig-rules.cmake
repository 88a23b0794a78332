# How CMake calls zig: read after CMake's own rules of the platform, once for each language.
foreach(lang C CXX OBJC OBJCXX)
  # One program has all tools; `s` writes the index that ranlib would.
  set(CMAKE_${lang}_ARCHIVE_CREATE "<CMAKE_AR> ar qcs <TARGET> <OBJECTS>")
  set(CMAKE_${lang}_ARCHIVE_APPEND "<CMAKE_AR> ar qs <TARGET> <OBJECTS>")
  set(CMAKE_${lang}_ARCHIVE_FINISH "")
  if(CMAKE_SYSTEM_NAME STREQUAL "Darwin")
    # zig's linker crashes on -bundle.
    set(CMAKE_SHARED_MODULE_CREATE_${lang}_FLAGS "-shared")
  endif()
  # zig keeps objects in its cache, but not when it also has to write a dependency file. Each build
  # here starts from an empty folder, so none is needed.
  set(CMAKE_DEPFILE_FLAGS_${lang} "")
endforeach()

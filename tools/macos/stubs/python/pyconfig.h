// Hand-written: what CPython's public headers (3.10 to 3.14) ask of an arm64 Mac. The other headers
// are the same on every system.
#ifndef Py_PYCONFIG_H
#define Py_PYCONFIG_H

// As CPython's configure does on macOS. Linux's _POSIX_C_SOURCE would hide parts of the C library.
#define _DARWIN_C_SOURCE 1

#define SIZEOF__BOOL 1
#define SIZEOF_INT 4
#define SIZEOF_LONG 8
#define SIZEOF_LONG_DOUBLE 8
#define SIZEOF_LONG_LONG 8
#define SIZEOF_OFF_T 8
#define SIZEOF_PID_T 4
#define SIZEOF_PTHREAD_T 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_UINTPTR_T 8
#define SIZEOF_VOID_P 8
#define SIZEOF_WCHAR_T 4
#define ALIGNOF_MAX_ALIGN_T 8

#define HAVE_BUILTIN_ATOMIC 1
#define HAVE_CLOCK_GETTIME 1
#define HAVE_ERRNO_H 1
#define HAVE_FORK 1
#define HAVE_GCC_UINT128_T 1
#define HAVE_KQUEUE 1
#define HAVE_LANGINFO_H 1
#define HAVE_PTHREAD_H 1
#define HAVE_READLINK 1
#define HAVE_REALPATH 1
#define HAVE_SSIZE_T 1
#define HAVE_STD_ATOMIC 1
#define HAVE_SYS_SELECT_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_WCHAR_H 1

#define WITH_DOC_STRINGS 1
#define WITH_PYMALLOC 1

#endif

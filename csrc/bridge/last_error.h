// Exceptions end here: each becomes the calling thread's message.
#pragma once

#include <utility>

namespace milane::bridge {

// The calling thread's message, "" when there is none; valid until the thread's next change of it.
const char* last_error() noexcept;
void clear_last_error() noexcept;
// From within a catch block: "<function>: <what the exception says>".
void keep_exception(const char* function) noexcept;

// What body() returns; `failed` when it throws.
template <class R, class F>
R guarded(const char* function, R failed, F&& body) noexcept {
  clear_last_error();
  try {
    return std::forward<F>(body)();
  } catch (...) {
    keep_exception(function);
    return failed;
  }
}

template <class F>
void guarded(const char* function, F&& body) noexcept {
  guarded(function, false, [&] {
    std::forward<F>(body)();
    return true;
  });
}

}  // namespace milane::bridge

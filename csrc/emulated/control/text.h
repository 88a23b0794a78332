// Text for callers in C.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

namespace milane::emulated {

// `s` in quotes; nothing here has control characters.
inline std::string json_text(std::string_view s) {
  std::string quoted = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

// Copies what fits, with a zero, and returns the bytes that all of it needs.
inline std::size_t hand_over(std::string_view from, char* to, std::size_t size) {
  if (to != nullptr && size > 0) {
    const std::size_t count = std::min(from.size(), size - 1);
    std::memcpy(to, from.data(), count);
    to[count] = '\0';
  }
  return from.size() + 1;
}

}  // namespace milane::emulated

#include "bridge/last_error.h"

#include <exception>
#include <new>
#include <string>

#include "core/error.h"

namespace milane::bridge {
namespace {

thread_local std::string t_storage;
constinit thread_local const char* t_text = "";  // t_storage's, or a literal

// A device error's number is what others find it by.
std::string text_of(const Error& e) {
  std::string text = e.message();
  if (!e.domain().empty()) {
    text += "\ncode: " + e.domain() + " " + std::to_string(e.number());
    if (!e.device_class().empty()) text += ", " + e.device_class();
  }
  if (!e.hint().empty()) text += "\nhint: " + e.hint();
  return text;
}

void keep(const char* function, const std::string& text) {
  t_storage = std::string(function) + ": " + text;
  t_text = t_storage.c_str();
}

}  // namespace

const char* last_error() noexcept { return t_text; }

void clear_last_error() noexcept { t_text = ""; }

void keep_exception(const char* function) noexcept {
  t_text = "out of memory";  // for writing down even that
  try {
    try {
      throw;
    } catch (const Error& e) {
      keep(function, text_of(e));
    } catch (const std::bad_alloc&) {
      keep(function, "expected enough memory, got too little");
    } catch (const std::exception& e) {
      keep(function, e.what());
    } catch (...) {
      keep(function, "an unknown exception");
    }
  } catch (...) {  // no memory for the message
  }
}

}  // namespace milane::bridge

// What every Objective-C++ file here needs: an entry into Objective-C, and owning pointers.
// Manual retain and release, on macOS too: one rule for both runtimes this is compiled for.
#pragma once

#import <Foundation/Foundation.h>

#include <memory>
#include <new>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "apple/objc_guard.h"
#include "core/error.h"

namespace milane::apple {

inline std::string text(NSString* s) {
  const char* c = [s UTF8String];
  return c ? c : "";
}
inline NSString* ns(const std::string& s) { return [NSString stringWithUTF8String:s.c_str()]; }

// An exception that leaves @autoreleasepool skips its drain, and threads of Python have no pool
// below it: so the pool is an object, outside the guard, and the exception lives in it.
class Pool {
 public:
  Pool() : pool_([[NSAutoreleasePool alloc] init]) {}
  ~Pool() { [pool_ drain]; }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  NSAutoreleasePool* pool_;
};

// Every entry into Objective-C: f() in a pool of its own; an NSException becomes an Error whose
// class is the exception's name. `where` begins its message.
template <class F>
auto objc(const char* where, F&& f) -> decltype(f()) {
  using Result = decltype(f());
  struct Call {
    std::remove_reference_t<F>* f;
    std::conditional_t<std::is_void_v<Result>, int, std::optional<Result>> result{};
  } call{&f, {}};
  std::pair<std::string, std::string> thrown;  // name, reason
  const Pool pool;
  const int failed = milane_objc_guard(
      [](void* context) {
        auto* c = static_cast<Call*>(context);
        if constexpr (std::is_void_v<Result>) {
          (*c->f)();
        } else {
          c->result.emplace((*c->f)());
        }
      },
      &call,
      [](void* to, void* exception) {
        auto* e = static_cast<NSException*>(exception);
        *static_cast<std::pair<std::string, std::string>*>(to) = {text([e name]), text([e reason])};
      },
      &thrown);
  if (failed) {
    throw Error(ErrorCode::kEval,
                std::string(where) + ": expected the framework to return, got the exception " +
                    thrown.first + ": " + thrown.second,
                "the framework of this system may differ from the known ones: run `milane doctor`")
        .from_device("NSException", 0, thrown.first)
        .during(where);
  }
  if constexpr (!std::is_void_v<Result>) return std::move(*call.result);
}

// Owns one reference to an Objective-C object or a CoreFoundation one.
template <class T = id>
class Own {
 public:
  Own() = default;
  static Own adopt(T object) { return Own(object); }  // its reference is ours already
  static Own keep(T object) {                         // it is somebody else's: take our own
    if (object) CFRetain((CFTypeRef)object);
    return Own(object);
  }
  Own(Own&& o) noexcept : object_(std::exchange(o.object_, T{})) {}
  Own& operator=(Own&& o) noexcept {
    std::swap(object_, o.object_);
    return *this;
  }
  ~Own() {
    if (object_) CFRelease((CFTypeRef)object_);
  }

  T get() const { return object_; }
  explicit operator bool() const { return object_ != T{}; }
  void reset() { *this = Own(); }

 private:
  explicit Own(T object) : object_(object) {}
  T object_{};
};

}  // namespace milane::apple

// A counter that programs, other processors and the CPU wait for and raise.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace milane {

class SharedEvent {
 public:
  virtual ~SharedEvent() = default;
  virtual std::uint64_t value() const = 0;
  virtual void signal(std::uint64_t value) = 0;
  // Whether the event reached `value` in time; a negative timeout waits for ever.
  virtual bool wait(std::uint64_t value, std::int64_t timeout_ns) = 0;
  // A name for the same event elsewhere: a Mach port on the Mac, a number in this process
  // elsewhere.
  virtual std::uint32_t port() const = 0;
};
using SharedEventPtr = std::shared_ptr<SharedEvent>;

struct EventPoint {
  SharedEventPtr event;
  std::uint64_t value = 0;
};

}  // namespace milane

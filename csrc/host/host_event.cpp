#include "host/host_event.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>

#include "core/error.h"

namespace milane::host {
namespace {

class HostEvent final : public SharedEvent {
 public:
  explicit HostEvent(std::uint32_t port) : port_(port) {}
  ~HostEvent() override;

  std::uint64_t value() const override {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  void signal(std::uint64_t value) override {
    {
      const std::lock_guard lock(mutex_);
      value_ = value;
    }
    changed_.notify_all();
  }
  bool wait(std::uint64_t value, std::int64_t timeout_ns) override {
    std::unique_lock lock(mutex_);
    const auto reached = [&] { return value_ >= value; };
    if (timeout_ns >= 0) {
      return changed_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), reached);
    }
    changed_.wait(lock, reached);
    return true;
  }
  std::uint32_t port() const override { return port_; }

 private:
  const std::uint32_t port_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t value_ = 0;
};

// The living events by port.
struct Registry {
  std::mutex mutex;
  std::map<std::uint32_t, std::weak_ptr<HostEvent>> events;
  std::uint32_t next = 1;
};

Registry& registry() {
  static Registry* const all = new Registry;  // outlives every event, at exit too
  return *all;
}

HostEvent::~HostEvent() {
  const std::lock_guard lock(registry().mutex);
  registry().events.erase(port_);
}

}  // namespace

SharedEventPtr make_host_event() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  while (all.next == 0 || all.events.contains(all.next)) ++all.next;
  auto event = std::make_shared<HostEvent>(all.next);
  all.events[all.next++] = event;
  return event;
}

SharedEventPtr host_event_from_port(std::uint32_t port) {
  SharedEventPtr event;
  {
    const std::lock_guard lock(registry().mutex);
    const auto it = registry().events.find(port);
    if (it != registry().events.end()) event = it->second.lock();
  }
  if (event) return event;
  throw Error(
      ErrorCode::kInvalidArgument,
      "event: expected the port of a living event of this process, got " + std::to_string(port));
}

}  // namespace milane::host

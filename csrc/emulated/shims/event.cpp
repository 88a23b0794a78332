#include "emulated/shims/event.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

struct MilaneEvent {
  explicit MilaneEvent(std::uint32_t p) : port(p) {}

  const std::uint32_t port;
  long references = 1;  // under the registry's lock
  mutable std::mutex lock;
  std::condition_variable changed;
  std::uint64_t value = 0;
};

namespace {

struct Registry {
  std::mutex lock;
  std::map<std::uint32_t, MilaneEvent*> events;
  std::uint32_t next = 0x1003;  // as unlike an index or a count as a port is
};

Registry& registry() {
  static Registry* const all = new Registry;  // outlives every event
  return *all;
}

}  // namespace

MilaneEvent* milane_event_create() {
  const std::lock_guard lock(registry().lock);
  const std::uint32_t port = registry().next;
  registry().next += 0x100;
  milane_live_add("event counters", 1);
  return registry().events[port] = new MilaneEvent(port);
}

MilaneEvent* milane_event_from_port(uint32_t port) {
  const std::lock_guard lock(registry().lock);
  const auto found = registry().events.find(port);
  if (found == registry().events.end()) return nullptr;
  ++found->second->references;
  return found->second;
}

void milane_event_release(MilaneEvent* event) {
  if (event == nullptr) return;
  {
    const std::lock_guard lock(registry().lock);
    if (--event->references > 0) return;
    registry().events.erase(event->port);
  }
  milane_live_add("event counters", -1);
  delete event;
}

uint32_t milane_event_port(const MilaneEvent* event) { return event->port; }

uint64_t milane_event_value(const MilaneEvent* event) {
  const std::lock_guard lock(event->lock);
  return event->value;
}

void milane_event_set(MilaneEvent* event, uint64_t value) {
  const std::lock_guard lock(event->lock);
  event->value = value;
  event->changed.notify_all();
}

bool milane_event_wait(MilaneEvent* event, uint64_t value, uint64_t milliseconds) {
  const long given_up = milane_fault_number(kEventTimeout, -1, 0);
  if (given_up >= 0) {
    milane_sleep_ms(given_up);
    return false;
  }
  // For ever is as good as a year.
  constexpr std::uint64_t kYear = 365ull * 24 * 3600 * 1000;
  std::unique_lock lock(event->lock);
  return event->changed.wait_for(lock, std::chrono::milliseconds(std::min(milliseconds, kYear)),
                                 [&] { return event->value >= value; });
}

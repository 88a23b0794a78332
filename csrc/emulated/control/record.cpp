// Counters of living objects, the log of calls, and the last reason.
#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "emulated/control/control.h"
#include "emulated/control/text.h"

namespace milane::emulated {
namespace {

struct Record {
  std::mutex lock;
  std::map<std::string_view, long> living;
  std::vector<std::string> calls;
  std::string reason;
  std::atomic<bool> recording{false};
};

Record& record() {
  static Record* const all = new Record;  // outlives every thread
  return *all;
}

}  // namespace
}  // namespace milane::emulated

using namespace milane::emulated;

void milane_live_add(const char* kind, long change) {
  const std::lock_guard lock(record().lock);
  record().living[kind] += change;
}

long milane_live_count(const char* kind) {
  const std::lock_guard lock(record().lock);
  return record().living[kind];
}

void milane_log_call(char sign, const char* cls, const char* selector) {
  if (!record().recording.load(std::memory_order_relaxed)) return;
  std::string line;
  line.append(1, sign).append("[").append(cls).append(" ").append(selector).append("]");
  const std::lock_guard lock(record().lock);
  record().calls.push_back(std::move(line));
}

void milane_set_reason(const char* text) {
  const std::lock_guard lock(record().lock);
  record().reason = text;
}

void milane_emulated_record(bool on) {
  const std::lock_guard lock(record().lock);
  if (on) record().calls.clear();
  record().recording = on;
}

size_t milane_emulated_live(char* text, size_t size) {
  std::string all = "{";
  const std::lock_guard lock(record().lock);
  for (const auto& [kind, count] : record().living) {
    if (all.size() > 1) all += ", ";
    all += json_text(kind) + ": " + std::to_string(count);
  }
  return hand_over(all + "}", text, size);
}

size_t milane_emulated_calls(char* text, size_t size) {
  std::string all = "[";
  const std::lock_guard lock(record().lock);
  for (const std::string& call : record().calls) {
    if (all.size() > 1) all += ", ";
    all += json_text(call);
  }
  return hand_over(all + "]", text, size);
}

size_t milane_emulated_reason(char* text, size_t size) {
  const std::lock_guard lock(record().lock);
  return hand_over(record().reason, text, size);
}

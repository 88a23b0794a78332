#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>

#include "emulated/control/control.h"
#include "emulated/control/text.h"

namespace milane::emulated {
namespace {

enum class Value { kHits, kNumber, kNames };

struct Row {
  std::string_view name;
  Value value;
  std::string_view effect;
};

constexpr Row kRows[] = {
#define MILANE_FAULT(id, name, value, effect) {name, Value::value, effect},
#include "emulated/control/faults.def"
#undef MILANE_FAULT
};
static_assert(std::size(kRows) == kFaultCount);

constexpr long kUntilCleared = -1;
constexpr long kPlain = -1;

// One fault's state. `on` alone is read on the way of an evaluation without faults.
struct State {
  std::atomic<bool> on{false};
  std::atomic<long> number{0};  // kHits: what is left of them; kNumber: the number
  std::string names;            // under the table's lock
};

struct Table {
  std::shared_mutex lock;
  std::array<State, kFaultCount> states;
};

Table& table() {
  static Table* const all = new Table;  // outlives every thread
  return *all;
}

std::optional<std::size_t> find(std::string_view name) {
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    if (kRows[i].name == name) return i;
  }
  return std::nullopt;
}

std::optional<long> parse(std::string_view text) {
  long n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < 0) return std::nullopt;
  return n;
}

std::string_view trimmed(std::string_view s) {
  while (s.starts_with(' ')) s.remove_prefix(1);
  while (s.ends_with(' ')) s.remove_suffix(1);
  return s;
}

// Whether `matches` holds for a member of a comma-separated list.
template <class F>
bool any_member(std::string_view list, F matches) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string_view member = trimmed(list.substr(0, comma));
    if (!member.empty() && matches(member)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

template <class F>
bool any_name(MilaneFault fault, F matches) {
  State& state = table().states[fault];
  if (!state.on.load(std::memory_order_acquire)) return false;
  const std::shared_lock lock(table().lock);
  return any_member(state.names, matches);
}

void clear(std::size_t i) {
  State& state = table().states[i];
  state.on = false;
  state.names.clear();
}

int set(std::string_view name, std::string_view value) {
  const auto i = find(name);
  if (!i) return 1;
  const Row& row = kRows[*i];
  const std::optional<long> number = value.empty() ? std::nullopt : parse(value);
  if (row.value == Value::kNames ? value.empty() : !value.empty() && !number) return 2;
  if (row.value == Value::kHits && number == 0) return 2;
  const std::unique_lock lock(table().lock);
  State& state = table().states[*i];
  // "once" is in the name of one: without a number it is one hit.
  state.number = number.value_or(row.value == Value::kHits && *i == kLoadOnce ? 1 : kUntilCleared);
  state.names = value;
  state.on = true;
  return 0;
}

}  // namespace
}  // namespace milane::emulated

using namespace milane::emulated;

bool milane_fault(MilaneFault fault) {
  State& state = table().states[fault];
  if (!state.on.load(std::memory_order_acquire)) return false;
  long left = state.number.load();
  while (left != kUntilCleared) {
    if (left == 0) return false;
    if (!state.number.compare_exchange_weak(left, left - 1)) continue;
    if (left == 1) state.on = false;
    return true;
  }
  return true;
}

long milane_fault_number(MilaneFault fault, long absent, long plain) {
  const State& state = table().states[fault];
  if (!state.on.load(std::memory_order_acquire)) return absent;
  const long number = state.number.load();
  return number == kPlain ? plain : number;
}

bool milane_fault_names(MilaneFault fault, const char* name) {
  return any_name(fault, [name](std::string_view member) { return member == name; });
}

bool milane_fault_occurs(MilaneFault fault, const char* text) {
  const std::string_view whole(text);
  return any_name(fault, [whole](std::string_view member) {
    return whole.find(member) != std::string_view::npos;
  });
}

void milane_sleep_ms(long milliseconds) {
  if (milliseconds > 0) std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

int milane_emulated_fault_set(const char* name, const char* value) {
  const int result = set(name, value == nullptr ? "" : value);
  if (result == 0 && std::string_view(name) == kRows[kMissingSelector].name) {
    milane_missing_selectors_changed();
  }
  return result;
}

int milane_emulated_fault_clear(const char* name) {
  {
    const std::unique_lock lock(table().lock);
    if (name == nullptr) {
      for (std::size_t i = 0; i < kFaultCount; ++i) clear(i);
    } else if (const auto i = find(name)) {
      clear(*i);
    } else {
      return 1;
    }
  }
  milane_missing_selectors_changed();
  return 0;
}

size_t milane_emulated_faults(char* text, size_t size) {
  constexpr std::string_view kKinds[] = {"hits", "number", "names"};
  std::string all = "{";
  for (const Row& row : kRows) {
    if (all.size() > 1) all += ", ";
    all += json_text(row.name) + ": [" + json_text(kKinds[static_cast<int>(row.value)]) + ", " +
           json_text(row.effect) + "]";
  }
  return hand_over(all + "}", text, size);
}

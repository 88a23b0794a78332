#include <chrono>

#include "apple/apple.h"
#include "apple/objc.h"

namespace milane::apple {
namespace {

template <class Call>
double ns_per_call(int calls, Call&& call) {
  using namespace std::chrono;
  const auto start = steady_clock::now();
  for (int i = 0; i < calls; ++i) call();
  return duration<double, std::nano>(steady_clock::now() - start).count() / calls;
}

void nothing(void*) {}
void no_exception(void*, void*) {}

}  // namespace

EntryCost measure_entry(int calls) {
  EntryCost cost;
  const Pool pool;
  cost.pool_ns = ns_per_call(calls, [] { const Pool inner; });
  cost.guard_ns =
      ns_per_call(calls, [] { milane_objc_guard(&nothing, nullptr, &no_exception, nullptr); });
  cost.entry_ns = ns_per_call(calls, [] { objc("measure", [] {}); });
  return cost;
}

}  // namespace milane::apple

// Threads for completion handlers: started when needed, kept for the next one, never joined.
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

#include "emulated/framework/engine.h"

namespace {

struct Task {
  void (*work)(void*);
  void* context;
};

struct Threads {
  std::mutex lock;
  std::condition_variable more;
  std::deque<Task> tasks;
  std::size_t idle = 0;
};

Threads& threads() {
  static Threads* const all = new Threads;  // outlives the process's exit handlers
  return *all;
}

[[noreturn]] void serve() {
  Threads& all = threads();
  for (;;) {
    Task task;
    {
      std::unique_lock lock(all.lock);
      ++all.idle;
      all.more.wait(lock, [&] { return !all.tasks.empty(); });
      --all.idle;
      task = all.tasks.front();
      all.tasks.pop_front();
    }
    task.work(task.context);
  }
}

}  // namespace

void milane_run_later(void (*work)(void*), void* context) {
  Threads& all = threads();
  bool start = false;
  {
    const std::lock_guard lock(all.lock);
    all.tasks.push_back({work, context});
    // One that waits for an event must not hold up the one that signals it.
    start = all.idle < all.tasks.size();
  }
  try {
    if (start) std::thread(serve).detach();
  } catch (const std::system_error&) {  // no thread is to be had: a busy one will come to it
  }
  all.more.notify_one();
}

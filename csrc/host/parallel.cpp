#include "host/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>

#include "core/error.h"

namespace milane::host {
namespace {

using Body = FunctionRef<void(std::int64_t, std::int64_t)>;

// How long a worker waits for the next job before it sleeps: the gap between two steps of one
// program is shorter, the gap between two programs is not.
constexpr auto kSpin = std::chrono::microseconds(70);
constexpr int kMaxThreads = 1024;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// One job at a time. A worker steps `inside` before it reads `open`, the caller shuts `open` before
// it reads `inside` (both sequentially consistent), so the job's fields change only while nobody
// reads them, and a worker that wakes up late finds the door shut.
struct Pool {
  std::atomic<std::uint32_t> epoch{0};  // a new value announces a job
  std::atomic<int> sleepers{0};
  std::atomic<bool> open{false};
  std::atomic<int> inside{0};
  std::atomic<std::int64_t> next{0};  // first item not claimed yet
  std::int64_t n = 0, grain = 0;
  const Body* body = nullptr;
  std::atomic<int> limit{1};  // workers that take part
  int workers = 0;            // workers started
};

std::atomic<Pool*> g_pool{nullptr};  // never destroyed: workers may outlive static destructors
std::atomic<bool> g_busy{false};     // held by the thread that runs a job, or starts workers
std::atomic<int> g_wanted{0};        // 0: not decided yet
thread_local bool t_inside = false;  // this thread runs a body

void run_chunks(Pool& pool) {
  t_inside = true;
  for (;;) {
    const std::int64_t begin = pool.next.fetch_add(pool.grain, std::memory_order_relaxed);
    if (begin >= pool.n) break;
    const std::int64_t end = pool.n - begin > pool.grain ? begin + pool.grain : pool.n;
    (*pool.body)(begin, end);
  }
  t_inside = false;
}

// Returns the new epoch.
std::uint32_t wait_for_job(Pool& pool, std::uint32_t seen) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    for (int i = 0; i < 64; ++i) {
      const auto now = pool.epoch.load(std::memory_order_acquire);
      if (now != seen) return now;
      relax();
    }
    if (std::chrono::steady_clock::now() - start > kSpin) break;
  }
  pool.sleepers.fetch_add(1);
  std::uint32_t now = seen;
  while ((now = pool.epoch.load()) == seen) pool.epoch.wait(seen);
  pool.sleepers.fetch_sub(1);
  return now;
}

void work(Pool& pool, int index, std::uint32_t seen) {
  for (;;) {
    seen = wait_for_job(pool, seen);
    if (index >= pool.limit.load(std::memory_order_relaxed)) continue;
    pool.inside.fetch_add(1);
    if (pool.open.load()) run_chunks(pool);
    pool.inside.fetch_sub(1);
  }
}

// Only the holder of g_busy comes here. Workers take no signals: those belong to the caller's
// threads.
void start_workers(Pool& pool, int wanted) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    while (pool.workers < wanted) {
      std::thread(work, std::ref(pool), pool.workers, pool.epoch.load()).detach();
      ++pool.workers;
    }
  } catch (const std::system_error&) {  // no more threads to be had: go on with those there are
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// In the child of a fork only the forking thread lives: forget the old pool.
void after_fork() {
  g_pool.store(nullptr);
  g_busy.store(false);
}

Pool& pool_with(int workers) {
  Pool* pool = g_pool.load();
  if (pool == nullptr) {
    static const int registered = pthread_atfork(nullptr, nullptr, after_fork);
    (void)registered;
    pool = new Pool;
    g_pool.store(pool);
  }
  if (pool->workers < workers) start_workers(*pool, workers);
  return *pool;
}

int default_threads() {
  if (const char* text = std::getenv("MILANE_NUM_THREADS")) {
    const int n = std::atoi(text);
    if (n >= 1) return n < kMaxThreads ? n : kMaxThreads;
  }
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const int n = static_cast<int>(std::thread::hardware_concurrency());
  return n >= 1 ? n : 1;
}

// Workers that still hold a chunk are waited for; one that lost its CPU should get ours.
void wait_until_empty(Pool& pool) {
  for (int spins = 0; pool.inside.load() != 0; ++spins) {
    if (spins < 4096) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace

int num_threads() {
  int n = g_wanted.load(std::memory_order_relaxed);
  if (n == 0) {
    const int fresh = default_threads();
    n = g_wanted.compare_exchange_strong(n, fresh) ? fresh : n;
  }
  return n;
}

void set_num_threads(int n) {
  if (n < 1 || n > kMaxThreads) {
    throw Error(ErrorCode::kInvalidArgument, "set_num_threads: expected 1 to " +
                                                 std::to_string(kMaxThreads) + ", got " +
                                                 std::to_string(n));
  }
  g_wanted.store(n);
}

void parallel_for(std::int64_t n, std::int64_t grain, Body body) {
  if (n <= 0) return;
  if (grain < 1) grain = 1;
  const int threads = n <= grain ? 1 : num_threads();
  if (threads == 1 || t_inside || g_busy.exchange(true, std::memory_order_acquire)) {
    body(0, n);
    return;
  }
  Pool& pool = pool_with(threads - 1);
  pool.limit.store(threads - 1, std::memory_order_relaxed);
  pool.n = n;
  pool.grain = grain;
  pool.body = &body;
  pool.next.store(0, std::memory_order_relaxed);
  pool.open.store(true);
  pool.epoch.fetch_add(1);
  if (pool.sleepers.load() > 0) pool.epoch.notify_all();
  run_chunks(pool);
  pool.open.store(false);
  wait_until_empty(pool);
  g_busy.store(false, std::memory_order_release);
}

}  // namespace milane::host

#include "emulated/framework/compiled.h"

#include <list>
#include <mutex>

#include "backend/weights.h"
#include "core/error.h"
#include "emulated/framework/limits.h"
#include "host/host.h"
#include "mil/package.h"
#include "mil/parser.h"
#include "mil/verify.h"

namespace milane::emulated {
namespace {

namespace fs = std::filesystem;

// The device keeps them on a disk; here they are in memory, so the oldest go at some point.
constexpr std::size_t kMaxEntries = 512;
constexpr std::size_t kMaxBytes = std::size_t{512} << 20;

struct Entry {
  std::string identity;
  CompiledPtr compiled;
};

struct Cache {
  std::mutex lock;
  std::list<Entry> entries;  // the latest use first
};

Cache& cache() {
  static Cache* const all = new Cache;
  return *all;
}

template <class F>
CompiledPtr find(F matches) {
  const std::lock_guard lock(cache().lock);
  auto& entries = cache().entries;
  for (auto it = entries.begin(); it != entries.end(); ++it) {
    if (!matches(*it)) continue;
    entries.splice(entries.begin(), entries, it);
    return entries.front().compiled;
  }
  return nullptr;
}

void drop(const std::string& identity) {
  cache().entries.remove_if([&](const Entry& e) { return e.identity == identity; });
}

const BackendPtr& host_engine() {
  static const BackendPtr* const engine = new BackendPtr(host::make_host_backend());
  return *engine;
}

MilaneFailure class_of(const Error& e) {
  const bool text = e.code() == ErrorCode::kSyntax || e.code() == ErrorCode::kVerify;
  return text ? kInvalidMil : kCompilation;
}

Outcome failed(MilaneFailure failure, const std::string& reason) {
  milane_set_reason(reason.c_str());
  return {failure, nullptr};
}

Outcome try_compile(const std::string& text, const fs::path& folder, Bytes first_blob) {
  const mil::ProgramPtr program = mil::parse(text, "model.mil");
  mil::verify(*program);
  if (const auto refused = refusal(*program)) return failed(refused->failure, refused->reason);

  auto compiled = std::make_shared<Compiled>();
  compiled->text = text;
  WeightSet weights;
  for (const std::string& path : blob_paths(*program)) {
    Bytes bytes = compiled->first_blob ? nullptr : first_blob;
    if (!bytes) bytes = read_bytes(mil::resolve_weight_path(path, folder.string()));
    if (!compiled->first_blob) compiled->first_blob = bytes;
    compiled->bytes += bytes->size();
    weights.add_bytes(path, bytes, bytes->data(), bytes->size());
  }
  for (const auto& function : program->functions) {
    CompileOptions options;
    options.function = function->name;
    compiled->procedures.push_back(host_engine()->compile(program, weights, options));
  }
  return {kSucceeded, std::move(compiled)};
}

}  // namespace

Outcome compile_text(const std::string& text, const fs::path& folder, Bytes first_blob) {
  try {
    return try_compile(text, folder, std::move(first_blob));
  } catch (const Error& e) {
    return failed(class_of(e), e.what());
  } catch (const std::exception& e) {
    return failed(kCompilation, e.what());
  }
}

CompiledPtr cached(const std::string& identity) {
  return find([&](const Entry& e) { return e.identity == identity; });
}

CompiledPtr cached_text(const std::string& text) {
  return find([&](const Entry& e) { return e.compiled->text == text; });
}

void remember(const std::string& identity, CompiledPtr compiled) {
  const std::lock_guard lock(cache().lock);
  drop(identity);
  auto& entries = cache().entries;
  entries.push_front({identity, std::move(compiled)});
  std::size_t bytes = 0, count = 0;
  for (auto it = entries.begin(); it != entries.end(); ++it) {
    bytes += it->compiled->bytes;
    if (++count == 1 || (count <= kMaxEntries && bytes <= kMaxBytes)) continue;
    entries.erase(it, entries.end());
    break;
  }
}

}  // namespace milane::emulated

using namespace milane::emulated;

bool milane_compiled_exists(const char* identity) { return cached(identity) != nullptr; }

void milane_purge(const char* identity) {
  const std::lock_guard lock(cache().lock);
  drop(identity);
}

void milane_emulated_reset() {
  const std::lock_guard lock(cache().lock);
  cache().entries.clear();
}

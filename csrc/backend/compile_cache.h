// What compiles leave for later ones, in a folder that processes share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/hash.h"

namespace milane {

// A part of an entry, mapped: it lives as long as `owner`, whatever happens to the file's name.
struct CachedPart {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

// What `milane cache ls` shows of an entry; read from its header, nothing of it is trusted.
struct CacheEntry {
  std::string key, label, build;
  std::uint64_t bytes = 0;      // of the file
  std::int64_t created_ns = 0;  // since 1970
  std::int64_t used_ns = 0;
};

struct CacheCounts {
  std::int64_t hits = 0, misses = 0;
};

// One file per entry, named by its key: a header, a table of parts, the parts. It is written under
// another name and renamed, so a name always stands for a whole file, and no lock is needed. What
// a crash, a full disk or anybody else did to a file is found by the hashes over all of it; such
// an entry is removed. That also stands in for fsync: an entry lost to a power cut is a miss.
// Nothing here throws: a cache that cannot be used is a miss, and take_problem() says why.
class CompileCache {
 public:
  using HashFn = std::vector<Hash128> (*)(std::span<const std::span<const std::byte>>);

  // `build` names what made the entries (the engine's version): others are not read. `hash` gives
  // what hash_bytes() gives of each part, and may use threads.
  CompileCache(std::string folder, std::uint64_t limit_bytes, std::string build, HashFn hash);

  // The entry's parts, checked, and marked as used now. Counts a hit or a miss.
  std::optional<std::vector<CachedPart>> find(const Hash128& key);
  // Writes an entry; then removes those used longest ago until the folder is within the limit.
  void store(const Hash128& key, const std::string& label,
             std::span<const std::span<const std::byte>> parts);
  void remove(const Hash128& key);

  // The least recently used first.
  std::vector<CacheEntry> entries() const;
  // Removes entries last used before `used_before_ns`, then the least recently used until at most
  // `keep_bytes` are left. Returns those removed.
  std::vector<CacheEntry> clear(std::int64_t used_before_ns, std::uint64_t keep_bytes);

  const std::string& folder() const { return folder_; }
  const std::string& build() const { return build_; }
  std::uint64_t limit_bytes() const { return limit_bytes_; }
  // Why an entry could not be written: the first reason, told once; "" when there is none to tell.
  std::string take_problem();

  // Of all caches of this process.
  static CacheCounts counts();

 private:
  std::string path(const std::string& key) const;
  std::optional<std::vector<CachedPart>> read(const Hash128& key) const;
  void write(const Hash128& key, const std::string& label,
             std::span<const std::span<const std::byte>> parts) const;
  void remove_abandoned() const;

  std::string folder_, build_;
  std::uint64_t limit_bytes_;
  HashFn hash_;
  std::mutex mutex_;
  std::optional<std::string> problem_;
  bool told_ = false;
};

}  // namespace milane

#include "backend/compile_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>

#include "blob/mapped_file.h"
#include "core/error.h"

namespace milane {
namespace {

namespace fs = std::filesystem;

constexpr std::array<char, 8> kMagic = {'M', 'I', 'L', 'A', 'N', 'E', 'C', '1'};
constexpr std::string_view kSuffix = ".milane";
constexpr std::string_view kPartSuffix = ".part";
constexpr std::size_t kAlignment = 64;
constexpr std::uint32_t kMostParts = 1u << 20;
// Nobody writes an entry for so long: who began it is gone.
constexpr auto kAbandonedAfter = std::chrono::hours(1);

struct Header {
  std::array<char, 8> magic = kMagic;
  std::uint32_t parts = 0;
  std::uint32_t reserved = 0;
  Hash128 key;
  Hash128 check;  // of header and table, with zeros here
  std::uint64_t file_bytes = 0;
  std::int64_t created_ns = 0;
  std::array<char, 96> build{}, label{};  // end in a zero
};
static_assert(sizeof(Header) == 256);

struct PartRow {
  std::uint64_t offset = 0, bytes = 0;
  Hash128 check;
};
static_assert(sizeof(PartRow) == 32);

std::atomic<std::int64_t> hits{0}, misses{0};

std::size_t round_up(std::size_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

std::int64_t now_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(system_clock::now().time_since_epoch()).count();
}

template <std::size_t N>
void copy_text(std::array<char, N>& to, const std::string& text) {
  std::memcpy(to.data(), text.data(), std::min(text.size(), N - 1));
}
template <std::size_t N>
std::string text_of(const std::array<char, N>& from) {
  return {from.data(), std::find(from.begin(), from.end(), '\0')};
}

Hash128 check_of(Header header, std::span<const PartRow> rows) {
  header.check = {};
  const std::array<Hash128, 2> both = {hash_bytes(std::as_bytes(std::span(&header, 1))),
                                       hash_bytes(std::as_bytes(rows))};
  return hash_bytes(std::as_bytes(std::span(both)));
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// A file that is removed again unless it is kept.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd_ < 0) fail();
  }
  ~NewFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!kept_) ::unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      // Systems write at most 2 GiB at a time.
      const ssize_t done = ::write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), 1 << 30));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail();
      bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
  }
  // Some file systems report a full disk only here.
  void close() {
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0) fail();
  }
  void keep_as(const std::string& path) {
    if (::rename(path_.c_str(), path.c_str()) != 0) fail();
    kept_ = true;
  }

 private:
  [[noreturn]] void fail() const { throw std::system_error(errno, std::generic_category(), path_); }

  std::string path_;
  int fd_ = -1;
  bool kept_ = false;
};

std::int64_t modified_ns(const struct stat& s) {
#if defined(__APPLE__)
  return s.st_mtimespec.tv_sec * std::int64_t{1000000000} + s.st_mtimespec.tv_nsec;
#else
  return s.st_mtim.tv_sec * std::int64_t{1000000000} + s.st_mtim.tv_nsec;
#endif
}

}  // namespace

CompileCache::CompileCache(std::string folder, std::uint64_t limit_bytes, std::string build,
                           HashFn hash)
    : folder_(std::move(folder)),
      build_(std::move(build)),
      limit_bytes_(limit_bytes),
      hash_(hash) {}

std::string CompileCache::path(const std::string& key) const {
  return folder_ + "/" + key + std::string(kSuffix);
}

std::string CompileCache::take_problem() {
  const std::lock_guard lock(mutex_);
  if (told_ || !problem_) return {};
  told_ = true;
  return *problem_;
}

CacheCounts CompileCache::counts() { return {hits.load(), misses.load()}; }

std::optional<std::vector<CachedPart>> CompileCache::find(const Hash128& key) {
  auto parts = read(key);
  if (parts) {
    // When it was last used is when its file was last changed: the content never is.
    ::utimensat(AT_FDCWD, path(to_string(key)).c_str(), nullptr, 0);
  }
  ++(parts ? hits : misses);
  return parts;
}

std::optional<std::vector<CachedPart>> CompileCache::read(const Hash128& key) const {
  const std::string name = path(to_string(key));
  std::shared_ptr<const blob::MappedFile> file;
  try {
    file = blob::MappedFile::open(name);
  } catch (const Error&) {
    return std::nullopt;
  }
  const auto damaged = [&]() -> std::optional<std::vector<CachedPart>> {
    ::unlink(name.c_str());
    return std::nullopt;
  };
  const std::span<const std::byte> bytes = file->bytes();
  Header header;
  if (bytes.size() < sizeof(Header)) return damaged();
  std::memcpy(&header, bytes.data(), sizeof(Header));
  const std::size_t table_end = sizeof(Header) + header.parts * sizeof(PartRow);
  if (header.magic != kMagic || header.parts > kMostParts || bytes.size() < table_end) {
    return damaged();
  }
  std::vector<PartRow> rows(header.parts);
  if (!rows.empty()) {
    std::memcpy(rows.data(), bytes.data() + sizeof(Header), rows.size() * sizeof(PartRow));
  }
  if (header.check != check_of(header, rows) || header.file_bytes != bytes.size()) return damaged();
  if (header.key != key || text_of(header.build) != build_) return damaged();
  std::vector<CachedPart> parts;
  std::vector<std::span<const std::byte>> contents;
  std::size_t end = table_end;
  for (const PartRow& row : rows) {
    const std::size_t begin = round_up(end);
    if (row.offset != begin || begin > bytes.size() || row.bytes > bytes.size() - begin) {
      return damaged();
    }
    if (!all_zero(bytes.subspan(end, begin - end))) return damaged();
    parts.push_back({bytes.subspan(begin, row.bytes), file});
    contents.push_back(parts.back().bytes);
    end = begin + row.bytes;
  }
  if (end != bytes.size()) return damaged();
  const std::vector<Hash128> found = hash_(contents);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (found[i] != rows[i].check) return damaged();
  }
  return parts;
}

void CompileCache::store(const Hash128& key, const std::string& label,
                         std::span<const std::span<const std::byte>> parts) {
  std::uint64_t bytes = sizeof(Header) + parts.size() * sizeof(PartRow);
  for (const auto& part : parts) bytes = round_up(bytes) + part.size();
  if (bytes > limit_bytes_ || parts.size() > kMostParts) return;
  try {
    fs::create_directories(fs::path(folder_).parent_path());
    // Weights are somebody's: what is ours is for them alone.
    if (::mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) {
      throw std::system_error(errno, std::generic_category(), folder_);
    }
    write(key, label, parts);
    clear(0, limit_bytes_);
    remove_abandoned();
  } catch (const std::exception& e) {
    const std::lock_guard lock(mutex_);
    if (!problem_) problem_ = e.what();
  }
}

void CompileCache::write(const Hash128& key, const std::string& label,
                         std::span<const std::span<const std::byte>> parts) const {
  Header header;
  header.parts = static_cast<std::uint32_t>(parts.size());
  header.key = key;
  header.created_ns = now_ns();
  copy_text(header.build, build_);
  copy_text(header.label, label);
  const std::vector<Hash128> checks = hash_(parts);
  std::vector<PartRow> rows;
  std::size_t end = sizeof(Header) + parts.size() * sizeof(PartRow);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    rows.push_back({round_up(end), parts[i].size(), checks[i]});
    end = rows.back().offset + parts[i].size();
  }
  header.file_bytes = end;
  header.check = check_of(header, rows);

  static std::atomic<std::int64_t> number{0};
  NewFile file(folder_ + "/." + to_string(key) + "." + std::to_string(::getpid()) + "." +
               std::to_string(number++) + std::string(kPartSuffix));
  file.write(std::as_bytes(std::span(&header, 1)));
  file.write(std::as_bytes(std::span(rows)));
  end = sizeof(Header) + rows.size() * sizeof(PartRow);
  static constexpr std::array<std::byte, kAlignment> kZeros{};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    file.write(std::span(kZeros).first(rows[i].offset - end));
    file.write(parts[i]);
    end = rows[i].offset + parts[i].size();
  }
  file.close();
  file.keep_as(path(to_string(key)));
}

void CompileCache::remove(const Hash128& key) { ::unlink(path(to_string(key)).c_str()); }

std::vector<CacheEntry> CompileCache::entries() const {
  std::vector<CacheEntry> all;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.ends_with(kSuffix) || name.starts_with(".")) continue;
    struct stat status = {};
    if (::stat(it->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    CacheEntry entry;
    entry.key = name.substr(0, name.size() - kSuffix.size());
    entry.bytes = static_cast<std::uint64_t>(status.st_size);
    entry.used_ns = entry.created_ns = modified_ns(status);
    Header header;
    const int fd = ::open(it->path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && ::read(fd, &header, sizeof(header)) == sizeof(header) &&
        header.magic == kMagic) {
      entry.label = text_of(header.label);
      entry.build = text_of(header.build);
      entry.created_ns = header.created_ns;
    }
    if (fd >= 0) ::close(fd);
    all.push_back(std::move(entry));
  }
  std::sort(all.begin(), all.end(), [](const CacheEntry& a, const CacheEntry& b) {
    return std::tie(a.used_ns, a.key) < std::tie(b.used_ns, b.key);
  });
  return all;
}

std::vector<CacheEntry> CompileCache::clear(std::int64_t used_before_ns, std::uint64_t keep_bytes) {
  const std::vector<CacheEntry> all = entries();
  std::uint64_t left = 0;
  for (const CacheEntry& entry : all) left += entry.bytes;
  std::vector<CacheEntry> gone;
  for (const CacheEntry& entry : all) {
    if (entry.used_ns >= used_before_ns && left <= keep_bytes) break;
    left -= entry.bytes;
    if (::unlink(path(entry.key).c_str()) == 0) gone.push_back(entry);
  }
  return gone;
}

void CompileCache::remove_abandoned() const {
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (!it->path().filename().string().ends_with(kPartSuffix)) continue;
    if (it->last_write_time(ignored) + kAbandonedAfter > fs::file_time_type::clock::now()) continue;
    fs::remove(it->path(), ignored);
  }
}

}  // namespace milane

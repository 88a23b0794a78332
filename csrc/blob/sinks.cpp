#include "blob/sinks.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

namespace milane::blob {
namespace {

// macOS refuses a single write of 2 GiB or more.
constexpr std::size_t kChunk = std::size_t{1} << 30;
// As many halves as stay in a core's cache until they are written.
constexpr std::size_t kHalves = std::size_t{1} << 17;

[[noreturn]] void fail(const std::string& path, const char* expected, int error) {
  Error failure(ErrorCode::kFile, path + ": expected " + expected +
                                      ", got: " + std::generic_category().message(error));
  throw failure.from_device("POSIX", error);
}

}  // namespace

FileSink::FileSink(std::string path) : path_(std::move(path)) {
  // O_EXCL: two writers of one path, in any processes, never share a temporary file.
  for (int i = 0; fd_ < 0; ++i) {
    temporary_ = path_ + "." + std::to_string(::getpid()) + "-" + std::to_string(i) + ".tmp";
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && errno != EEXIST) fail(path_, "a writable folder", errno);
  }
}

FileSink::~FileSink() {
  close();
  if (!finished_) ::unlink(temporary_.c_str());
}

// Room on the disk found beforehand makes writing into it up to twice as fast (ext4). A file system
// that cannot do it is no failure, and a full one is when the bytes come.
void FileSink::expect([[maybe_unused]] std::uint64_t start, [[maybe_unused]] std::uint64_t end) {
#if defined(__linux__)
  constexpr std::uint64_t kWorthRoom = std::uint64_t{1} << 20;
  if (end - start < kWorthRoom) return;
  static_cast<void>(
      ::fallocate(fd_, 0, static_cast<off_t>(start), static_cast<off_t>(end - start)));
#endif
}

void FileSink::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto n = ::write(fd_, bytes.data(), std::min(bytes.size(), kChunk));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path_, "room to write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void FileSink::append_halves(std::span<const float> values) {
  halves_.resize(std::min(values.size(), kHalves));
  for (; !values.empty(); values = values.subspan(std::min(values.size(), kHalves))) {
    const auto n = std::min(values.size(), kHalves);
    convert_float_to_half(halves_.data(), values.data(), n);
    append(std::as_bytes(std::span(halves_).first(n)));
  }
}

void FileSink::replace_start(std::span<const std::byte> bytes) {
  if (::pwrite(fd_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    fail(path_, "room to write", errno);
  }
}

void FileSink::finish() {
  if (close() != 0) fail(path_, "room to write", errno);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
    fail(path_, "a name to rename to", errno);
  finished_ = true;
}

int FileSink::close() { return fd_ < 0 ? 0 : ::close(std::exchange(fd_, -1)); }

}  // namespace milane::blob

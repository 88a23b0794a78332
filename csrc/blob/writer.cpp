#include "blob/writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <system_error>
#include <utility>

#include "blob/format.h"
#include "core/error.h"

namespace milane::blob {
namespace {

[[noreturn]] void fail(const std::string& path, const char* expected, int error) {
  Error failure(ErrorCode::kFile, path + ": expected " + expected +
                                      ", got: " + std::generic_category().message(error));
  throw failure.from_device("POSIX", error);
}

template <class T>
std::span<const std::byte> as_bytes(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

FileHeader file_header(std::int64_t count) {
  return {static_cast<std::uint32_t>(count), kVersion, {}};
}

// The bits of the last byte that no element uses.
std::uint64_t unused_bits(DType dtype, std::span<const std::byte> bytes, std::int64_t count) {
  return bytes.size() * 8 -
         static_cast<std::uint64_t>(count) * static_cast<std::uint64_t>(dtype_bits(dtype));
}

void check_size(DType dtype, std::span<const std::byte> bytes, std::int64_t count) {
  const std::string name(dtype_name(dtype));
  if (!code_from_dtype(dtype)) {
    throw Error(ErrorCode::kDType,
                "BlobWriter.add: expected a type of MIL Blob Storage v2, got " + name,
                "bool is stored as uint8; 64-bit types are written inline in MIL text");
  }
  const std::int64_t most = std::numeric_limits<std::int64_t>::max() / dtype_bits(dtype) - 7;
  if (count < 0 || count > most || packed_bytes(dtype, count) != bytes.size()) {
    const std::string wanted = count < 0 || count > most
                                   ? "a sensible count"
                                   : std::to_string(packed_bytes(dtype, count)) + " bytes";
    throw Error(ErrorCode::kInvalidArgument,
                "BlobWriter.add: expected " + wanted + " for " + std::to_string(count) +
                    " elements of " + name + ", got " + std::to_string(bytes.size()) + " bytes");
  }
}

}  // namespace

// Where the bytes go.
class BlobWriter::Sink {
 public:
  virtual ~Sink() = default;
  virtual void append(std::span<const std::byte> bytes) = 0;
  virtual void replace_start(std::span<const std::byte> bytes) = 0;
  virtual void finish() {}
  virtual const std::vector<std::byte>* memory() const { return nullptr; }
};

class BlobWriter::MemorySink : public Sink {
 public:
  void append(std::span<const std::byte> bytes) override {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void replace_start(std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, bytes_.begin());
  }
  const std::vector<std::byte>* memory() const override { return &bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class BlobWriter::FileSink : public Sink {
 public:
  explicit FileSink(std::string path) : path_(std::move(path)) {
    // O_EXCL: two writers of one path, in any processes, never share a temporary file.
    for (int i = 0; fd_ < 0; ++i) {
      temporary_ = path_ + "." + std::to_string(::getpid()) + "-" + std::to_string(i) + ".tmp";
      fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd_ < 0 && errno != EEXIST) fail(path_, "a writable folder", errno);
    }
  }
  ~FileSink() override {
    close();
    if (!finished_) ::unlink(temporary_.c_str());
  }
  void append(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const auto n = ::write(fd_, bytes.data(), std::min(bytes.size(), kChunk));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(path_, "room to write", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }
  void replace_start(std::span<const std::byte> bytes) override {
    if (::pwrite(fd_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
      fail(path_, "room to write", errno);
    }
  }
  void finish() override {
    if (close() != 0) fail(path_, "room to write", errno);
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
      fail(path_, "a name to rename to", errno);
    finished_ = true;
  }

 private:
  // macOS refuses a single write of 2 GiB or more.
  static constexpr std::size_t kChunk = std::size_t{1} << 30;

  int close() { return fd_ < 0 ? 0 : ::close(std::exchange(fd_, -1)); }

  std::string path_, temporary_;
  int fd_ = -1;
  bool finished_ = false;
};

BlobWriter::BlobWriter(std::unique_ptr<Sink> sink) : sink_(std::move(sink)) {
  sink_->append(as_bytes(file_header(0)));
  size_ = sizeof(FileHeader);
}

BlobWriter::BlobWriter() : BlobWriter(std::make_unique<MemorySink>()) {}

BlobWriter BlobWriter::to_file(const std::string& path) {
  return BlobWriter(std::make_unique<FileSink>(path));
}

BlobWriter::BlobWriter(BlobWriter&&) noexcept = default;
BlobWriter& BlobWriter::operator=(BlobWriter&&) noexcept = default;
BlobWriter::~BlobWriter() = default;

std::uint64_t BlobWriter::add(DType dtype, std::span<const std::byte> bytes, std::int64_t count) {
  if (!sink_)
    throw Error(ErrorCode::kClosed, "BlobWriter.add: expected an open writer, got a closed one");
  check_size(dtype, bytes, count);
  if (records_.size() >= std::numeric_limits<std::uint32_t>::max()) {
    throw Error(ErrorCode::kInvalidArgument, "BlobWriter.add: expected fewer than 2^32 records");
  }
  static constexpr std::array<std::byte, kAlignment> kZeros{};
  const std::uint64_t offset = align_up(size_);
  const std::uint64_t padding = unused_bits(dtype, bytes, count);
  const RecordHeader header{
      kSentinel, *code_from_dtype(dtype), bytes.size(), offset + sizeof(RecordHeader), padding, {}};
  // A failed write must not leave a later record at a wrong offset.
  struct Guard {
    BlobWriter* writer;
    ~Guard() {
      if (writer) writer->abort();
    }
  } guard{this};
  sink_->append(std::span(kZeros).first(static_cast<std::size_t>(offset - size_)));
  sink_->append(as_bytes(header));
  if (padding == 0) {
    sink_->append(bytes);
  } else {  // unused bits are zero whatever the caller left there
    const auto last = bytes.back() & static_cast<std::byte>(0xFFu >> padding);
    sink_->append(bytes.first(bytes.size() - 1));
    sink_->append(std::span(&last, 1));
  }
  guard.writer = nullptr;
  records_.push_back(offset);
  size_ = offset + sizeof header + bytes.size();
  return offset;
}

std::uint64_t BlobWriter::offset(std::int64_t i) const {
  if (i < 0 || i >= count()) {
    throw Error(ErrorCode::kInvalidArgument, "BlobWriter.offset: expected a record index in [0, " +
                                                 std::to_string(count()) + "), got " +
                                                 std::to_string(i));
  }
  return records_[static_cast<std::size_t>(i)];
}

std::uint64_t BlobWriter::data_offset(std::int64_t i) const {
  return offset(i) + sizeof(RecordHeader);
}

const std::vector<std::byte>& BlobWriter::memory(const char* method) const {
  const std::string where = std::string("BlobWriter.") + method;
  if (!sink_)
    throw Error(ErrorCode::kClosed, where + ": expected an open writer, got a closed one");
  const auto* bytes = sink_->memory();
  if (bytes == nullptr) {
    throw Error(ErrorCode::kUnsupported,
                where + ": expected a writer in memory, got one of a file");
  }
  return *bytes;
}

std::vector<std::byte> BlobWriter::build() const {
  auto bytes = memory("build");
  const FileHeader header = file_header(count());
  std::ranges::copy(as_bytes(header), bytes.begin());
  return bytes;
}

void BlobWriter::save(const std::string& path) const {
  const auto& bytes = memory("save");
  FileSink file(path);
  file.append(bytes);
  file.replace_start(as_bytes(file_header(count())));
  file.finish();
}

void BlobWriter::finish() {
  if (!sink_)
    throw Error(ErrorCode::kClosed, "BlobWriter.finish: expected an open writer, got a closed one");
  const auto sink = std::move(sink_);  // whatever happens, the writer is closed
  sink->replace_start(as_bytes(file_header(count())));
  sink->finish();
}

void BlobWriter::abort() noexcept { sink_.reset(); }

std::vector<std::byte> pack(DType dtype, std::span<const std::byte> values) {
  const int bits = dtype_bits(dtype);
  if (!is_sub_byte(dtype)) {
    throw Error(ErrorCode::kDType,
                "blob.pack: expected a sub-byte type, got " + std::string(dtype_name(dtype)));
  }
  const int low = is_signed(dtype) ? -(1 << (bits - 1)) : 0;
  const int high = is_signed(dtype) ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  std::vector<std::byte> packed(packed_bytes(dtype, static_cast<std::int64_t>(values.size())));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto raw = std::to_integer<std::uint8_t>(values[i]);
    const int value = is_signed(dtype) ? static_cast<std::int8_t>(raw) : raw;
    if (value < low || value > high) {
      throw Error(ErrorCode::kInvalidArgument,
                  "blob.pack: expected " + std::string(dtype_name(dtype)) + " values in [" +
                      std::to_string(low) + ", " + std::to_string(high) + "], got " +
                      std::to_string(value) + " at " + std::to_string(i));
    }
    const auto field = static_cast<std::uint8_t>(value & ((1 << bits) - 1));
    set_packed(packed.data(), bits, i, field);
  }
  return packed;
}

}  // namespace milane::blob

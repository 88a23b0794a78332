#include "blob/writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "blob/format.h"
#include "blob/sinks.h"
#include "core/error.h"
#include "core/half.h"

namespace milane::blob {
namespace {

template <class T>
std::span<const std::byte> as_bytes(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

FileHeader file_header(std::int64_t count) {
  return {static_cast<std::uint32_t>(count), kVersion, {}};
}

void check_size(DType dtype, std::int64_t count, std::uint64_t file_bytes) {
  const std::string name(dtype_name(dtype));
  if (!code_from_dtype(dtype)) {
    throw Error(ErrorCode::kDType,
                "BlobWriter.add: expected a type of MIL Blob Storage v2, got " + name,
                "bool is stored as uint8; 64-bit types are written inline in MIL text");
  }
  // Offsets are unsigned in the format and signed in every file system.
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  if (count < 0 || count > kMost / dtype_bits(dtype) - 7 ||
      packed_bytes(dtype, count) >
          static_cast<std::uint64_t>(kMost) - file_bytes - 2 * kAlignment) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "BlobWriter.add: expected a count from 0 on, of a record that ends below offset 2^63, "
        "got " +
            std::to_string(count) + " elements of " + name);
  }
}

void check_bytes(DType dtype, std::int64_t count, std::uint64_t bytes) {
  if (packed_bytes(dtype, count) != bytes) {
    throw Error(ErrorCode::kInvalidArgument,
                "BlobWriter.add: expected " + std::to_string(packed_bytes(dtype, count)) +
                    " bytes for " + std::to_string(count) + " elements of " +
                    std::string(dtype_name(dtype)) + ", got " + std::to_string(bytes) + " bytes");
  }
}

}  // namespace

BlobWriter::BlobWriter(std::unique_ptr<Sink> sink) : sink_(std::move(sink)) {
  sink_->append(as_bytes(file_header(0)));
  size_ = sizeof(FileHeader);
}

BlobWriter::BlobWriter() : BlobWriter(std::make_unique<MemorySink>()) {}

BlobWriter BlobWriter::to_file(const std::string& path) {
  return BlobWriter(std::make_unique<FileSink>(path));
}

BlobWriter BlobWriter::over(std::span<std::byte> memory) {
  return BlobWriter(std::make_unique<FixedSink>(memory));
}

BlobWriter::BlobWriter(BlobWriter&&) noexcept = default;
BlobWriter& BlobWriter::operator=(BlobWriter&&) noexcept = default;
BlobWriter::~BlobWriter() = default;

// A failed write must not leave a later record at a wrong offset.
template <class Body>
void BlobWriter::guarded(Body&& body) {
  try {
    body();
  } catch (...) {
    abort();
    throw;
  }
}

std::uint64_t BlobWriter::add(DType dtype, std::span<const std::byte> bytes, std::int64_t count) {
  check_size(dtype, count, size_);  // before anything is written: the writer stays usable
  check_bytes(dtype, count, bytes.size());
  begin(dtype, count);
  append(bytes);
  return end();
}

std::uint64_t BlobWriter::add_halves(std::span<const float> values) {
  begin(DType::kFp16, static_cast<std::int64_t>(values.size()));
  append_halves(values);
  return end();
}

void BlobWriter::begin(DType dtype, std::int64_t count) {
  if (!sink_)
    throw Error(ErrorCode::kClosed, "BlobWriter.add: expected an open writer, got a closed one");
  if (open_) {
    abort();
    throw Error(ErrorCode::kInvalidArgument,
                "BlobWriter.add: expected the end of the record begun");
  }
  check_size(dtype, count, size_);
  if (records_.size() >= std::numeric_limits<std::uint32_t>::max()) {
    throw Error(ErrorCode::kInvalidArgument, "BlobWriter.add: expected fewer than 2^32 records");
  }
  const std::uint64_t offset = align_up(size_), bytes = packed_bytes(dtype, count);
  const std::uint64_t padding =
      bytes * 8 - static_cast<std::uint64_t>(count) * static_cast<std::uint64_t>(dtype_bits(dtype));
  const RecordHeader header{
      kSentinel, *code_from_dtype(dtype), bytes, offset + sizeof(RecordHeader), padding, {}};
  std::array<std::byte, kAlignment + sizeof header> start{};  // zeros up to the record, its header
  const auto gap = static_cast<std::size_t>(offset - size_);
  std::memcpy(start.data() + gap, &header, sizeof header);
  open_ = Open{offset, bytes, bytes, padding, dtype == DType::kFp16};
  guarded([&] {
    sink_->expect(size_, offset + sizeof header + bytes);
    sink_->append(std::span(start).first(gap + sizeof header));
  });
}

BlobWriter::Open& BlobWriter::open_record() {
  if (sink_ && open_) return *open_;
  abort();
  throw Error(ErrorCode::kClosed, "BlobWriter.append: expected a record begun, got none");
}

void BlobWriter::take(Open& record, std::uint64_t bytes) {
  if (bytes > record.bytes_left) {
    throw Error(ErrorCode::kInvalidArgument, "BlobWriter.append: expected at most " +
                                                 std::to_string(record.bytes_left) +
                                                 " more bytes, got " + std::to_string(bytes));
  }
  record.bytes_left -= bytes;
}

void BlobWriter::append(std::span<const std::byte> bytes) {
  Open& record = open_record();
  guarded([&] {
    take(record, bytes.size());
    if (bytes.empty() || record.bytes_left > 0 || record.padding == 0) return sink_->append(bytes);
    // Unused bits are zero whatever the caller left there.
    const auto last = bytes.back() & static_cast<std::byte>(0xFFu >> record.padding);
    sink_->append(bytes.first(bytes.size() - 1));
    sink_->append(std::span(&last, 1));
  });
}

void BlobWriter::append_halves(std::span<const float> values) {
  Open& record = open_record();
  guarded([&] {
    if (!record.halves) {
      throw Error(ErrorCode::kDType, "BlobWriter.append: expected an fp16 record for floats");
    }
    take(record, values.size() * sizeof(Half));
    sink_->append_halves(values);
  });
}

std::uint64_t BlobWriter::end() {
  const Open record = open_record();
  if (record.bytes_left > 0) {
    abort();
    throw Error(ErrorCode::kInvalidArgument, "BlobWriter.end: expected " +
                                                 std::to_string(record.bytes_left) +
                                                 " more bytes, got the end of the record");
  }
  open_.reset();
  records_.push_back(record.offset);
  size_ = record.offset + sizeof(RecordHeader) + record.bytes;
  return record.offset;
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

const MemorySink& BlobWriter::memory(const char* method) const {
  const std::string where = std::string("BlobWriter.") + method;
  if (!sink_)
    throw Error(ErrorCode::kClosed, where + ": expected an open writer, got a closed one");
  if (open_)
    throw Error(ErrorCode::kInvalidArgument, where + ": expected the end of the record begun");
  const auto* sink = dynamic_cast<const MemorySink*>(sink_.get());
  if (sink == nullptr) {
    throw Error(ErrorCode::kUnsupported,
                where + ": expected a writer in memory, got one of a file");
  }
  return *sink;
}

std::vector<std::byte> BlobWriter::build() const {
  std::vector<std::byte> bytes(static_cast<std::size_t>(build_bytes()));
  build_into(bytes.data());
  return bytes;
}

std::uint64_t BlobWriter::build_bytes() const {
  memory("build");
  return size_;
}

void BlobWriter::build_into(std::byte* out) const {
  auto* next = out;
  memory("build").each([&](std::span<const std::byte> piece) {
    std::memcpy(next, piece.data(), piece.size());
    next += piece.size();
  });
  const FileHeader header = file_header(count());
  std::memcpy(out, &header, sizeof header);
}

void BlobWriter::save(const std::string& path) const {
  const auto& pieces = memory("save");
  FileSink file(path);
  pieces.each([&](std::span<const std::byte> piece) { file.append(piece); });
  file.replace_start(as_bytes(file_header(count())));
  file.finish();
}

void BlobWriter::finish() {
  if (!sink_)
    throw Error(ErrorCode::kClosed, "BlobWriter.finish: expected an open writer, got a closed one");
  const auto sink = std::move(sink_);  // whatever happens, the writer is closed
  if (open_) {
    throw Error(ErrorCode::kInvalidArgument,
                "BlobWriter.finish: expected the end of the record begun");
  }
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

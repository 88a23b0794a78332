#include "blob/reader.h"

#include <algorithm>
#include <cstdio>
#include <tuple>
#include <utility>

#include "blob/mapped_file.h"
#include "core/error.h"

namespace milane::blob {
namespace {

constexpr std::uint64_t kHeaderBytes = sizeof(RecordHeader);

std::string text(std::uint64_t n) { return std::to_string(n); }

std::string hex(std::uint32_t n) {
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "0x%08X", static_cast<unsigned>(n));
  return buffer;
}

std::string bytes_text(std::uint64_t n) { return text(n) + (n == 1 ? " byte" : " bytes"); }

std::string range_text(std::uint64_t begin, std::uint64_t end) {
  return "[" + text(begin) + ", " + text(end) + ")";
}

// Elements in `bytes` bytes, or what the header should have said. `bytes` is at most a file's size.
std::optional<Problem> count_elements(const RecordHeader& header, DType dtype,
                                      std::int64_t* count) {
  const auto bits = static_cast<std::uint64_t>(dtype_bits(dtype));
  const std::string name(dtype_name(dtype));
  if (!is_sub_byte(dtype)) {  // padding_bits holds garbage in real files: not looked at
    if (header.bytes % (bits / 8) != 0) {
      return Problem{{},
                     0,
                     "a multiple of " + bytes_text(bits / 8) + " for " + name,
                     bytes_text(header.bytes),
                     false};
    }
    *count = static_cast<std::int64_t>(header.bytes / (bits / 8));
    return std::nullopt;
  }
  const std::uint64_t padding = header.padding_bits;
  if (padding > 7 || padding > header.bytes * 8) {
    return Problem{{},
                   0,
                   "at most " + text(header.bytes == 0 ? 0 : 7) + " padding bits",
                   text(padding),
                   false};
  }
  const std::uint64_t used = header.bytes * 8 - padding;
  if (used % bits != 0) {
    return Problem{{},
                   0,
                   "a whole number of " + name + " elements",
                   text(used) + " bits (" + bytes_text(header.bytes) + " less " + text(padding) +
                       " padding bits)",
                   false};
  }
  *count = static_cast<std::int64_t>(used / bits);
  return std::nullopt;
}

}  // namespace

std::string Problem::message() const {
  std::string where = in_file_header ? "file header" : "record";
  if (record) where += " " + std::to_string(*record);
  return where + " at offset " + text(offset) + ": expected " + expected + ", got " + got;
}

struct BlobFile::Walk {
  std::vector<Record> records;         // the sound ones
  std::vector<std::int64_t> indices;   // of each of them
  std::vector<std::uint64_t> offsets;  // of every header met
  std::vector<Problem> problems;
};

BlobFile BlobFile::open(const std::string& path) {
  auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  return BlobFile(bytes, std::move(file), path);
}

BlobFile::BlobFile(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                   std::string name)
    : bytes_(bytes), owner_(std::move(owner)), name_(std::move(name)) {}

// Fills `record`, or says what is wrong with the 64 bytes at `offset`. Every sum below is of
// numbers already known to be at most the file's size, so none can wrap.
std::optional<Problem> BlobFile::inspect(std::uint64_t offset, Record* record) const {
  const std::uint64_t size = bytes_.size();
  auto problem = [&](std::string expected, std::string got) {
    return Problem{{}, offset, std::move(expected), std::move(got), false};
  };
  if (offset % kAlignment != 0) return problem("a record at a multiple of 64", text(offset));
  if (offset < kAlignment) return problem("a record after the 64-byte file header", text(offset));
  if (offset > size || size - offset < kHeaderBytes) {
    return problem("a 64-byte record header", bytes_text(offset > size ? 0 : size - offset) +
                                                  " (the file has " + text(size) + ")");
  }
  const auto header = read_header<RecordHeader>(bytes_, offset);
  if (header.sentinel != kSentinel)
    return problem("sentinel " + hex(kSentinel), hex(header.sentinel));
  const auto dtype = dtype_from_code(header.dtype);
  if (!dtype) return problem("a dtype code from 1 to " + text(kDTypes.size()), text(header.dtype));
  if (header.data_offset % kAlignment != 0) {
    return problem("data at a multiple of 64", text(header.data_offset));
  }
  if (header.data_offset < kAlignment) {
    return problem("data after the file header, at offset " + text(offset + kHeaderBytes),
                   text(header.data_offset));
  }
  if (header.data_offset > size || size - header.data_offset < header.bytes) {
    return problem("data inside the file of " + bytes_text(size),
                   bytes_text(header.bytes) + " at " + text(header.data_offset));
  }
  const std::uint64_t end = header.data_offset + header.bytes;
  if (header.data_offset < offset + kHeaderBytes && offset < end) {
    return problem("data that does not overlap its own header",
                   range_text(header.data_offset, end));
  }
  std::int64_t count = 0;
  if (auto bad = count_elements(header, *dtype, &count)) {
    bad->offset = offset;
    return bad;
  }
  *record = {offset,
             header.data_offset,
             *dtype,
             count,
             bytes_.subspan(static_cast<std::size_t>(header.data_offset),
                            static_cast<std::size_t>(header.bytes)),
             owner_};
  return std::nullopt;
}

// Whether the 64 bytes at `offset` say of themselves that they are a record header.
bool BlobFile::plausible_header(std::uint64_t offset) const {
  const std::uint64_t size = bytes_.size();
  if (offset > size || size - offset < kHeaderBytes) return false;
  const auto header = read_header<RecordHeader>(bytes_, offset);
  return header.sentinel == kSentinel && header.data_offset == offset + kHeaderBytes;
}

// Where the walk goes on after the bad header at `offset`: past its data where its size can be
// believed, else to the next thing that looks like a header, else to the end of the file.
std::uint64_t BlobFile::step(std::uint64_t offset) const {
  const std::uint64_t size = bytes_.size();
  if (size - offset < kHeaderBytes) return size;
  const std::uint64_t start = offset + kHeaderBytes;
  const auto header = read_header<RecordHeader>(bytes_, offset);
  if (header.bytes <= size - start) {
    const std::uint64_t next = align_up(start + header.bytes);
    if (next >= size || plausible_header(next)) return next;
  }
  for (std::uint64_t at = start; at < size; at += kAlignment) {
    if (plausible_header(at)) return at;
  }
  return size;
}

BlobFile::Walk BlobFile::walk() const {
  Walk walk;
  check_header(walk);
  const std::uint64_t size = bytes_.size();
  if (size < sizeof(FileHeader)) return walk;
  const auto claimed = read_header<FileHeader>(bytes_, 0).count;
  std::uint64_t at = kAlignment;
  for (std::int64_t index = 0; at < size && (index < claimed || plausible_header(at)); ++index) {
    walk.offsets.push_back(at);
    Record record;
    if (auto problem = inspect(at, &record)) {
      problem->record = index;
      walk.problems.push_back(std::move(*problem));
      at = step(at);
      continue;
    }
    at = std::max(align_up(record.data_offset + record.data.size()), at + kHeaderBytes);
    walk.records.push_back(std::move(record));
    walk.indices.push_back(index);
  }
  check_tail(walk, at);
  check_overlaps(walk);
  return walk;
}

void BlobFile::check_header(Walk& walk) const {
  if (bytes_.size() < sizeof(FileHeader)) {
    walk.problems.push_back({{}, 0, "a 64-byte file header", bytes_text(bytes_.size()), true});
    return;
  }
  const auto header = read_header<FileHeader>(bytes_, 0);
  if (header.version != kVersion) {
    walk.problems.push_back({{}, 0, "version " + text(kVersion), text(header.version), true});
  }
}

// The count of the file header is a claim; so is the end of the last data.
void BlobFile::check_tail(Walk& walk, std::uint64_t end) const {
  const auto claimed = read_header<FileHeader>(bytes_, 0).count;
  const std::uint64_t found = walk.offsets.size();
  if (claimed != found) {
    walk.problems.push_back(
        {{}, 0, "a count of " + text(found) + " (the records found)", text(claimed), true});
  }
  if (end >= bytes_.size()) return;
  const auto tail = bytes_.subspan(static_cast<std::size_t>(end));
  if (std::any_of(tail.begin(), tail.end(), [](std::byte b) { return b != std::byte{0}; })) {
    walk.problems.push_back({{},
                             0,
                             "the end of the file at " + text(end) + ", after the last data",
                             bytes_text(tail.size()) + " more",
                             true});
  }
}

void BlobFile::check_overlaps(Walk& walk) const {
  struct Extent {
    std::uint64_t begin, end;
    std::size_t record;
  };
  std::vector<Extent> extents;
  for (std::size_t i = 0; i < walk.records.size(); ++i) {
    const auto& r = walk.records[i];
    extents.push_back({r.offset, r.offset + kHeaderBytes, i});
    if (!r.data.empty()) extents.push_back({r.data_offset, r.data_offset + r.data.size(), i});
  }
  const bool lost = !walk.problems.empty();
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::tie(a.begin, a.record) < std::tie(b.begin, b.record);
  });
  auto report = [&](std::size_t i, const Extent& a, const std::string& other) {
    walk.problems.push_back({walk.indices[i], walk.records[i].offset, "data that overlaps nothing",
                             range_text(a.begin, a.end) + ", which overlaps " + other, false});
  };
  const Extent* widest = nullptr;
  for (const auto& extent : extents) {
    if (widest && extent.begin < widest->end && extent.record != widest->record) {
      const auto [low, high] = std::minmax(extent.record, widest->record);
      report(high, high == extent.record ? extent : *widest,
             "record " + std::to_string(walk.indices[low]) + " at offset " +
                 text(walk.records[low].offset));
    }
    if (!widest || extent.end > widest->end) widest = &extent;
  }
  if (!lost) return;
  // When the walk went astray, a size that is too large may have swallowed the next records.
  for (std::size_t i = 0; i < walk.records.size(); ++i) {
    const auto& r = walk.records[i];
    const std::uint64_t end = r.data_offset + r.data.size();
    for (std::uint64_t at = r.data_offset; at < end; at += kAlignment) {
      if (!plausible_header(at)) continue;
      const bool known = std::binary_search(walk.offsets.begin(), walk.offsets.end(), at);
      if (!known) report(i, {r.data_offset, end, i}, "a record header at offset " + text(at));
      break;
    }
  }
}

Record BlobFile::record_at(std::uint64_t offset) const {
  Record record;
  auto problem = inspect(offset, &record);
  if (!problem) return record;
  const auto offsets = walk().offsets;  // only now: the message wants the record's index
  const auto found = std::find(offsets.begin(), offsets.end(), offset);
  if (found != offsets.end()) problem->record = found - offsets.begin();
  fail(*problem,
       problem->record ? "" : "BLOBFILE's offset is that of a record header, not of its data");
}

std::vector<Record> BlobFile::records() const {
  auto walked = walk();
  if (!walked.problems.empty())
    fail(walked.problems.front(), "check() lists every problem of the file");
  return std::move(walked.records);
}

std::vector<Problem> BlobFile::check() const { return walk().problems; }

void BlobFile::fail(const Problem& problem, std::string_view hint) const {
  throw Error(ErrorCode::kBlob, name_ + ": " + problem.message(), std::string(hint));
}

void unpack(const Record& record, std::byte* out) {
  const int bits = dtype_bits(record.dtype);
  for (std::int64_t i = 0; i < record.count; ++i) {
    const auto field = packed_at(record.data.data(), bits, static_cast<std::uint64_t>(i));
    out[i] = is_signed(record.dtype) ? static_cast<std::byte>(sign_extend(field, bits))
                                     : static_cast<std::byte>(field);
  }
}

}  // namespace milane::blob

// Reads and checks MIL Blob Storage v2 (format.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blob/format.h"
#include "core/dtype.h"

namespace milane::blob {

// One weight. `data` stays valid for as long as `owner` is held.
struct Record {
  std::uint64_t offset = 0;  // what BLOBFILE(offset = ...) says
  std::uint64_t data_offset = 0;
  DType dtype = DType::kFp16;
  std::int64_t count = 0;  // elements
  std::span<const std::byte> data;
  std::shared_ptr<const void> owner;
};

// What is wrong, and where. `record` is the index in file order; there is none for the file header
// and for an offset that is no record's.
struct Problem {
  std::optional<std::int64_t> record;
  std::uint64_t offset = 0;
  std::string expected;
  std::string got;
  bool in_file_header = false;

  // "record 3 at offset 4160: expected ..., got ..."
  std::string message() const;
};

class BlobFile {
 public:
  // Maps the file. Throws Error(kFile); its content is looked at only when asked for.
  static BlobFile open(const std::string& path);
  // Bytes that live as long as `owner` (null: the caller promises); `name` begins every message.
  BlobFile(std::span<const std::byte> bytes, std::shared_ptr<const void> owner, std::string name);

  const std::string& name() const { return name_; }
  std::span<const std::byte> bytes() const { return bytes_; }

  // The record whose header is at `offset`. Validates that record and nothing else, in constant
  // time; throws Error(kBlob).
  Record record_at(std::uint64_t offset) const;
  // All records in file order. Throws Error(kBlob) for the first problem of the file.
  std::vector<Record> records() const;
  // Every problem of the file; empty for a sound one.
  std::vector<Problem> check() const;

 private:
  struct Walk;

  std::optional<Problem> inspect(std::uint64_t offset, Record* record) const;
  Walk walk() const;
  void check_header(Walk& walk) const;
  void check_tail(Walk& walk, std::uint64_t end) const;
  void check_overlaps(Walk& walk) const;
  bool plausible_header(std::uint64_t offset) const;
  std::uint64_t step(std::uint64_t offset) const;
  [[noreturn]] void fail(const Problem& problem, std::string_view hint) const;

  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  std::string name_;
};

// Elements of a sub-byte record, one per byte, int4 sign-extended; `out` holds record.count.
void unpack(const Record& record, std::byte* out);

}  // namespace milane::blob

// Writes MIL Blob Storage v2 (format.h), in memory or straight into a file. Floats that become
// halves are rounded on their way there, without an array of halves in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blob/format.h"
#include "core/dtype.h"

namespace milane::blob {

class Sink;
class MemorySink;

class BlobWriter {
 public:
  // In memory: build() gives the bytes at any time.
  BlobWriter();
  // Into `memory`, which holds exactly the file to come (see size_with_record) and outlives the
  // writer.
  static BlobWriter over(std::span<std::byte> memory);
  // Streams into a temporary file beside `path`, which takes that name at finish(). An abandoned
  // writer leaves nothing behind. Throws Error(kFile).
  static BlobWriter to_file(const std::string& path);

  BlobWriter(BlobWriter&&) noexcept;
  BlobWriter& operator=(BlobWriter&&) noexcept;
  ~BlobWriter();

  // Appends a record and returns its offset, the one BLOBFILE wants. Sub-byte data is packed (see
  // packed_at). Throws Error(kDType) for a type the format lacks, Error(kInvalidArgument) when the
  // bytes are not those of `count` elements, Error(kFile) when writing fails, Error(kClosed) after
  // finish() or abort().
  std::uint64_t add(DType dtype, std::span<const std::byte> bytes, std::int64_t count);
  // The same for an fp16 record, from floats: rounded to the nearest half, ties to even.
  std::uint64_t add_halves(std::span<const float> values);

  // A record in parts: begin() announces it, append() and append_halves() bring all of its bytes,
  // end() returns its offset. Whatever fails in between aborts the writer. Throw as add() does.
  void begin(DType dtype, std::int64_t count);
  void append(std::span<const std::byte> bytes);
  void append_halves(std::span<const float> values);
  std::uint64_t end();

  std::int64_t count() const { return static_cast<std::int64_t>(records_.size()); }
  std::uint64_t offset(std::int64_t i) const;       // of record i
  std::uint64_t data_offset(std::int64_t i) const;  // of its data
  std::uint64_t size() const { return size_; }      // of the whole file, so far

  // The file's bytes, or how many they are. Throw Error(kUnsupported) for a writer that streams.
  std::vector<std::byte> build() const;
  std::uint64_t build_bytes() const;
  void build_into(std::byte* out) const;
  // The same, written to `path`, which is replaced whole or not at all. Throws Error(kFile) too.
  void save(const std::string& path) const;
  // Writes the count and gives the file its name (streaming). Throws Error(kFile).
  void finish();
  // Removes the temporary file (streaming). Harmless when repeated.
  void abort() noexcept;

 private:
  // The record that was begun and not ended.
  struct Open {
    std::uint64_t offset, bytes, bytes_left, padding;
    bool halves;
  };

  explicit BlobWriter(std::unique_ptr<Sink> sink);
  const MemorySink& memory(const char* method) const;
  Open& open_record();
  template <class Body>
  void guarded(Body&& body);
  void take(Open& record, std::uint64_t bytes);

  std::unique_ptr<Sink> sink_;  // null after finish() and abort()
  std::vector<std::uint64_t> records_;
  std::optional<Open> open_;
  std::uint64_t size_ = 0;
};

// Where a file of `size` bytes ends once a record with `bytes` bytes of data was added.
constexpr std::uint64_t size_with_record(std::uint64_t size, std::uint64_t bytes) {
  return align_up(size) + sizeof(RecordHeader) + bytes;
}

// Packs one value per byte (signed for int4) into sub-byte elements. Throws Error(kInvalidArgument)
// naming the first value that does not fit.
std::vector<std::byte> pack(DType dtype, std::span<const std::byte> values);

}  // namespace milane::blob

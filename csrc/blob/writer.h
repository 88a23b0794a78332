// Writes MIL Blob Storage v2 (format.h), in memory or straight into a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace milane::blob {

class BlobWriter {
 public:
  // In memory: build() gives the bytes at any time.
  BlobWriter();
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

  std::int64_t count() const { return static_cast<std::int64_t>(records_.size()); }
  std::uint64_t offset(std::int64_t i) const;       // of record i
  std::uint64_t data_offset(std::int64_t i) const;  // of its data
  std::uint64_t size() const { return size_; }      // of the whole file, so far

  // The file's bytes. Throws Error(kUnsupported) for a writer that streams.
  std::vector<std::byte> build() const;
  // The same, written to `path`, which is replaced whole or not at all. Throws Error(kFile) too.
  void save(const std::string& path) const;
  // Writes the count and gives the file its name (streaming). Throws Error(kFile).
  void finish();
  // Removes the temporary file (streaming). Harmless when repeated.
  void abort() noexcept;

 private:
  class Sink;
  class MemorySink;
  class FileSink;

  explicit BlobWriter(std::unique_ptr<Sink> sink);
  const std::vector<std::byte>& memory(const char* method) const;

  std::unique_ptr<Sink> sink_;  // null after finish() and abort()
  std::vector<std::uint64_t> records_;
  std::uint64_t size_ = 0;
};

// Packs one value per byte (signed for int4) into sub-byte elements. Throws Error(kInvalidArgument)
// naming the first value that does not fit.
std::vector<std::byte> pack(DType dtype, std::span<const std::byte> values);

}  // namespace milane::blob

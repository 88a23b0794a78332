// A whole file as read-only memory, shared with every other process that maps it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace milane::blob {

// A file that another process shortens while it is mapped gives SIGBUS on access, as with any
// mapping; replace a weight file by renaming a new one over it, as BlobWriter does.
class MappedFile {
 public:
  // Throws Error(kFile) when the file is missing, unreadable or not a regular file.
  static std::shared_ptr<const MappedFile> open(const std::string& path);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, std::size_t size) : data_(data), size_(size) {}

  const std::byte* data_;  // page-aligned; null for an empty file, which cannot be mapped
  std::size_t size_;
};

}  // namespace milane::blob

// Where a blob writer's bytes go: memory of its own, memory of the caller, a file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blob/large_memory.h"
#include "core/error.h"
#include "core/half.h"

namespace milane::blob {

// Where the bytes go.
class Sink {
 public:
  virtual ~Sink() = default;
  // Says that the file will reach `end` soon, from `start` on.
  virtual void expect(std::uint64_t /*start*/, std::uint64_t /*end*/) {}
  virtual void append(std::span<const std::byte> bytes) = 0;
  virtual void append_halves(std::span<const float> values) = 0;
  virtual void replace_start(std::span<const std::byte> bytes) = 0;
  virtual void finish() {}
};

// Pieces that never move: a growing array would copy what it holds again and again.
class MemorySink : public Sink {
 public:
  void append(std::span<const std::byte> bytes) override {
    if (!bytes.empty()) std::memcpy(piece(bytes.size()), bytes.data(), bytes.size());
  }
  void append_halves(std::span<const float> values) override {
    auto* halves = reinterpret_cast<Half*>(piece(values.size() * sizeof(Half)));
    convert_float_to_half(halves, values.data(), values.size());
  }
  void replace_start(std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, pieces_.front().data.get());
  }
  template <class Body>
  void each(Body&& body) const {
    for (const auto& piece : pieces_)
      body(std::span<const std::byte>(piece.data.get(), piece.size));
  }

 private:
  struct Piece {
    std::unique_ptr<std::byte[]> data;
    std::size_t size;
  };

  std::byte* piece(std::size_t size) {
    pieces_.push_back({std::make_unique_for_overwrite<std::byte[]>(size), size});
    auto* data = pieces_.back().data.get();
    expect_large_write(data, size);
    return data;
  }

  std::vector<Piece> pieces_;
};

class FixedSink : public Sink {
 public:
  explicit FixedSink(std::span<std::byte> memory) : memory_(memory), left_(memory) {}
  void append(std::span<const std::byte> bytes) override {
    if (!bytes.empty()) std::memcpy(room(bytes.size()), bytes.data(), bytes.size());
  }
  void append_halves(std::span<const float> values) override {
    auto* halves = reinterpret_cast<Half*>(room(values.size() * sizeof(Half)));
    convert_float_to_half(halves, values.data(), values.size());
  }
  void replace_start(std::span<const std::byte> bytes) override {
    std::ranges::copy(bytes, memory_.begin());
  }

 private:
  std::byte* room(std::size_t size) {
    if (size > left_.size()) {
      throw Error(ErrorCode::kInvalidArgument, "BlobWriter: expected room for the whole file");
    }
    auto* start = left_.data();
    left_ = left_.subspan(size);
    return start;
  }

  std::span<std::byte> memory_, left_;
};

// A temporary file beside `path`, which takes that name at finish(); removed when it never comes to
// that. Every method throws Error(kFile).
class FileSink : public Sink {
 public:
  explicit FileSink(std::string path);
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;
  ~FileSink() override;

  void expect(std::uint64_t start, std::uint64_t end) override;
  void append(std::span<const std::byte> bytes) override;
  void append_halves(std::span<const float> values) override;
  void replace_start(std::span<const std::byte> bytes) override;
  void finish() override;

 private:
  int close();

  std::string path_, temporary_;
  std::vector<Half> halves_;
  int fd_ = -1;
  bool finished_ = false;
};

}  // namespace milane::blob

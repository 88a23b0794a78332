// A fast 128-bit hash of bytes, for finding what was computed before and for noticing damage.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace milane {

// Two words, the lower one first.
struct Hash128 {
  std::uint64_t low = 0, high = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};

// 32 lower-case hexadecimal digits, the high word first.
std::string to_string(const Hash128& hash);

// Bytes are hashed in chunks of this size, so that threads can share the work.
inline constexpr std::size_t kHashChunk = std::size_t{1} << 18;

// The hash of one chunk, `number` being its place among the chunks (or any other tag).
//
// Words are 64 bits, little-endian; missing bytes of the last pair of words are zero. Every 1024
// bytes (the last ones: fewer) the pairs (a, b) are summed as (a + k[2i]) * (b + k[2i+1]) mod
// 2^128, sums inside mod 2^64: the universal hash NH (Black et al., UMAC, CRYPTO 1999). Each sum
// goes into the state by `state = swap((state ^ sum) * m) mod 2^128`, a bijection of the state, so
// that a difference that came in once stays. The keys k and m are the first 130 outputs of
// SplitMix64 (Steele et al., OOPSLA 2014) from kHashSeed; m is odd.
// It is no defence against somebody who chooses the bytes: the keys are public.
Hash128 hash_chunk(std::span<const std::byte> chunk, std::uint64_t number);

// The hash of chunks, from theirs: that of their hashes one after another, tagged ~total_bytes.
Hash128 hash_of_chunks(std::span<const Hash128> chunks, std::uint64_t total_bytes);

// The hash of any number of bytes.
Hash128 hash_bytes(std::span<const std::byte> bytes);

// The hash of each part, as hash_bytes() gives it; run(n, body) calls body(i) for each i < n, in
// any order and thread.
template <class Run>
std::vector<Hash128> hash_all(std::span<const std::span<const std::byte>> parts, Run&& run) {
  struct Chunk {
    std::span<const std::byte> bytes;
    std::size_t number;
  };
  std::vector<Chunk> chunks;
  for (const auto& part : parts) {
    for (std::size_t at = 0; at < part.size(); at += kHashChunk) {
      const std::size_t left = part.size() - at;
      chunks.push_back({part.subspan(at, left < kHashChunk ? left : kHashChunk), at / kHashChunk});
    }
  }
  std::vector<Hash128> of_chunks(chunks.size()), all;
  run(chunks.size(),
      [&](std::size_t i) { of_chunks[i] = hash_chunk(chunks[i].bytes, chunks[i].number); });
  std::size_t first = 0;
  for (const auto& part : parts) {
    const std::size_t count = (part.size() + kHashChunk - 1) / kHashChunk;
    all.push_back(hash_of_chunks(std::span(of_chunks).subspan(first, count), part.size()));
    first += count;
  }
  return all;
}

inline constexpr std::uint64_t kHashSeed = 0x6D696C616E65;  // "milane"

}  // namespace milane

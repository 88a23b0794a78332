#include "core/hash.h"

#include <bit>
#include <cstring>

namespace milane {
namespace {

static_assert(std::endian::native == std::endian::little);

__extension__ using Wide = unsigned __int128;

constexpr std::size_t kBlockWords = 128;

struct Keys {
  std::array<std::uint64_t, kBlockWords> words{};
  Wide multiplier = 0;

  constexpr Keys() {
    std::uint64_t state = kHashSeed;
    const auto next = [&state] {
      std::uint64_t z = state += 0x9E3779B97F4A7C15;
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
      return z ^ (z >> 31);
    };
    for (std::uint64_t& word : words) word = next();
    const std::uint64_t low = next() | 1, high = next();
    multiplier = Wide{high} << 64 | low;
  }
};
constexpr Keys kKeys;

Wide pair(const std::byte* p, std::size_t i) {
  std::uint64_t a, b;
  std::memcpy(&a, p + i * 8, 8);
  std::memcpy(&b, p + i * 8 + 8, 8);
  return Wide{a + kKeys.words[i]} * (b + kKeys.words[i + 1]);
}

// A whole block; four sums, so that one addition need not wait for the other.
Wide whole_block(const std::byte* p) {
  Wide sums[4] = {};
  for (std::size_t i = 0; i < kBlockWords; i += 8) {
    for (std::size_t s = 0; s < 4; ++s) sums[s] += pair(p, i + 2 * s);
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

Wide part_of_block(std::span<const std::byte> bytes) {
  std::byte padded[kBlockWords * 8] = {};
  std::memcpy(padded, bytes.data(), bytes.size());
  Wide sum = 0;
  for (std::size_t i = 0; i * 8 < bytes.size(); i += 2) sum += pair(padded, i);
  return sum;
}

}  // namespace

std::string to_string(const Hash128& hash) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint64_t word : {hash.high, hash.low}) {
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[word >> shift & 15];
  }
  return text;
}

Hash128 hash_chunk(std::span<const std::byte> chunk, std::uint64_t number) {
  Wide state = number;
  const auto step = [&state](Wide sum) {
    state = (state ^ sum) * kKeys.multiplier;
    state = state << 64 | state >> 64;
  };
  constexpr std::size_t kBlock = kBlockWords * 8;
  const std::size_t whole = chunk.size() / kBlock * kBlock;
  for (std::size_t at = 0; at < whole; at += kBlock) step(whole_block(chunk.data() + at));
  if (whole < chunk.size()) step(part_of_block(chunk.subspan(whole)));
  step(chunk.size());
  step(0);
  return {static_cast<std::uint64_t>(state), static_cast<std::uint64_t>(state >> 64)};
}

Hash128 hash_of_chunks(std::span<const Hash128> chunks, std::uint64_t total_bytes) {
  return hash_chunk(std::as_bytes(chunks), ~total_bytes);
}

Hash128 hash_bytes(std::span<const std::byte> bytes) {
  return hash_all(std::span(&bytes, 1),
                  [](std::size_t n, auto&& body) {
                    for (std::size_t i = 0; i < n; ++i) body(i);
                  })
      .front();
}

}  // namespace milane

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "emulated/framework/engine.h"

namespace {

constexpr std::uint64_t kPrimes[4] = {0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                                      0x85EBCA77C2B2AE63};

std::uint64_t mixed(std::uint64_t lane, std::uint64_t word, std::uint64_t prime) {
  return std::rotl(lane ^ (word * prime), 29) * kPrimes[0] + prime;
}

std::uint64_t finished(std::uint64_t x) {
  x = (x ^ (x >> 33)) * kPrimes[1];
  x = (x ^ (x >> 29)) * kPrimes[2];
  return x ^ (x >> 32);
}

}  // namespace

void milane_digest_start(MilaneDigest* digest) {
  std::memcpy(digest->lanes, kPrimes, sizeof kPrimes);
  digest->length = 0;
}

void milane_digest_add(MilaneDigest* digest, const void* bytes, size_t count) {
  const auto* from = static_cast<const unsigned char*>(bytes);
  // The length goes in as well, so that ("ab", "c") and ("a", "bc") differ.
  digest->lanes[0] = mixed(digest->lanes[0], count, kPrimes[3]);
  digest->length += count;
  while (count > 0) {
    std::uint64_t words[4] = {};
    const std::size_t piece = count < sizeof words ? count : sizeof words;
    std::memcpy(words, from, piece);
    for (int i = 0; i < 4; ++i) digest->lanes[i] = mixed(digest->lanes[i], words[i], kPrimes[i]);
    from += piece;
    count -= piece;
  }
}

void milane_digest_text(const MilaneDigest* digest, char text[kDigestText]) {
  std::uint64_t all = digest->length;
  for (const std::uint64_t lane : digest->lanes) all = finished(all ^ lane);
  for (int i = 0; i < 4; ++i) {
    all = finished(all + digest->lanes[i] + kPrimes[i]);
    std::snprintf(text + 16 * i, 17, "%016lX", static_cast<unsigned long>(all));
  }
}

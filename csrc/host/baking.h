// Large constants that compiling makes - packed weights, decompressed ones - taken from an earlier
// compile of the same program, where a cache has one.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "core/slab.h"
#include "host/gemm.h"
#include "host/op.h"

namespace milane::host {

// One compile's constants, in the order it asks for them, which the program alone decides.
class Baking {
 public:
  // Looks the program up. What makes the entry's key: the function's text, the weights it names,
  // their content, the options that decide what is baked, and the engine that bakes.
  Baking(const mil::Program& program, const mil::Function& function, const WeightSet& weights,
         const CompileOptions& options);

  // Whether an earlier compile baked everything: then all comes from there.
  bool hit() const { return parts_.has_value(); }

  // The next constant of an earlier compile; null when there is none, and it is to be baked.
  // The memory cannot be written.
  std::shared_ptr<std::byte> take(std::size_t bytes);
  // The next constant, just baked. Returns its place, for leave_out().
  std::size_t keep(std::shared_ptr<const std::byte> memory, std::size_t bytes);
  // Nothing but other baked constants was made of this one: later compiles need not have it, and
  // take() gives them memory that cannot be read.
  void leave_out(std::size_t place);

  // Uninitialised memory for what is packed now.
  std::shared_ptr<std::byte> memory(std::size_t bytes) { return slab_.take(bytes); }
  // Since it was last asked: what has been packed, and needs not be read otherwise.
  void note_packed(ValueId id) { packed_.push_back(id); }
  std::vector<ValueId> take_packed() { return std::exchange(packed_, {}); }

  // After a compile: leaves what was baked to later ones, or throws Mismatch when it was not all
  // that was taken.
  void finish();
  // The entry is of no use: removes it and lets everything be baked.
  void forget();

  // An entry that does not fit the compile that asked for it; the compile starts over without.
  struct Mismatch {};

 private:
  struct Made {
    std::shared_ptr<const std::byte> memory;
    std::size_t bytes = 0;
  };

  std::shared_ptr<CompileCache> cache_;  // null: nothing is looked up or kept
  Hash128 key_;
  std::string label_;
  std::optional<std::vector<CachedPart>> parts_;
  std::size_t taken_ = 0;
  std::vector<Made> made_;
  std::vector<ValueId> packed_;
  Slab slab_;
};

struct PackedShape {
  DType dtype = DType::kFp16;
  std::int64_t rows = 0, depth = 0;
};

// The operand's packed form: baked before, or filled in now, all of it. The op function must not
// read the operand otherwise.
PackedMatrix pack_constant(const OpSite& site, const Operand& from, const PackedShape& shape,
                           FunctionRef<void(const PackedView&)> fill);

// hash_bytes() of each part, by all threads.
std::vector<Hash128> parallel_hashes(std::span<const std::span<const std::byte>> parts);

}  // namespace milane::host

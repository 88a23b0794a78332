#include "host/baking.h"

#include <sys/mman.h>

#include <filesystem>
#include <new>
#include <utility>

#include "core/aligned.h"
#include "core/cpu.h"
#include "core/error.h"
#include "mil/printer.h"

namespace milane::host {
namespace {

// The form of what is baked: a change to it, or to what bakes it, needs another number.
constexpr int kFormat = 1;

// Weights below this are packed again: measured, looking an entry up takes as long for 2 MiB, 1 MiB
// takes 0.2 ms either way (docs/cache.md).
constexpr std::size_t kLeastWeightBytes = std::size_t{2} << 20;

template <class Visit>
void each_blob(const mil::Function& function, Visit&& visit) {
  for (const auto& op : function.body.operations) {
    for (const auto& attribute : op->attributes) {
      if (attribute.value.is_blob()) visit(attribute.value);
    }
    for (const auto& argument : op->arguments) {
      for (const auto& operand : argument.operands) {
        if (operand.value && operand.value->is_blob()) visit(*operand.value);
      }
    }
  }
}

// Stored weights, and what those that are compressed become.
std::size_t weight_bytes(const mil::Function& function) {
  std::size_t bytes = 0;
  each_blob(function, [&](const mil::Value& value) {
    bytes += packed_bytes(value.type.dtype, element_count(value.type.dims));
  });
  if (bytes == 0) return 0;
  for (const auto& op : function.body.operations) {
    if (!op->type.starts_with("constexpr_")) continue;
    for (const auto& out : op->outputs) {
      bytes += packed_bytes(out.type.dtype, element_count(out.type.dims));
    }
  }
  return bytes;
}

// Everything but the weights' content that decides what is baked. Not `fuse`: chains are made
// afterwards.
std::string text_of(const mil::Program& program, const mil::FunctionPtr& function,
                    const CompileOptions& options, const std::string& build) {
  mil::Program alone;
  alone.version = program.version;
  alone.functions = {function};
  std::string text = mil::print(alone);
  text += "\nformat " + std::to_string(kFormat) + ", panels " + std::to_string(kPanel) + ", " +
          std::string(isa_name(cpu_isa())) + ", build " + build;
  text += "\nnumerics " + std::to_string(static_cast<int>(options.numerics));
  if (options.numerics == Numerics::kAne) text += " " + options.quirks.to_string();
  for (const auto& [input, shape] : options.shapes) text += "\n" + input + to_string(shape);
  return text;
}

Hash128 key_of(const mil::Program& program, const mil::FunctionPtr& function,
               const WeightSet& weights, const CompileOptions& options) {
  const std::string text = text_of(program, function, options, options.cache->build());
  std::vector<std::span<const std::byte>> parts = {std::as_bytes(std::span(text))};
  std::vector<std::shared_ptr<const void>> owners;
  each_blob(*function, [&](const mil::Value& value) {
    const WeightData data = weights.find(program, value);
    parts.emplace_back(data.data, data.bytes);
    owners.push_back(data.owner);
  });
  return hash_bytes(std::as_bytes(std::span<const Hash128>(parallel_hashes(parts))));
}

// "yolo.mlmodelc/model.mil": most files have the same name.
std::string short_name(const std::string& source) {
  const std::filesystem::path path(source);
  return (path.parent_path().filename() / path.filename()).string();
}

// Memory of which not a byte can be read.
std::shared_ptr<std::byte> unreadable(std::size_t bytes) {
  void* const memory = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return {static_cast<std::byte*>(memory), [bytes](std::byte* p) { ::munmap(p, bytes); }};
}

}  // namespace

Baking::Baking(const mil::Program& program, const mil::Function& function, const WeightSet& weights,
               const CompileOptions& options) {
  // fp32 holds every weight twice as wide, to locate drift: not worth the disk.
  if (!options.cache || options.numerics == Numerics::kFp32) return;
  if (weight_bytes(function) < kLeastWeightBytes) return;
  for (const mil::FunctionPtr& f : program.functions) {
    if (f.get() != &function) continue;
    try {
      key_ = key_of(program, f, weights, options);
    } catch (const Error&) {  // a weight that is missing or wrong: planning says which
      return;
    }
    cache_ = options.cache;
    label_ = short_name(program.source_name) + ": " + function.name;
    parts_ = cache_->find(key_);
  }
}

std::shared_ptr<std::byte> Baking::take(std::size_t bytes) {
  if (!parts_) return nullptr;
  if (taken_ == parts_->size()) throw Mismatch();
  const CachedPart& part = (*parts_)[taken_++];
  if (part.bytes.empty()) return unreadable(bytes);
  if (part.bytes.size() != bytes) throw Mismatch();
  // Constants are never written; the mapping is read-only.
  return std::shared_ptr<std::byte>(part.owner, const_cast<std::byte*>(part.bytes.data()));
}

std::size_t Baking::keep(std::shared_ptr<const std::byte> memory, std::size_t bytes) {
  if (cache_) made_.push_back({std::move(memory), bytes});
  return made_.size() - 1;
}

void Baking::leave_out(std::size_t place) {
  if (place < made_.size()) made_[place] = {};
}

void Baking::finish() {
  if (!cache_) return;
  if (parts_) {
    if (taken_ != parts_->size()) throw Mismatch();
    return;
  }
  std::vector<std::span<const std::byte>> parts;
  std::size_t bytes = 0;
  for (const Made& made : made_) {
    parts.emplace_back(made.memory.get(), made.bytes);
    bytes += made.bytes;
  }
  // Weights that are used as they are leave nothing worth keeping.
  if (bytes >= kLeastWeightBytes / 2) cache_->store(key_, label_, parts);
}

void Baking::forget() {
  cache_->remove(key_);
  parts_.reset();
  taken_ = 0;
  made_.clear();
  packed_.clear();
}

PackedMatrix pack_constant(const OpSite& site, const Operand& from, const PackedShape& shape,
                           FunctionRef<void(const PackedView&)> fill) {
  const std::size_t bytes = packed_bytes_of(shape.dtype, shape.rows, shape.depth);
  Baking* const baking = bytes > 0 ? site.baking() : nullptr;
  if (baking != nullptr) {
    baking->note_packed(from.id);
    if (auto memory = baking->take(bytes)) {
      return {std::move(memory), shape.dtype, shape.rows, shape.depth};
    }
  }
  PackedMatrix packed(baking != nullptr ? baking->memory(bytes) : aligned_bytes(bytes), shape.dtype,
                      shape.rows, shape.depth);
  fill(packed.view());
  if (baking != nullptr) baking->keep(packed.memory(), bytes);
  return packed;
}

std::vector<Hash128> parallel_hashes(std::span<const std::span<const std::byte>> parts) {
  return hash_all(parts, [](std::size_t n, auto&& body) {
    parallel_for(static_cast<std::int64_t>(n), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) body(static_cast<std::size_t>(i));
    });
  });
}

}  // namespace milane::host

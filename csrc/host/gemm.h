// Matrix products of the host engine: fp16 or fp32 operands, fp32 accumulation over the whole depth
// in an order that depends on the shapes alone, one rounding at the store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/dtype.h"
#include "core/half.h"
#include "core/shape.h"
#include "host/following.h"
#include "host/kernels/kernels.h"
#include "host/parallel.h"

namespace milane::host {

// A matrix of halves or floats anywhere in memory; strides in elements.
struct MatrixRef {
  DType dtype = DType::kFp16;  // kFp16 or kFp32
  const void* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;
};

// Where a product goes: row-major, rounded to `dtype` once, after the biases (either may be null),
// then through what follows (may be null).
struct OutputRef {
  DType dtype = DType::kFp16;
  void* data = nullptr;
  std::int64_t row_stride = 0;
  const float* row_bias = nullptr;
  const float* column_bias = nullptr;
  bool add = false;  // to what is there; floats only
  const Following* following = nullptr;
};

// Packed rows, [ceil(rows/16)][depth][16] in their own element type; missing rows are zero. Those
// of bf16 are in pairs (gemm_bf16.h).
struct PackedView {
  DType dtype = DType::kFp16;
  std::byte* data = nullptr;
  std::int64_t rows = 0, depth = 0;
};
std::size_t packed_bytes_of(DType dtype, std::int64_t rows, std::int64_t depth);
// Columns [k0, k0 + count) of `to` from the `to.rows` x `count` matrix `from`, in parallel.
void pack_rows(const PackedView& to, const MatrixRef& from, std::int64_t k0, std::int64_t count);

// Packed rows and their memory: 64-byte aligned, on huge pages when there is much (measured: a
// third faster to stream). Copies share it, so op functions may capture one by value.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  PackedMatrix(std::shared_ptr<std::byte> memory, DType dtype, std::int64_t rows,
               std::int64_t depth)
      : memory_(std::move(memory)), view_{dtype, memory_.get(), rows, depth} {}
  const PackedView& view() const { return view_; }
  const std::shared_ptr<std::byte>& memory() const { return memory_; }

 private:
  std::shared_ptr<std::byte> memory_;
  PackedView view_;
};

// panel[depth][pitch] from either element type: panel[k][i] = src[i*inner + k*outer], i < count.
void pack_tile(DType dtype, float* panel, std::int64_t pitch, const void* src, std::int64_t inner,
               std::int64_t outer, std::int64_t count, std::int64_t depth);
// C[row..., column...] from acc[rows][lda].
void store_tile(const OutputRef& c, std::int64_t row, std::int64_t column, const float* acc,
                std::int64_t lda, std::int64_t rows, std::int64_t columns);

// Working memory of a product, and how many threads may share it. Planned once with the number of
// threads of that moment; fewer may run later, more have no room.
struct Workspace {
  std::byte* data = nullptr;
  int slots = 1;
};

// Below this many multiply-adds, waking other threads costs more than it brings.
inline constexpr std::int64_t kSmallProduct = 1 << 17;

// Calls body(slot, task) for each task, at most `slots` at a time, each slot by one thread.
void run_slots(int slots, std::int64_t tasks, FunctionRef<void(int, std::int64_t)> body);

// C(b x n) = X(b x k) W(n x k)^T, W packed. Few rows stream W once (memory-bound), many are tiled.
void linear_packed(const MatrixRef& x, std::int64_t b, const PackedView& w, const OutputRef& c,
                   const Workspace& workspace);
std::size_t linear_packed_bytes(std::int64_t b, std::int64_t n, std::int64_t k, int slots);

// C(m x n) = A(m x k) B(k x n), both known only at run time.
struct MatmulShape {
  std::int64_t m = 0, n = 0, k = 0;
};
// Whether every element is one chain of multiply-adds along the depth, from zero: others have
// several.
bool is_tiled(const MatmulShape& shape);
void matmul_dynamic(const MatmulShape& shape, const MatrixRef& a, const MatrixRef& b,
                    const OutputRef& c, const Workspace& workspace);
std::size_t matmul_dynamic_bytes(const MatmulShape& shape, int slots);

// The same over a batch: strides in elements per batch axis, 0 where an operand is broadcast.
struct BatchedMatmul {
  MatmulShape shape;
  Dims batch, a_strides, b_strides;  // output batches follow each other
};
void matmul_batched(const BatchedMatmul& op, const MatrixRef& a, const MatrixRef& b,
                    const OutputRef& c, const Workspace& workspace);
std::size_t matmul_batched_bytes(const BatchedMatmul& op, int slots);

}  // namespace milane::host

// The table of one instruction set.
#include "host/kernels/kernels.h"
#include "host/kernels/tile.h"

namespace milane::MILANE_ISA {
void widen_array(float* dst, const Half* src, std::size_t n, std::size_t all);
void narrow_array(Half* dst, const float* src, std::size_t n, std::size_t all);
}  // namespace milane::MILANE_ISA

namespace milane::host::MILANE_ISA {

static void half_to_float(float* dst, const Half* src, std::size_t n) {
  milane::MILANE_ISA::widen_array(dst, src, n, n);
}
static void float_to_half(Half* dst, const float* src, std::size_t n) {
  milane::MILANE_ISA::narrow_array(dst, src, n, n);
}

void gemm_tile(const float*, std::int64_t, const float*, std::int64_t, float*, bool);
void score_tile(const float*, const float*, std::int64_t, float*, std::int64_t, bool);
void product_tile_half(const ProductTile&, const Half*);
void product_tile_float(const ProductTile&, const float*);
void gemv_panel_half(const Half*, const float*, std::int64_t, float*);
void gemv_panel_float(const float*, const float*, std::int64_t, float*);
void gemm_panels_half(const Half*, std::int64_t, const float*, std::int64_t, std::int64_t, float*);
void gemm_panels_float(const float*, std::int64_t, const float*, std::int64_t, std::int64_t,
                       float*);
void dot_rows_half(const Half*, std::int64_t, std::int64_t, const float*, std::int64_t,
                   std::int64_t, float*, std::int64_t);
void dot_rows_float(const float*, std::int64_t, std::int64_t, const float*, std::int64_t,
                    std::int64_t, float*, std::int64_t);
void sum_rows_half(const Half*, std::int64_t, std::int64_t, const float*, std::int64_t,
                   std::int64_t, float*, std::int64_t);
void sum_rows_float(const float*, std::int64_t, std::int64_t, const float*, std::int64_t,
                    std::int64_t, float*, std::int64_t);
void pack_half(float*, std::int64_t, const Half*, std::int64_t, std::int64_t, std::int64_t,
               std::int64_t);
void pack_float(float*, std::int64_t, const float*, std::int64_t, std::int64_t, std::int64_t,
                std::int64_t);
void cut_rows_half(float*, const Half*, std::int64_t, std::int64_t, std::int64_t);
void cut_rows_float(float*, const float*, std::int64_t, std::int64_t, std::int64_t);
void turn_rows(Half*, const Half*, std::int64_t, std::int64_t);
void zip_rows_half(Half*, std::int64_t, const Half*, std::int64_t, const Half*, std::int64_t,
                   std::int64_t, std::int64_t);
void zip_rows_float(float*, std::int64_t, const float*, std::int64_t, const float*, std::int64_t,
                    std::int64_t, std::int64_t);
void store_half(Half*, std::int64_t, const float*, std::int64_t, const float*, const float*,
                std::int64_t, std::int64_t);
void store_float(float*, std::int64_t, const float*, std::int64_t, const float*, const float*,
                 std::int64_t, std::int64_t);
void conv_tile_half(const ConvTile&, const Half*);
void conv_tile_float(const ConvTile&, const float*);
void conv_wide(const ConvTile&, const float*);
void window_sum(const WindowTile&, const WindowPlanes&);
void window_max(const WindowTile&, const WindowPlanes&);
bool max_halves(const MaxHalves&, std::int16_t*, Half*, const Half*);
void widen_planes_half(float*, std::int64_t, std::int64_t, const Half*, std::int64_t, std::int64_t,
                       std::int64_t);
void widen_planes_float(float*, std::int64_t, std::int64_t, const float*, std::int64_t,
                        std::int64_t, std::int64_t);
void softmax_tile(float*, std::int64_t, float*, float*, float*);
void softmax_columns(float*, std::int64_t, std::int64_t, bool);
float largest_square_sum(const float*, std::int64_t, std::int64_t);
void add_squares_half(float*, const Half*, std::int64_t, std::int64_t, std::int64_t);
void add_squares_float(float*, const float*, std::int64_t, std::int64_t, std::int64_t);
void largest_rows_half(float*, const Half*, std::int64_t, std::int64_t, std::int64_t);
void largest_rows_float(float*, const float*, std::int64_t, std::int64_t, std::int64_t);
void divide_rows_half(Half*, float*, const Half*, std::int64_t, const float*, std::int64_t,
                      std::int64_t);
void divide_rows_float(float*, float*, const float*, std::int64_t, const float*, std::int64_t,
                       std::int64_t);
void scale_rows_half(Half*, const Half*, std::int64_t, const float*, const float*, std::int64_t,
                     std::int64_t);
void scale_rows_float(float*, const float*, std::int64_t, const float*, const float*, std::int64_t,
                      std::int64_t);
void round_to_half(float*, std::size_t);
float sum(const float*, std::size_t);
void sum_each_half(float*, const Half*, std::int64_t, std::int64_t);
void sum_each_float(float*, const float*, std::int64_t, std::int64_t);
float sum_of_squares(const float*, float, std::size_t);
float max(const float*, std::size_t);
float exp_sum(float*, const float*, float, std::size_t);
void scale_shift(float*, const float*, float, float, std::size_t);
void axpy(float*, const float*, float, std::size_t);
void chain(const Micro*, int, float* const*, int);

const Kernels* table() {
  static constexpr Kernels kTable = {
      .mr = kTileRows,
      .nr = kTileColumns,
      .gemm_tile = gemm_tile,
      .score_tile = score_tile,
      .product_rows = kProductRows,
      .product_panels = kProductPanels,
      .product_tile_half = product_tile_half,
      .product_tile_float = product_tile_float,
      .gemv_panel_half = gemv_panel_half,
      .gemv_panel_float = gemv_panel_float,
      .gemm_panels_half = gemm_panels_half,
      .gemm_panels_float = gemm_panels_float,
      .dot_rows_half = dot_rows_half,
      .dot_rows_float = dot_rows_float,
      .sum_rows_half = sum_rows_half,
      .sum_rows_float = sum_rows_float,
      .pack_half = pack_half,
      .pack_float = pack_float,
      .cut_rows_half = cut_rows_half,
      .cut_rows_float = cut_rows_float,
      .turn_rows = turn_rows,
      .zip_rows_half = zip_rows_half,
      .zip_rows_float = zip_rows_float,
      .store_half = store_half,
      .store_float = store_float,
      .conv_columns = kConvColumns,
      .conv_panels = kConvPanels,
      .conv_tile_half = conv_tile_half,
      .conv_tile_float = conv_tile_float,
      .conv_wide = conv_wide,
      .window_sum = window_sum,
      .window_max = window_max,
      .max_halves = max_halves,
      .widen_planes_half = widen_planes_half,
      .widen_planes_float = widen_planes_float,
      .softmax_tile = softmax_tile,
      .softmax_columns = softmax_columns,
      .largest_square_sum = largest_square_sum,
      .add_squares_half = add_squares_half,
      .add_squares_float = add_squares_float,
      .largest_rows_half = largest_rows_half,
      .largest_rows_float = largest_rows_float,
      .divide_rows_half = divide_rows_half,
      .divide_rows_float = divide_rows_float,
      .scale_rows_half = scale_rows_half,
      .scale_rows_float = scale_rows_float,
      .half_to_float = half_to_float,
      .float_to_half = float_to_half,
      .round_to_half = round_to_half,
      .sum = sum,
      .sum_each_half = sum_each_half,
      .sum_each_float = sum_each_float,
      .sum_of_squares = sum_of_squares,
      .max = max,
      .exp_sum = exp_sum,
      .scale_shift = scale_shift,
      .axpy = axpy,
      .chain = chain,
  };
  return &kTable;
}

}  // namespace milane::host::MILANE_ISA

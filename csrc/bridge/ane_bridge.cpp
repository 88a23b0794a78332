// The functions of ane_bridge.h. Exceptions and NULL stop here.
#include "bridge/ane_bridge.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "bridge/engine.h"
#include "bridge/kernel.h"
#include "bridge/last_error.h"
#include "bridge/weight_blob.h"
#include "core/error.h"

using namespace milane;
using namespace milane::bridge;

namespace {

// Where ane_bridge_compile's program finds its weights.
constexpr const char* kWeightPath = "@model_path/weights/weight.bin";

// `n` elements at `data`, which the caller calls `name`.
template <class T>
std::span<const T> array(const char* name, int n, const T* data) {
  if (n < 0) {
    throw Error(ErrorCode::kInvalidArgument, "expected a number of " + std::string(name) +
                                                 " of at least 0, got " + std::to_string(n));
  }
  if (n > 0 && data == nullptr) {
    throw Error(ErrorCode::kInvalidArgument,
                "expected " + std::to_string(n) + " " + name + ", got NULL");
  }
  return {data, static_cast<std::size_t>(n)};
}

std::string_view text_of(const char* mil_text, std::size_t mil_len) {
  if (mil_text == nullptr || mil_len == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string("expected MIL text, got ") + (mil_text ? "0 bytes" : "NULL"));
  }
  return {mil_text, mil_len};
}

std::vector<WeightBytes> weight_files(const char** names, const std::uint8_t** datas,
                                      const std::size_t* lens, int n) {
  const auto paths = array("weight_names", n, names);
  const auto contents = array("weight_datas", n, datas);
  const auto sizes = array("weight_lens", n, lens);
  std::vector<WeightBytes> files;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (paths[i] == nullptr || contents[i] == nullptr) {
      throw Error(ErrorCode::kInvalidArgument,
                  "weight " + std::to_string(i) + ": expected a name and its data, got NULL");
    }
    files.push_back({paths[i], {contents[i], sizes[i]}});
  }
  return files;
}

std::vector<std::size_t> copied(std::span<const std::size_t> sizes) {
  return {sizes.begin(), sizes.end()};
}

ANEKernelHandle* kernel_of(std::string_view text, const std::vector<WeightBytes>& weights,
                           const Sizes& sizes, std::size_t n_weights) {
  return add_handle(std::make_shared<BridgeKernel>(compile(text, weights, sizes), n_weights));
}

bool evaluate(const char* function, ANEKernelHandle* kernel) {
  return guarded(function, false, [&] {
    find_handle(kernel)->eval();
    return true;
  });
}

std::uint8_t* build_blob(const char* function, const float* src, int rows, int cols,
                         std::size_t* out_len, bool transposed) {
  if (out_len != nullptr) *out_len = 0;
  return guarded(function, static_cast<std::uint8_t*>(nullptr), [&] {
    if (out_len == nullptr) {
      throw Error(ErrorCode::kInvalidArgument, "expected a place for the length, got NULL");
    }
    const std::vector<std::byte> file = weight_blob(src, rows, cols, transposed);
    auto* copy = static_cast<std::uint8_t*>(std::malloc(file.size()));
    if (copy == nullptr) throw std::bad_alloc();
    std::memcpy(copy, file.data(), file.size());
    *out_len = file.size();
    return copy;
  });
}

}  // namespace

int ane_bridge_init(void) {
  return guarded(__func__, -1, [] {
    backend();
    return 0;
  });
}

const char* ane_bridge_backend(void) {
  return guarded(__func__, "", [] { return backend_name(); });
}

const char* ane_bridge_last_error(void) { return last_error(); }

ANEKernelHandle* ane_bridge_compile(const char* mil_text, size_t mil_len,
                                    const uint8_t* weight_data, size_t weight_len, int n_inputs,
                                    const size_t* input_sizes, int n_outputs,
                                    const size_t* output_sizes) {
  return guarded(__func__, static_cast<ANEKernelHandle*>(nullptr), [&] {
    std::vector<WeightBytes> weights;
    if (weight_data != nullptr && weight_len != 0) {
      weights.push_back({kWeightPath, {weight_data, weight_len}});
    }
    const Sizes sizes{copied(array("input_sizes", n_inputs, input_sizes)),
                      copied(array("output_sizes", n_outputs, output_sizes))};
    return kernel_of(text_of(mil_text, mil_len), weights, sizes, 0);
  });
}

ANEKernelHandle* ane_bridge_compile_multi_weights(const char* mil_text, size_t mil_len,
                                                  const char** weight_names,
                                                  const uint8_t** weight_datas,
                                                  const size_t* weight_lens, int n_weights,
                                                  int n_inputs, const size_t* input_sizes,
                                                  int n_outputs, const size_t* output_sizes) {
  return guarded(__func__, static_cast<ANEKernelHandle*>(nullptr), [&] {
    const Sizes sizes{copied(array("input_sizes", n_inputs, input_sizes)),
                      copied(array("output_sizes", n_outputs, output_sizes))};
    return kernel_of(text_of(mil_text, mil_len),
                     weight_files(weight_names, weight_datas, weight_lens, n_weights), sizes, 0);
  });
}

ANEKernelHandle* ane_bridge_compile_dyn(const char* mil_text, size_t mil_len, int n_inputs,
                                        const size_t* input_sizes, int n_weights,
                                        const size_t* weight_sizes, size_t output_size) {
  return guarded(__func__, static_cast<ANEKernelHandle*>(nullptr), [&] {
    Sizes sizes{copied(array("input_sizes", n_inputs, input_sizes)), {output_size}};
    const auto weights = array("weight_sizes", n_weights, weight_sizes);
    sizes.inputs.insert(sizes.inputs.end(), weights.begin(), weights.end());
    return kernel_of(text_of(mil_text, mil_len), {}, sizes, weights.size());
  });
}

bool ane_bridge_run(ANEKernelHandle* kernel) { return evaluate(__func__, kernel); }

bool ane_bridge_eval(ANEKernelHandle* kernel) { return evaluate(__func__, kernel); }

void ane_bridge_write_input(ANEKernelHandle* kernel, int idx, const void* data, size_t bytes) {
  guarded(__func__, [&] { find_handle(kernel)->write_input(idx, data, bytes); });
}

void ane_bridge_read_output(ANEKernelHandle* kernel, int idx, void* data, size_t bytes) {
  guarded(__func__, [&] { find_handle(kernel)->read_output(idx, data, bytes); });
}

void ane_bridge_write_weight(ANEKernelHandle* kernel, int idx, const void* fp16_data,
                             size_t bytes) {
  guarded(__func__, [&] { find_handle(kernel)->write_weight(idx, fp16_data, bytes); });
}

void ane_bridge_write_weight_f32(ANEKernelHandle* kernel, int idx, const float* fp32_data,
                                 size_t count) {
  guarded(__func__, [&] { find_handle(kernel)->write_weight_f32(idx, fp32_data, count); });
}

void ane_bridge_copy_io(ANEKernelHandle* src, int src_out_idx, ANEKernelHandle* dst,
                        int dst_in_idx) {
  guarded(__func__, [&] {
    const BridgeKernelPtr from = find_handle(src), to = find_handle(dst);
    BridgeKernel::copy(*from, src_out_idx, *to, dst_in_idx);
  });
}

void ane_bridge_begin_realtime(void) {
  guarded(__func__, [] {
    const RealtimeGrant grant = backend().begin_realtime();
    if (grant.granted) return;
    throw Error(ErrorCode::kUnsupported, "expected real-time scheduling, got none: " + grant.why);
  });
}

void ane_bridge_end_realtime(void) {
  guarded(__func__, [] { backend().end_realtime(); });
}

void ane_bridge_free(ANEKernelHandle* kernel) {
  guarded(__func__, [&] {
    if (kernel != nullptr) remove_handle(kernel)->close();
  });
}

int ane_bridge_get_compile_count(void) {
  constexpr std::int64_t kMost = std::numeric_limits<int>::max();
  return static_cast<int>(std::clamp<std::int64_t>(compiles().count(), 0, kMost));
}

void ane_bridge_reset_compile_count(void) { compiles().reset(); }

uint8_t* ane_bridge_build_weight_blob(const float* src, int rows, int cols, size_t* out_len) {
  return build_blob(__func__, src, rows, cols, out_len, false);
}

uint8_t* ane_bridge_build_weight_blob_transposed(const float* src, int rows, int cols,
                                                 size_t* out_len) {
  return build_blob(__func__, src, rows, cols, out_len, true);
}

void ane_bridge_free_blob(void* ptr) { std::free(ptr); }

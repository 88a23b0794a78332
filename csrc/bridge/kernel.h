// What a handle stands for: a session whose ports have numbers.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "backend/session.h"
#include "bridge/ane_bridge.h"

namespace milane::bridge {

// Data of callers is dense. Every call is one unit: calls of several threads queue up.
class BridgeKernel {
 public:
  // The session's last n_weights inputs are weights.
  BridgeKernel(std::unique_ptr<Session> session, std::size_t n_weights);

  void eval();
  // The first `bytes` bytes. Throw kInvalidArgument for an index or a size out of range, and NULL.
  void write_input(int index, const void* data, std::size_t bytes);
  void write_weight(int index, const void* data, std::size_t bytes);
  void read_output(int index, void* data, std::size_t bytes);
  // The first `count` elements. Throws kDType, too, for a tensor of neither fp16 nor fp32.
  void write_weight_f32(int index, const float* data, std::size_t count);
  // Throws kInvalidArgument for an index out of range and tensors of different types or shapes.
  static void copy(BridgeKernel& from, int output, BridgeKernel& to, int input);
  // Waits for the other calls, then unloads the program. Throws what Session::close() does.
  void close();

 private:
  std::unique_ptr<Session> session_;
  std::size_t n_weights_;
  std::mutex mutex_;
};

using BridgeKernelPtr = std::shared_ptr<BridgeKernel>;

// Handles are numbers that are never used twice, so one that was freed is known as such.
ANEKernelHandle* add_handle(BridgeKernelPtr kernel);
// Throw kInvalidArgument for NULL, kClosed for a handle that is none (any more).
BridgeKernelPtr find_handle(ANEKernelHandle* handle);
BridgeKernelPtr remove_handle(ANEKernelHandle* handle);

}  // namespace milane::bridge

// What a loaded program says of its inputs and outputs: its `modelAttributes`, as plain data, and
// the ports made from it. Source of the keys: ane_facts C.2, of the addressing: C.3.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace milane::apple {

struct TensorAttributes {
  std::string name, type;  // "y@output"; "Float16"
  std::int64_t batches = 1, channels = 1, depth = 1, height = 1, width = 1;
  std::int64_t batch_stride = 0, depth_stride = 0, plane_stride = 0, row_stride = 0;  // bytes
};

struct ProcedureAttributes {
  std::vector<TensorAttributes> inputs, outputs;
};

struct ModelAttributes {
  std::vector<std::string> input_symbols, output_symbols;  // by symbol index
  std::map<std::string, std::size_t> procedure_ids;        // by function name
  std::vector<ProcedureAttributes> procedures;             // by procedure id
};

// A port, and the number the device knows it by.
struct DevicePort {
  Port port;
  std::uint32_t symbol = 0;
};

struct DevicePorts {
  std::uint32_t procedure = 0;
  std::vector<DevicePort> inputs, outputs;  // in the function's order
};

// The function's inputs and outputs as the loaded program lays them out. Throws kLayout when the
// two do not agree: a name, type or size the program does not report, or strides no layout has.
DevicePorts device_ports(const mil::Function& function, const ModelAttributes& attributes);

}  // namespace milane::apple

#include "mil/type.h"

namespace milane::mil {
namespace {

void append(std::string& out, const Type& type, bool canonical) {
  const auto params = [&] {
    for (std::size_t i = 0; i < type.params.size(); ++i) {
      if (i) out += ", ";
      append(out, type.params[i], canonical);
    }
  };
  switch (type.kind) {
    case Type::Kind::kTensor:
      if (type.dims.empty() && !canonical) {
        out += dtype_name(type.dtype);
        return;
      }
      out += "tensor<";
      out += dtype_name(type.dtype);
      out += ", ";
      out += milane::to_string(type.dims);
      break;
    case Type::Kind::kList:
      out += "list<";
      params();
      out += ", ";
      out += type.dims.front() == kUnknownDim ? "?" : std::to_string(type.dims.front());
      break;
    case Type::Kind::kTuple:
      out += "tuple<";
      params();
      break;
    case Type::Kind::kDict:
      out += "dict<";
      params();
      break;
    case Type::Kind::kState:
      out += "state<";
      params();
      break;
    case Type::Kind::kTensorBuffer:
      out += "tensor_buffer<";
      out += dtype_name(type.dtype);
      for (const auto& [name, dims] : type.buffer)
        out += ", " + name + "=" + milane::to_string(dims);
      break;
  }
  out += '>';
}

}  // namespace

std::string to_string(const Type& type, bool canonical) {
  std::string out;
  append(out, type, canonical);
  return out;
}

}  // namespace milane::mil

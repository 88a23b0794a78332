#include "host/op_table.h"

#include <unordered_map>

namespace milane::host {

#define MILANE_DECLARE_function(name) RunFn op_##name(OpSite& site);
#define MILANE_DECLARE_elementwise(name) Lowered chain_##name(const OpSite& site);
#define MILANE_DECLARE_view(name)
#define MILANE_DECLARE_plan(name)
#define MILANE_DECLARE_none(name)
#define MILANE_OP(name, since, host, rule, signature) MILANE_DECLARE_##host(name)
#include "mil/ops.def"
#undef MILANE_OP

const HostOp* find_host_op(std::string_view name) {
#define MILANE_ENTRY_function(name) {#name, {op_##name, nullptr}},
#define MILANE_ENTRY_elementwise(name) {#name, {nullptr, chain_##name}},
#define MILANE_ENTRY_view(name)
#define MILANE_ENTRY_plan(name)
#define MILANE_ENTRY_none(name)
#define MILANE_OP(name, since, host, rule, signature) MILANE_ENTRY_##host(name)
  static const std::unordered_map<std::string_view, HostOp> kTable{
#include "mil/ops.def"
  };
#undef MILANE_OP
  const auto it = kTable.find(name);
  return it == kTable.end() ? nullptr : &it->second;
}

}  // namespace milane::host

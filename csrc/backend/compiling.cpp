#include "backend/compiling.h"

#include "core/error.h"

namespace milane {

const mil::Function& pick_function(const mil::Program& program, const std::string& wanted) {
  std::string names;
  for (const auto& f : program.functions) names += (names.empty() ? "" : ", ") + f->name;
  const std::string name = wanted.empty() && program.functions.size() > 1 ? "main" : wanted;
  if (name.empty() && program.functions.size() == 1) return *program.functions.front();
  if (const mil::Function* f = program.function(name)) return *f;
  throw Error(ErrorCode::kInvalidArgument,
              program.source_name + ": expected one of the functions " + names + ", got " + name,
              "pass function= to compile()");
}

void check_budget(const CompileOptions& options) {
  if (!options.compiles_left || *options.compiles_left > 0) return;
  throw Error(ErrorCode::kBudget,
              "compile: expected a compile to be left to this process, got none",
              "make weights inputs of the program (they change without a compile), put several "
              "functions into one program, keep kernels instead of compiling again, or restart "
              "the process")
      .during("compile");
}

}  // namespace milane

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

void CompileCounter::take(const std::optional<std::int64_t>& budget) {
  std::int64_t before = count_.load();
  do {
    if (!budget || before < *budget) continue;
    throw Error(ErrorCode::kBudget,
                "compile: expected a compile to be left, got " + std::to_string(before) + " of " +
                    std::to_string(*budget) + " used",
                "make weights inputs of the program (they change without a compile), put several "
                "functions into one program, keep kernels instead of compiling again, or restart "
                "the process")
        .during("compile");
  } while (!count_.compare_exchange_weak(before, before + 1));
}

}  // namespace milane

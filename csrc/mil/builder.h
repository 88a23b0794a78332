// Makes a function one operation at a time; every result's type is inferred as it is added.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "mil/infer.h"
#include "mil/program.h"

namespace milane::mil {

// What is added has passed the checks of verify(); what throws Error(kVerify) leaves no trace.
// Not for several threads at once.
class Builder {
 public:
  // The function need not be in the program yet; the program says how messages are worded.
  Builder(ProgramPtr program, FunctionPtr function);

  const FunctionPtr& function() const { return function_; }

  void input(const NamedType& parameter);
  // Infers the operation's results and names them `name`, or `name_0`, `name_1`, ... where there
  // are several. Its `name` attribute becomes `name`.
  std::vector<NamedType> add(const OperationPtr& operation, const std::string& name);
  NamedType constant(const std::string& name, Value value);

  // Operations added between the two are the block's, and their names end with it.
  void begin_block(std::vector<NamedType> inputs);
  std::shared_ptr<Block> end_block(const std::vector<std::string>& outputs);

  // Makes `old` a name of the caller's choice, wherever it stands.
  void rename(const std::string& old_name, const std::string& new_name);

 private:
  struct Definition {
    Type type;
    std::shared_ptr<const void> owner;  // of what the view shows
    ConstView view;
    bool has_view = false;
    bool constant = false;
  };
  struct Open {
    std::shared_ptr<Block> block;
    std::vector<std::string> defined;
  };

  std::vector<NamedType> results_of(const Operation& operation, const std::string& name) const;
  std::vector<Type> carried_types(const Operation& operation) const;
  void define(const std::string& name, Definition definition);
  void check_new(const std::string& name) const;
  ArgInfo info(const Operand& operand) const;
  Block& block() { return open_.empty() ? function_->body : *open_.back().block; }
  [[noreturn]] void fail(const std::string& message, const std::string& hint = {}) const;

  ProgramPtr program_;
  FunctionPtr function_;
  std::function<ArgInfo(const Operand&)> lookup_;
  std::unordered_map<std::string, Definition> scope_;
  std::vector<Open> open_;
};

}  // namespace milane::mil

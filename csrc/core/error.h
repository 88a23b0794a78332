// One exception type for the whole native library; the bindings turn `code` into a Python class.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

namespace milane {

// Each code maps to exactly one class of python/milane/errors.py (see bindings/bind_errors.cpp).
enum class ErrorCode : std::uint8_t {
  kInvalidArgument,  // InvalidArgumentError(ValueError): a caller's argument
  kDType,            // DTypeError(TypeError): right shape of call, wrong element type
  kSyntax,           // MILSyntaxError(ValueError): MIL text that does not parse
  kVerify,           // MILVerifyError(ValueError): parsed, but the program is not well formed
  kUnsupportedOp,    // UnsupportedOpError(NotImplementedError): no implementation on this backend
  kCompile,          // CompileError(RuntimeError)
  kBudget,           // CompileBudgetExhaustedError(RuntimeError)
  kBlob,             // BlobError(ValueError): a damaged or lying weight file
  kFile,             // ModelFileError(OSError): missing file, path outside the model folder
  kNoAne,            // NoANEError(RuntimeError)
  kMapFailed,        // MapFailedError(RuntimeError)
  kSelector,         // UnsupportedSelectorError(NotImplementedError)
  kModelLoad,        // ModelLoadError(RuntimeError)
  kEval,             // EvalError(RuntimeError)
  kLayout,           // UnsupportedLayoutError(ValueError)
  kUnsupported,      // UnsupportedError(NotImplementedError)
  kClosed,           // ClosedError(RuntimeError): use after close
};

// Message grammar: `where: expected ..., got ...`, then an optional `hint: ...` line.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message, std::string hint = {})
      : code_(code), message_(std::move(message)), hint_(std::move(hint)) {
    text_ = hint_.empty() ? message_ : message_ + "\nhint: " + hint_;
  }

  // The system error beneath: domain (for the device, com.apple.appleneuralengine...), its number,
  // and the class name the device's own text gives (InvalidMILProgram, CompilationFailure).
  Error& from_device(std::string domain, std::int64_t number, std::string cls = {}) {
    domain_ = std::move(domain);
    number_ = number;
    class_ = std::move(cls);
    return *this;
  }
  // Where in MIL text: 1-based line and column.
  Error& at(int line, int column) {
    line_ = line;
    column_ = column;
    return *this;
  }
  // The stage that failed: "parse", "compile", "load", "eval", ...
  Error& during(std::string stage) {
    stage_ = std::move(stage);
    return *this;
  }

  const char* what() const noexcept override { return text_.c_str(); }
  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  const std::string& stage() const { return stage_; }
  const std::string& domain() const { return domain_; }
  const std::string& device_class() const { return class_; }
  std::int64_t number() const { return number_; }
  int line() const { return line_; }
  int column() const { return column_; }

 private:
  ErrorCode code_;
  std::string message_, hint_, text_, stage_, domain_, class_;
  std::int64_t number_ = 0;
  int line_ = 0, column_ = 0;
};

}  // namespace milane

#include "apple/device_error.h"

#include <array>
#include <string_view>

namespace milane::apple {
namespace {

// One published failure of the device (ane_facts E). The first row whose code and text occur is it.
struct KnownFailure {
  std::string_view text;  // occurs in the description
  std::int64_t code;      // 0: any
  ErrorCode error;
  std::string_view cls;
  std::string_view hint;
};

constexpr std::array<KnownFailure, 15> kKnown{{
    {"InvalidMILProgram", 0, ErrorCode::kCompile, "InvalidMILProgram",
     "the device's compiler does not accept the text: a grammar it does not know, an operation it "
     "lacks, or an attribute written in place instead of a named constant"},
    {"CompilationFailure", 0, ErrorCode::kCompile, "CompilationFailure",
     "the text is accepted but cannot be lowered: an operation, a shape or a size the engine "
     "lacks"},
    {"must re-compile", 0, ErrorCode::kModelLoad, "GetANEFModel",
     "about 128 programs may be loaded per process: close kernels, or put functions into one "
     "program"},
    {"0x20004", 0, ErrorCode::kModelLoad, "status=0x20004",
     "the program is too large for the engine's address window, or too many are resident: split "
     "it, or close kernels"},
    {"file access failure", 0, ErrorCode::kModelLoad, "FileAccess",
     "the system's service may not read that folder; copy the model elsewhere, or use "
     "route=\"memory\""},
    {"status=0x1d", 8, ErrorCode::kEval, "status=0x1d",
     "a surface is too small, of another size, or in another's place: use the kernel's own "
     "layouts"},
    {"status=0x2 ", 8, ErrorCode::kEval, "status=0x2",
     "symbol indices of another procedure, or the engine is out of memory: close kernels, then "
     "retry"},
    {"status=0x16", 8, ErrorCode::kEval, "status=0x16",
     "seen under load, its cause is unknown: retry"},
    {"map failure", 13, ErrorCode::kMapFailed, "IOSurfaceMap",
     "a surface is shorter than its strided tensor; after an engine panic it persists until a "
     "reboot"},
    {"IOSurfaces map", 0, ErrorCode::kMapFailed, "IOSurfaceMap",
     "a surface is shorter than its strided tensor; after an engine panic it persists until a "
     "reboot"},
    {"", 15, ErrorCode::kUnsupported, "Chaining", "chaining is not usable from a third party"},
    {"lost helper", 0, ErrorCode::kCompile, "ServiceDied",
     "the compiler service crashed on this program (run-time convolution weights at batch 2 and "
     "very deep programs are known to do it); wait some seconds before the next compile"},
    {"service died", 0, ErrorCode::kCompile, "ServiceDied",
     "the compiler service crashed on this program (run-time convolution weights at batch 2 and "
     "very deep programs are known to do it); wait some seconds before the next compile"},
    {"ANECCompile() FAILED", 0, ErrorCode::kCompile, "ANECCompile",
     "the device's compiler gives no reason; compile smaller parts to find the operation"},
    {"timed out", 0, ErrorCode::kEval, "Timeout",
     "the event waited for was not signalled, or the engine is busy"},
}};

// What a failure means where no row knows it.
ErrorCode code_of_stage(const std::string& stage) {
  if (stage == "compile" || stage == "descriptor") return ErrorCode::kCompile;
  if (stage == "load" || stage == "unload") return ErrorCode::kModelLoad;
  if (stage == "attributes") return ErrorCode::kLayout;
  if (stage == "map" || stage == "surface") return ErrorCode::kMapFailed;
  return ErrorCode::kEval;
}

}  // namespace

Error device_error(const std::string& stage, const DeviceFailure& failure) {
  const std::string message = stage + ": expected the device to succeed, got error " +
                              std::to_string(failure.code) + " of " + failure.domain + ": " +
                              failure.text;
  for (const KnownFailure& known : kKnown) {
    if (known.code != 0 && known.code != failure.code) continue;
    // A space at the end, so that "status=0x2" is not found in "status=0x20004".
    if ((failure.text + " ").find(known.text) == std::string::npos) continue;
    return Error(known.error, message, std::string(known.hint))
        .from_device(failure.domain, failure.code, std::string(known.cls))
        .during(stage);
  }
  return Error(code_of_stage(stage), message, "the framework gives no more; see docs/errors.md")
      .from_device(failure.domain, failure.code)
      .during(stage);
}

Error nil_error(const std::string& stage, const std::string& what) {
  return Error(code_of_stage(stage),
               stage + ": expected " + what + " from the framework, got nil and no error",
               "the framework of this system may differ from the known ones: run `milane doctor`")
      .from_device("com.apple.appleneuralengine", 0)
      .during(stage);
}

}  // namespace milane::apple

// Stands in for the Objective-C++ backend where it is not part of the build.
#include "apple/apple.h"
#include "apple/metal.h"
#include "apple/private_table.h"
#include "core/error.h"

namespace milane::apple {

BackendPtr make_ane_backend(std::string* why) {
  *why = "no Apple Neural Engine on this machine: it needs a Mac with Apple silicon";
  return nullptr;
}

FrameworkReport inspect_framework() {
  FrameworkReport report;
  report.path = "AppleNeuralEngine.framework";
  report.error = "only macOS has it";
  for (const TableRow& row : table::kRows) report.rows.push_back(report_row(row));
  return report;
}

EntryCost measure_entry(int) {
  throw Error(ErrorCode::kUnsupported,
              "measure_entry: expected a build with Objective-C, got one without");
}

SurfacePtr make_iosurface(const TensorLayout&, SurfaceStyle) { return nullptr; }
SharedEventPtr make_iosurface_event() { return nullptr; }
SharedEventPtr iosurface_event_from_port(std::uint32_t) { return nullptr; }

std::shared_ptr<MetalDevice> open_metal() {
  throw Error(ErrorCode::kUnsupported, "open_metal: expected macOS, got another system",
              "Metal is Apple's; on other systems events and surfaces work without it");
}

}  // namespace milane::apple

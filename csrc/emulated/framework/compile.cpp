// A folder's model.mil becomes a compiled program.
#include <algorithm>
#include <string>
#include <vector>

#include "core/error.h"
#include "emulated/framework/compiled.h"

namespace fs = std::filesystem;
using namespace milane::emulated;

namespace {

MilaneFailure injected() {
  milane_sleep_ms(milane_fault_number(kCompileSlow, 0, 50));
  if (milane_fault(kCompileInvalid)) return kInvalidMil;
  if (milane_fault(kCompileFailure)) return kCompilation;
  if (milane_fault(kCompileEmpty)) return kNoReason;
  if (milane_fault(kCompileDied)) return kServiceDied;
  return kSucceeded;
}

MilaneFailure refused(MilaneFailure failure, const std::exception& why) {
  milane_set_reason(why.what());
  return failure;
}

void add_file(MilaneDigest& digest, const fs::path& file) {
  const Bytes bytes = read_bytes(file);
  milane_digest_add(&digest, bytes->data(), bytes->size());
}

}  // namespace

void milane_folder_identity(const char* folder, char text[kDigestText]) {
  text[0] = '\0';
  try {
    MilaneDigest digest;
    milane_digest_start(&digest);
    const fs::path root(folder);
    add_file(digest, root / "model.mil");
    std::vector<fs::path> weights;
    if (fs::is_directory(root / "weights")) {
      for (const auto& entry : fs::recursive_directory_iterator(root / "weights")) {
        if (entry.is_regular_file()) weights.push_back(entry.path());
      }
    }
    std::sort(weights.begin(), weights.end());
    for (const fs::path& file : weights) {
      const std::string name = file.filename().string();
      milane_digest_add(&digest, name.data(), name.size());
      add_file(digest, file);
    }
    milane_digest_text(&digest, text);
  } catch (const std::exception& e) {
    milane_set_reason(e.what());
  }
}

MilaneFailure milane_compile(const char* folder, const char* identity, bool stage) {
  if (const MilaneFailure fault = injected()) {
    milane_set_reason("injected");
    return fault;
  }
  try {
    const fs::path root(folder);
    const Outcome outcome = compile_text(read_text(root / "model.mil"), root, nullptr);
    if (outcome.failure != kSucceeded) return outcome.failure;
    if (stage) {
      const Bytes& blob = outcome.compiled->first_blob;
      write_net_plist(root, outcome.compiled->text);
      write_file(root / "data", blob ? blob->data() : nullptr, blob ? blob->size() : 0);
    }
    remember(identity, outcome.compiled);
    return kSucceeded;
  } catch (const std::exception& e) {
    return refused(kInvalidMil, e);  // no model.mil, or no place to write to
  }
}

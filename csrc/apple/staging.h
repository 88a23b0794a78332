// The folder in which the framework's compiler finds a program's files.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blob/reader.h"

namespace milane::apple {

// Weight files by their path in the text.
using WeightFiles = std::map<std::string, std::shared_ptr<const blob::BlobFile>>;

struct StagedFile {
  std::string path;  // relative: "model.mil", "weights/weight.bin"
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
};

// A program's files. They point into `text` and the weights; a weight file lies where its path says
// after "@model_path/" (ane_facts B.2).
std::vector<StagedFile> program_files(const std::string& text, const WeightFiles& weights);

// Writes to a temporary name first; a file that is there with the same content is left alone.
// Throws kFile, also for a path that leaves the folder.
void write_staged(const std::string& folder, const StagedFile& file);

// A lease on a folder that is named by its content, so that equal programs share it: within the
// process the leases are counted, between processes they hold a lock. The last lease removes a
// folder that a lease created (ane_facts B.2); one that was there before is left.
class StagingFolder {
 public:
  // Creates the folder where it is missing, and writes the files. Throws kFile.
  static std::shared_ptr<StagingFolder> lease(const std::string& path,
                                              const std::vector<StagedFile>& files);
  ~StagingFolder();
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit StagingFolder(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

// A new folder, nobody else's.
std::string make_private_folder(const std::string& temporary_folder);

}  // namespace milane::apple

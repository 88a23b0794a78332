// Where a program's BLOBFILE constants come from.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blob/reader.h"
#include "mil/program.h"

namespace milane {

// A constant's bytes and what keeps them alive.
struct WeightData {
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
  std::shared_ptr<const void> owner;
};

// Blob files by their path in the text ("@model_path/weights/weight.bin"). Files given explicitly
// win; others are looked for in the model folder when one is set. Files are opened on first use.
class WeightSet {
 public:
  WeightSet() = default;
  explicit WeightSet(std::string model_folder) : model_folder_(std::move(model_folder)) {}

  void add_bytes(const std::string& path, std::shared_ptr<const void> owner, const std::byte* data,
                 std::size_t bytes);
  void add_file(const std::string& path, const std::string& file);

  // The bytes behind a blob value of this program. Throws kFile when the file is missing (the
  // message lists what was given), kBlob when the record's dtype or size is not the declared one.
  WeightData find(const mil::Program& program, const mil::Value& value) const;
  // The whole file behind a blob value. Throws kFile as find() does.
  std::shared_ptr<const blob::BlobFile> file(const mil::Program& program,
                                             const mil::Value& value) const;

 private:
  std::string model_folder_;
  mutable std::map<std::string, std::shared_ptr<const blob::BlobFile>> files_;
};

}  // namespace milane

#include "backend/weights.h"

#include "core/error.h"
#include "mil/diagnostic.h"
#include "mil/package.h"

namespace milane {
namespace {

std::string describe(DType dtype, std::int64_t count) {
  return std::to_string(count) + " x " + std::string(dtype_name(dtype));
}

}  // namespace

void WeightSet::add_bytes(const std::string& path, std::shared_ptr<const void> owner,
                          const std::byte* data, std::size_t bytes) {
  files_[path] = std::make_shared<blob::BlobFile>(std::span<const std::byte>(data, bytes),
                                                  std::move(owner), path);
}

void WeightSet::add_file(const std::string& path, const std::string& file) {
  files_[path] = std::make_shared<blob::BlobFile>(blob::BlobFile::open(file));
}

std::shared_ptr<const blob::BlobFile> WeightSet::file(const mil::Program& program,
                                                      const mil::Value& value) const {
  if (const auto it = files_.find(value.blob_path); it != files_.end()) return it->second;
  if (model_folder_.empty()) {
    std::string given;
    for (const auto& [path, file] : files_) given += (given.empty() ? "" : ", ") + path;
    throw mil::make_error(ErrorCode::kFile, program, value.location,
                          "expected the weight file " + value.blob_path + ", got " +
                              (given.empty() ? "no weight files" : given),
                          "pass weight_files={\"" + value.blob_path + "\": ...} to compile()");
  }
  const std::string file = mil::resolve_weight_path(value.blob_path, model_folder_);
  try {
    return files_[value.blob_path] = std::make_shared<blob::BlobFile>(blob::BlobFile::open(file));
  } catch (const Error& e) {
    throw mil::make_error(e.code(), program, value.location, e.message(), e.hint());
  }
}

WeightData WeightSet::find(const mil::Program& program, const mil::Value& value) const {
  const auto found = file(program, value);
  try {
    const blob::Record record = found->record_at(value.blob_offset);
    const std::int64_t count = element_count(value.type.dims);
    if (record.dtype != value.type.dtype || record.count != count) {
      throw Error(ErrorCode::kBlob, value.blob_path + ": record at offset " +
                                        std::to_string(value.blob_offset) + ": expected " +
                                        describe(value.type.dtype, count) + ", got " +
                                        describe(record.dtype, record.count));
    }
    return {record.data.data(), record.data.size(), record.owner ? record.owner : found};
  } catch (const Error& e) {
    throw mil::make_error(e.code(), program, value.location, e.message(), e.hint());
  }
}

}  // namespace milane

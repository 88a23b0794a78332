#include "mil/package.h"

#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include "core/error.h"

namespace milane::mil {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModelPath = "@model_path/";
constexpr const char* kProgramFile = "model.mil";

[[noreturn]] void fail(const std::string& where, const std::string& message,
                       const std::string& hint = {}) {
  throw Error(ErrorCode::kFile, where + ": " + message, hint);
}

bool is_text(std::string_view path) {
  const auto first = path.find_first_not_of(" \t\r\n");
  if (path.find('\n') != path.npos) return true;
  return first != path.npos && path.substr(first).starts_with("program(");
}

std::string read_text(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) fail(path.string(), "expected a regular file");
  std::ifstream file(path, std::ios::binary);
  const auto size = fs::file_size(path, error);
  if (!file || error) fail(path.string(), "expected a readable file, got no permission");
  std::string text(static_cast<std::size_t>(size), '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

// A folder of several programs (model0, model1, ...) is a pipeline, which is no program itself.
std::string folder_hint(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / "model0" / kProgramFile, error)) {
    return "this model is a pipeline: open its stages, the first is " +
           (folder / "model0").string();
  }
  if (fs::exists(folder / "model.espresso.net", error)) {
    return "this is a neural network of the older kind, which has no MIL program";
  }
  return "a compiled model (.mlmodelc) holds its program in model.mil";
}

}  // namespace

Source read_source(const std::string& path) {
  if (is_text(path)) return {path, "<text>", ""};
  fs::path file(path);
  if (!file.has_filename()) file = file.parent_path();  // "model.mlmodelc/"
  std::error_code error;
  if (!fs::exists(file, error)) fail(path, "expected a file or a folder, got none");
  const auto extension = file.extension();
  if (extension == ".mlpackage" || extension == ".mlmodel") {
    fail(path, "expected MIL text, got a " + extension.string() + ", which holds a protobuf",
         "compile it with `xcrun coremlc compile`, or read it with milane.models");
  }
  if (!fs::is_directory(file, error)) {
    std::string folder = file.parent_path().string();
    return {read_text(file), file.string(), folder.empty() ? "." : folder};
  }
  const fs::path program = file / kProgramFile;
  if (!fs::exists(program, error)) {
    fail(path, "expected a model.mil in this folder, got none", folder_hint(file));
  }
  return {read_text(program), program.string(), file.string()};
}

std::string resolve_weight_path(const std::string& mil_path, const std::string& model_folder) {
  if (model_folder.empty()) {
    fail("BLOBFILE path \"" + mil_path + "\"", "expected a model folder, got a program without one",
         "give the weights, or open the program from its folder");
  }
  // Handwritten programs leave the prefix out; their paths are inside the model's folder all the
  // same.
  const bool prefixed = mil_path.starts_with(kModelPath);
  const std::string inside = prefixed ? mil_path.substr(kModelPath.size()) : mil_path;
  const fs::path relative(inside);
  bool outside = inside.empty() || (!prefixed && inside.starts_with('@')) ||
                 relative.is_absolute() || inside.find('\0') != inside.npos;
  for (const auto& part : relative) outside = outside || part == "..";
  if (outside) {
    fail("BLOBFILE path \"" + mil_path + "\"", "expected a path inside the model folder",
         "absolute paths and .. are refused");
  }
  std::error_code error;
  const fs::path root = fs::canonical(model_folder, error);
  if (error) fail(model_folder, "expected a model folder, got none");
  const fs::path full = fs::weakly_canonical(root / relative, error);
  const auto tail = full.lexically_relative(root);
  if (error || tail.empty() || *tail.begin() == "..") {
    fail("BLOBFILE path \"" + mil_path + "\"",
         "expected a file inside the model folder, got " + full.string(),
         "a symbolic link leads out of the folder; copy the file instead");
  }
  return full.string();
}

}  // namespace milane::mil

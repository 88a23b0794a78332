// Where programs come from: a text file, a compiled model folder, or text itself.
#pragma once

#include <string>

namespace milane::mil {

struct Source {
  std::string text;
  std::string name;          // for messages: "<folder>/model.mil", or "<text>"
  std::string model_folder;  // what @model_path stands for; empty for bare text
};

// `path` is a .mil file, a folder with a model.mil (.mlmodelc), or MIL text itself: whatever has
// a line break or starts with `program(`. Throws Error(kFile).
Source read_source(const std::string& path);

// The file that BLOBFILE(path = "@model_path/weights/weight.bin") names. Throws Error(kFile) for
// paths that are absolute, have a `..`, or leave the folder through a symbolic link.
std::string resolve_weight_path(const std::string& mil_path, const std::string& model_folder);

}  // namespace milane::mil

// The files of a model's folder.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mil/program.h"

namespace milane::emulated {

using Bytes = std::shared_ptr<const std::vector<std::byte>>;

// Throws Error(kFile). Copies: what is compiled does not change with the file (ane_facts D 84).
Bytes read_bytes(const std::filesystem::path& file);
std::string read_text(const std::filesystem::path& file);
void write_file(const std::filesystem::path& file, const void* bytes, std::size_t count);

// The paths of BLOBFILE values, in the order of their first appearance.
std::vector<std::string> blob_paths(const mil::Program& program);

// What the compiler leaves for a later load: net.plist describes the program, data is its first
// weight file (ane_facts B.2). The description here is the text itself.
void write_net_plist(const std::filesystem::path& folder, const std::string& text);
std::string read_net_plist(const std::filesystem::path& folder);

}  // namespace milane::emulated

#include "emulated/framework/files.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace milane::emulated {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHead =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\">\n<dict>\n"
    "<key>Version</key><string>1.0.10</string>\n<key>Program</key><string>";
constexpr std::string_view kTail = "</string>\n</dict>\n</plist>\n";
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kEntities{
    {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}}};

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

void collect(const mil::Value& value, std::vector<std::string>& paths) {
  if (value.is_blob() && std::find(paths.begin(), paths.end(), value.blob_path) == paths.end()) {
    paths.push_back(value.blob_path);
  }
  for (const mil::Value& member : value.members) collect(member, paths);
}

void collect(const mil::Block& block, std::vector<std::string>& paths) {
  for (const auto& op : block.operations) {
    for (const auto& argument : op->arguments) {
      for (const auto& operand : argument.operands) {
        if (operand.value) collect(*operand.value, paths);
      }
    }
    for (const auto& attribute : op->attributes) collect(attribute.value, paths);
    for (const auto& inner : op->blocks) collect(*inner, paths);
  }
}

template <class Container>
Container read_all(const fs::path& file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  const std::streamoff size = in ? static_cast<std::streamoff>(in.tellg()) : -1;
  if (size < 0 || !fs::is_regular_file(file)) {
    throw Error(ErrorCode::kFile, file.string() + ": expected a file, got none");
  }
  Container content;
  content.resize(static_cast<std::size_t>(size));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(content.data()), size);
  return content;
}

}  // namespace

Bytes read_bytes(const fs::path& file) {
  return std::make_shared<const std::vector<std::byte>>(read_all<std::vector<std::byte>>(file));
}

std::string read_text(const fs::path& file) { return read_all<std::string>(file); }

// By renaming, so that a reader in another process sees all of it or nothing.
void write_file(const fs::path& file, const void* bytes, std::size_t count) {
  static std::atomic<unsigned> count_of_files{0};
  const fs::path unfinished = file.string() + "." + std::to_string(getpid()) + "." +
                              std::to_string(count_of_files.fetch_add(1));
  std::ofstream out(unfinished, std::ios::binary);
  out.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count));
  out.close();
  if (!out) throw Error(ErrorCode::kFile, file.string() + ": expected a file that can be written");
  fs::rename(unfinished, file);
}

std::vector<std::string> blob_paths(const mil::Program& program) {
  std::vector<std::string> paths;
  for (const auto& function : program.functions) collect(function->body, paths);
  return paths;
}

void write_net_plist(const fs::path& folder, const std::string& text) {
  std::string escaped = text;
  for (const auto& [plain, entity] : kEntities) escaped = replaced(escaped, plain, entity);
  const std::string all = std::string(kHead) + escaped + std::string(kTail);
  write_file(folder / "net.plist", all.data(), all.size());
}

std::string read_net_plist(const fs::path& folder) {
  std::string all = read_text(folder / "net.plist");
  if (!all.starts_with(kHead) || !all.ends_with(kTail)) {
    throw Error(ErrorCode::kFile, "net.plist: expected one that the compiler wrote");
  }
  all = all.substr(kHead.size(), all.size() - kHead.size() - kTail.size());
  for (auto i = kEntities.rbegin(); i != kEntities.rend(); ++i) {
    all = replaced(all, i->second, i->first);
  }
  return all;
}

}  // namespace milane::emulated

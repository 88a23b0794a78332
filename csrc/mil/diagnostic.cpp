#include "mil/diagnostic.h"

#include <algorithm>
#include <string_view>

namespace milane::mil {
namespace {

constexpr std::size_t kShownBytes = 96;
constexpr std::size_t kShownBefore = 64;

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u; }

std::string_view line_of(std::string_view source, int line) {
  std::size_t begin = 0;
  for (int i = 1; i < line; ++i) {
    const auto newline = source.find('\n', begin);
    if (newline == std::string_view::npos) return {};
    begin = newline + 1;
  }
  auto text = source.substr(begin, source.find('\n', begin) - begin);
  if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  return text;
}

// The part of the line around the column, and a caret below; never splits a UTF-8 sequence.
std::string excerpt(std::string_view line, std::size_t column) {
  column = std::min(column, line.size());
  std::size_t begin = 0;
  std::size_t end = line.size();
  if (end > kShownBytes) {
    begin = column > kShownBefore ? column - kShownBefore : 0;
    while (begin > 0 && begin < line.size() && is_continuation(line[begin])) --begin;
    end = std::min(line.size(), begin + kShownBytes);
    while (end < line.size() && is_continuation(line[end])) ++end;
  }
  std::string shown = begin > 0 ? "..." : "";
  std::string caret(shown.size(), ' ');
  for (std::size_t i = begin; i < end; ++i) {
    const auto c = static_cast<unsigned char>(line[i]);
    shown += c == 0x7F || (c < 0x20 && c != '\t') ? '?' : line[i];
    // A tab stays a tab, so that the caret lands below its column whatever the tab width is.
    if (i < column && !is_continuation(line[i])) caret += c == '\t' ? '\t' : ' ';
  }
  if (end < line.size()) shown += "...";
  return "\n    " + shown + "\n    " + caret + "^";
}

// Text that is not UTF-8 must not reach a message: Python would refuse to decode it.
std::string valid_utf8(std::string text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    const std::size_t n = c < 0x80                ? 1
                          : c >= 0xC2 && c < 0xE0 ? 2
                          : c >= 0xE0 && c < 0xF0 ? 3
                          : c >= 0xF0 && c < 0xF5 ? 4
                                                  : 0;
    bool good = n > 0 && i + n <= text.size();
    for (std::size_t k = 1; good && k < n; ++k) good = is_continuation(text[i + k]);
    if (good && n > 2) {  // overlong forms, surrogates, beyond U+10FFFF
      const auto d = static_cast<unsigned char>(text[i + 1]);
      good = !(c == 0xE0 && d < 0xA0) && !(c == 0xED && d >= 0xA0) && !(c == 0xF0 && d < 0x90) &&
             !(c == 0xF4 && d >= 0x90);
    }
    if (!good) text[i] = '?';
    i += good ? n : 1;
  }
  return text;
}

}  // namespace

Error make_error(ErrorCode code, const std::string& source_name, const std::string& source,
                 Location where, const std::string& message, const std::string& hint) {
  std::string text = message;
  if (where.line > 0) {
    text = source_name + ":" + std::to_string(where.line) + ":" + std::to_string(where.column) +
           ": " + message;
    if (!source.empty()) {
      text += excerpt(line_of(source, where.line), static_cast<std::size_t>(where.column - 1));
    }
  }
  Error error(code, valid_utf8(std::move(text)), valid_utf8(hint));
  error.at(where.line, where.column);
  // The device answers every text it does not accept with this one class (ane_facts.md E).
  if (code == ErrorCode::kSyntax || code == ErrorCode::kVerify) {
    error.during(code == ErrorCode::kSyntax ? "parse" : "verify");
    error.from_device("com.apple.appleneuralengine.compiler", 1, "InvalidMILProgram");
  }
  return error;
}

}  // namespace milane::mil

#include "mil/lexer.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "mil/diagnostic.h"

namespace milane::mil {
namespace {

enum : std::uint8_t { kOther = 0, kHead = 1, kTail = 2 };

// Which characters start an identifier, which continue it.
constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> table{};
  for (int c = 0; c < 256; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    const bool more = (c >= '0' && c <= '9') || c == '@';
    table[static_cast<std::size_t>(c)] = letter ? kHead | kTail : more ? kTail : kOther;
  }
  return table;
}
constexpr auto kClasses = make_classes();

bool is_head(char c) { return kClasses[static_cast<unsigned char>(c)] & kHead; }
bool is_tail(char c) { return kClasses[static_cast<unsigned char>(c)] & kTail; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

const char* word_end(const char* p) {
  while (is_tail(*p)) ++p;
  return p;
}

// Length of the UTF-8 sequence at p, 0 when it is none. RFC 3629, table 3-7 of Unicode.
int sequence_length(const char* p, const char* end) {
  const auto byte = [&](int i) { return p + i < end ? static_cast<unsigned char>(p[i]) : 0u; };
  const auto in = [&](int i, unsigned lo, unsigned hi) { return byte(i) >= lo && byte(i) <= hi; };
  const unsigned c = byte(0);
  if (c < 0x80) return 1;
  if (c >= 0xC2 && c <= 0xDF) return in(1, 0x80, 0xBF) ? 2 : 0;
  if (c >= 0xE0 && c <= 0xEF) {
    return in(1, c == 0xE0 ? 0xA0 : 0x80, c == 0xED ? 0x9F : 0xBF) && in(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (c >= 0xF0 && c <= 0xF4) {
    return in(1, c == 0xF0 ? 0x90 : 0x80, c == 0xF4 ? 0x8F : 0xBF) && in(2, 0x80, 0xBF) &&
                   in(3, 0x80, 0xBF)
               ? 4
               : 0;
  }
  return 0;
}

}  // namespace

bool is_identifier(std::string_view name) {
  if (name.empty() || !is_head(name.front())) return false;
  for (const char c : name) {
    if (!is_tail(c)) return false;
  }
  return true;
}

Lexer::Lexer(const std::string& text, const std::string& source_name)
    : text_(&text),
      source_name_(&source_name),
      p_(text.data()),
      end_(text.data() + text.size()),
      line_start_(text.data()) {
  check_encoding();
  if (text.starts_with("\xEF\xBB\xBF")) p_ += 3;  // a byte order mark says nothing in UTF-8
}

void Lexer::check_encoding() {
  for (const char* p = p_; p < end_;) {
    std::uint64_t eight = 0;
    if (end_ - p >= 8) {
      std::memcpy(&eight, p, 8);
      if ((eight & 0x8080808080808080ull) == 0) {
        p += 8;
        continue;
      }
    }
    const int n = sequence_length(p, end_);
    if (n == 0) {
      Location where{1, 1};
      for (const char* q = p_; q < p; ++q, ++where.column) {
        if (*q == '\n') where = {where.line + 1, 0};
      }
      fail(where, "expected UTF-8, got a byte that is none");
    }
    p += n;
  }
}

void Lexer::skip_space() {
  for (;;) {
    switch (*p_) {
      case '\n':
        ++line_;
        line_start_ = ++p_;
        break;
      case ' ':
      case '\t':
      case '\r':
      case '\f':
      case '\v':
        ++p_;
        break;
      case '/':
        if (p_[1] != '/' && p_[1] != '*') return;
        skip_comment();
        break;
      default:
        return;
    }
  }
}

void Lexer::skip_comment() {
  if (p_[1] == '/') {
    const void* newline = std::memchr(p_, '\n', remaining());
    p_ = newline ? static_cast<const char*>(newline) : end_;
    return;
  }
  const Location start = location(p_);
  for (p_ += 2; p_ < end_; ++p_) {
    if (*p_ == '*' && p_[1] == '/') {
      p_ += 2;
      return;
    }
    if (*p_ == '\n') {
      ++line_;
      line_start_ = p_ + 1;
    }
  }
  fail(start, "expected '*/' to end this comment, got end of text");
}

void Lexer::fail_missing(char c, std::string_view hint) {
  fail_expected(std::string("'") + c + "'", hint);
}

void Lexer::expect_arrow() {
  if (peek() != '-' || p_[1] != '>') fail_expected("'->' and the names of the results");
  p_ += 2;
}

std::string_view Lexer::identifier(std::string_view what) {
  if (!is_head(peek())) {
    fail_expected(what, is_digit(*p_) ? "a name starts with a letter or _" : "");
  }
  const char* first = p_;
  p_ = word_end(p_);
  return {first, static_cast<std::size_t>(p_ - first)};
}

std::string_view Lexer::peek_identifier() {
  if (!is_head(peek())) return {};
  return {p_, static_cast<std::size_t>(word_end(p_) - p_)};
}

std::string_view Lexer::version() {
  skip();
  const char* p = p_;
  while (is_digit(*p)) ++p;
  if (p != p_ && *p == '.' && is_digit(p[1])) {
    ++p;
    while (is_digit(*p)) ++p;
    const char* first = p_;
    if (!is_tail(*p) && *p != '.') {
      p_ = p;
      return {first, static_cast<std::size_t>(p - first)};
    }
  }
  fail_expected("a version such as 1.0 or 1.3");
}

std::string Lexer::string() {
  if (peek() != '"') fail_expected("a string");
  const Location start = location(p_);
  std::string out;
  for (const char* run = ++p_;;) {
    if (p_ == end_ || *p_ == '\n') {
      fail(start, "expected '\"' to end this string, got end of line",
           "write a line break inside a string as \\n");
    }
    if (*p_ != '"' && *p_ != '\\') {
      ++p_;
      continue;
    }
    if (*p_ == '"' && out.empty()) return {run, p_++};  // nothing was escaped
    out.append(run, p_);
    if (*p_++ == '"') return out;
    switch (*p_) {
      case '"':
      case '\\':
        out += *p_;
        break;
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      default: {
        const bool shown = *p_ > ' ' && *p_ < 0x7F;
        fail(location(p_ - 1),
             std::string("expected \\\", \\\\, \\n or \\t, got \\") + (shown ? *p_ : ' '),
             "a backslash itself is written \\\\");
      }
    }
    run = ++p_;
  }
}

Number Lexer::number(bool want_value, std::string_view what) {
  skip();
  Number number;
  const char* behind = scan_number(p_, want_value, number);
  if (behind == nullptr) fail_expected(what);
  p_ = behind;
  return number;
}

std::string Lexer::describe() {
  skip();
  if (p_ == end_) return "end of text";
  const auto quoted = [](std::string_view text) {
    constexpr std::size_t kMost = 40;
    return "'" + std::string(text.substr(0, kMost)) + (text.size() > kMost ? "..." : "") + "'";
  };
  if (is_head(*p_)) return quoted(peek_identifier());
  if (*p_ == '"') {
    const char* p = p_ + 1;
    while (p < end_ && *p != '"' && *p != '\n' && p - p_ < 40) ++p;
    return std::string("the string ") + std::string(p_, p < end_ && *p == '"' ? p + 1 : p);
  }
  if (p_[0] == '-' && p_[1] == '>') return "'->'";
  const bool sign = *p_ == '-' || *p_ == '+';
  if (is_digit(*p_) || *p_ == '.' || sign) {
    const char* p = p_ + 1;
    while (is_tail(*p) || *p == '.' || ((*p == '-' || *p == '+') && (p[-1] | 0x20) == 'p')) ++p;
    return quoted({p_, static_cast<std::size_t>(p - p_)});
  }
  const auto c = static_cast<unsigned char>(*p_);
  if (c < 0x20 || c == 0x7F) return "a control character";
  return quoted({p_, static_cast<std::size_t>(sequence_length(p_, end_))});
}

void Lexer::fail(Location where, const std::string& message, const std::string& hint) {
  throw make_error(ErrorCode::kSyntax, *source_name_, *text_, where, message, hint);
}

void Lexer::fail_expected(std::string_view what, std::string_view hint) {
  const Location where = here();
  fail(where, "expected " + std::string(what) + ", got " + describe(), std::string(hint));
}

}  // namespace milane::mil

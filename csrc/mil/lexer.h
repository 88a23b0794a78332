// A cursor over MIL text: skips white space and comments, knows its line and column, words errors.
#pragma once

#include <string>
#include <string_view>

#include "mil/literal.h"
#include "mil/program.h"

namespace milane::mil {

class Lexer {
 public:
  // `text` stays alive and unchanged as long as the cursor.
  Lexer(const std::string& text, const std::string& source_name);

  // Everything below first skips white space and comments, unless it says otherwise.
  char peek() {
    skip();
    return *p_;
  }
  bool at_end() { return peek() == '\0' && p_ == end_; }
  Location here() {
    skip();
    return location(p_);
  }
  // Bytes from here to the end of the text: an upper bound for what can still be written.
  std::size_t remaining() const { return static_cast<std::size_t>(end_ - p_); }
  // The rest of the text, for hints.
  std::string_view rest() {
    skip();
    return {p_, remaining()};
  }

  bool accept(char c) {
    if (peek() != c || p_ == end_) return false;
    ++p_;
    return true;
  }
  void expect(char c, std::string_view hint = {}) {
    if (!accept(c)) fail_missing(c, hint);
  }
  void expect_arrow();
  // [A-Za-z_][A-Za-z0-9_@]*; `what` goes into the message ("a value name").
  std::string_view identifier(std::string_view what);
  // The identifier here, without moving; empty when there is none.
  std::string_view peek_identifier();
  // Digits, point, digits: the version of the language.
  std::string_view version();
  std::string string();
  // Throws at a malformed number; `what` goes into the message ("an int32").
  Number number(bool want_value, std::string_view what);

  // "')'", "'foo'", "end of text": what stands here.
  std::string describe();
  [[noreturn]] void fail(Location where, const std::string& message, const std::string& hint = {});
  [[noreturn]] void fail_expected(std::string_view what, std::string_view hint = {});

 private:
  void skip() {
    // Most tokens follow each other directly.
    if (static_cast<unsigned char>(*p_) <= ' ' || *p_ == '/') skip_space();
  }
  void skip_space();
  [[noreturn]] void fail_missing(char c, std::string_view hint);
  void skip_comment();
  Location location(const char* p) const { return {line_, static_cast<int>(p - line_start_) + 1}; }
  void check_encoding();

  const std::string* text_;
  const std::string* source_name_;
  const char* p_;
  const char* end_;
  const char* line_start_;
  int line_ = 1;
};

}  // namespace milane::mil

// The lower half of the parser: types and literals. The upper half is in parser.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "mil/lexer.h"

namespace milane::mil {

// Real programs nest eight levels at most; the limit keeps the C++ stack safe from hostile text.
inline constexpr int kMaxDepth = 64;

// Names seen in one list of arguments or attributes; linear however long the list is.
class SeenNames {
 public:
  bool insert(std::string_view name) {
    if (count_ < few_.size()) {
      const auto end = few_.begin() + static_cast<std::ptrdiff_t>(count_);
      if (std::find(few_.begin(), end, name) != end) return false;
      few_[count_++] = name;
      return true;
    }
    if (many_.empty()) many_.insert(few_.begin(), few_.end());
    return many_.insert(name).second;
  }

 private:
  // Nearly every list is this short: no memory, no hashing.
  std::array<std::string_view, 16> few_;
  std::size_t count_ = 0;
  std::unordered_set<std::string_view> many_;
};

// tensor, list, tuple, dict, state, tensor_buffer.
bool is_type_keyword(std::string_view name);

class ValueParser {
 public:
  ValueParser(const std::string& text, const std::string& name) : lex_(text, name) {}

  Type type();
  Value value();
  void end(const std::string& behind) {
    if (!lex_.at_end()) lex_.fail_expected("end of text after " + behind);
  }

 protected:
  // Counts nesting for as long as it lives.
  class Level {
   public:
    explicit Level(ValueParser& parser) : depth_(&parser.depth_) {
      if (++*depth_ > kMaxDepth) {
        const Location where = parser.lex_.here();
        --*depth_;
        parser.lex_.fail(where, "expected at most " + std::to_string(kMaxDepth) +
                                    " levels of nesting, got more");
      }
    }
    ~Level() { --*depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    int* depth_;
  };

  // What stands between brackets: items with commas between them. The opening one is behind us.
  template <class One>
  void list(char close, One&& one);
  // With the type's first word already read, at `at`.
  Type type_named(std::string_view name, Location at);
  Value value_of(Type type, Location at);

  Lexer lex_;

 private:
  std::int64_t dim(std::int64_t least);
  Dims dims();
  DType element_type();
  Type tensor_buffer();
  void literal(Value& v);
  void blob(Value& v);
  void tensor_literal(Value& v);
  template <class Element>
  void nested(const Value& v, Dims& lengths, std::size_t level, Element&& element);
  void elements(Value& v, Dims& lengths);
  std::uint64_t element(DType dtype, const std::string& what);
  void members(Value& v);

  int depth_ = 0;
};

template <class One>
void ValueParser::list(char close, One&& one) {
  if (lex_.accept(close)) return;
  for (;;) {
    one();
    if (lex_.accept(close)) return;
    if (!lex_.accept(',')) {
      lex_.fail_expected(std::string("',' or '") + close + "'");
    }
    if (lex_.peek() == close) {
      lex_.fail_expected("another item after ','",
                         std::string("remove the comma before '") + close + "'");
    }
  }
}

}  // namespace milane::mil

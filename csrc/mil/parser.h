// MIL text to Program. Grammar: the one real files show (docs/mil-grammar.md).
#pragma once

#include <string>
#include <string_view>

#include "mil/program.h"

namespace milane::mil {

// Throws Error(kSyntax) with file:line:column, the line and a hint.
ProgramPtr parse(std::string_view text, std::string source_name = "<text>");
// One type, one typed literal.
Type parse_type(std::string_view text);
Value parse_value(std::string_view text);

}  // namespace milane::mil

// Errors that point into MIL text.
#pragma once

#include <string>

#include "core/error.h"
#include "mil/program.h"

namespace milane::mil {

// "model.mil:12:27: <message>", the source line, a caret under the column, then the hint.
// Long lines are cut around the column. Built programs (no text) give only the message.
Error make_error(ErrorCode code, const std::string& source_name, const std::string& source,
                 Location where, const std::string& message, const std::string& hint = {});

inline Error make_error(ErrorCode code, const Program& program, Location where,
                        const std::string& message, const std::string& hint = {}) {
  return make_error(code, program.source_name, program.source, where, message, hint);
}

}  // namespace milane::mil

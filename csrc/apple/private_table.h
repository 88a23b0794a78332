// private_api.def as data, for every build.
#pragma once

#include <string>

#include "apple/apple.h"

namespace milane::apple {

struct TableRow {
  const char* cls;
  char sign;  // 0: the row is the class's own
  const char *selector, *encoding;
  bool required;
  const char *seen, *users, *absent;
};

namespace table {
// The words of private_api.def.
inline constexpr bool required = true, optional = false;
constexpr char sign_of(const char* sign) { return sign[0]; }

inline constexpr TableRow kRows[] = {
#define MILANE_CLASS(name, need) {#name, 0, "", "", need, "", "", ""},
#define MILANE_METHOD(name, sign, selector, encoding, need, seen, users, absent) \
  {#name, sign_of(#sign), selector, encoding, need, seen, users, absent},
#include "apple/private_api.def"
#undef MILANE_CLASS
#undef MILANE_METHOD
};
}  // namespace table

// The row for a report, as of a system that has nothing.
inline ApiRow report_row(const TableRow& row) {
  ApiRow out;
  out.cls = row.cls;
  if (row.sign) out.selector = row.sign + std::string(row.selector);
  out.encoding = row.encoding;
  out.required = row.required;
  out.seen = row.seen;
  out.users = row.users;
  out.absent = row.absent;
  return out;
}

}  // namespace milane::apple

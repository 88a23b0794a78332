#include "mil/schema.h"

#include <algorithm>
#include <array>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <unordered_map>

#include "mil/rules.h"

namespace milane::mil {
namespace {

struct Row {
  std::string_view name, since, signature;
  HostSupport host;
  InferFn rule;
};

constexpr HostSupport host_function = HostSupport::kFunction;
constexpr HostSupport host_elementwise = HostSupport::kElementwise;
constexpr HostSupport host_view = HostSupport::kView;
constexpr HostSupport host_plan = HostSupport::kPlan;
constexpr HostSupport host_none = HostSupport::kNone;

constexpr Row kRows[] = {
#define MILANE_OP(name, since, host, rule, signature) \
  {#name, #since, signature, host_##host, &rule_##rule},
#include "mil/ops.def"
#undef MILANE_OP
};

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    if (const auto part = trim(text.substr(0, end)); !part.empty()) parts.push_back(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// A fault in ops.def itself: found by the first test that runs.
[[noreturn]] void bad_row(const Row& row, std::string_view part) {
  throw std::logic_error("ops.def: " + std::string(row.name) + ": cannot read `" +
                         std::string(part) + "`");
}

std::vector<DType> every_dtype() {
  std::vector<DType> all;
  for (int i = 0; i < kDTypeCount; ++i) all.push_back(static_cast<DType>(i));
  return all;
}

bool allows(const ArgSchema& arg, DType dtype) {
  return std::find(arg.dtypes.begin(), arg.dtypes.end(), dtype) != arg.dtypes.end();
}

// A whole number is int32 where that is allowed, one with a point fp32, as coremltools makes them.
Value default_value(const Row& row, const ArgSchema& arg, std::string_view text) {
  if (text == "true" || text == "false") return Value::boolean(text == "true");
  if (text.front() == '"') return Value::string(std::string(text.substr(1, text.size() - 2)));
  std::istringstream stream{std::string(text)};
  stream.imbue(std::locale::classic());
  double number = 0;
  if (!(stream >> number) || !stream.eof()) bad_row(row, text);
  const bool whole = text.find_first_of(".e") == std::string_view::npos;
  const DType usual = whole ? DType::kInt32 : DType::kFp32;
  return Value::scalar(allows(arg, usual) ? usual : arg.dtypes.front(), number);
}

bool is_domain(std::string_view word) {
  return word.size() == 1 && word[0] >= 'A' && word[0] <= 'Z';
}

// `name: [words...] [= default] [@opset]`; the domains' element types come in later.
ArgSchema parse_argument(const Row& row, std::string_view text, std::string_view* fallback) {
  ArgSchema arg;
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) bad_row(row, text);
  arg.name = trim(text.substr(0, colon));
  auto rest = text.substr(colon + 1);
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    arg.since = trim(rest.substr(at + 1));
    rest = rest.substr(0, at);
  }
  if (const auto equals = rest.find('='); equals != std::string_view::npos) {
    *fallback = trim(rest.substr(equals + 1));
    arg.optional = true;
    rest = rest.substr(0, equals);
  }
  for (const auto word : split(rest, ' ')) {
    if (word == "const")
      arg.constant = true;
    else if (word == "?")
      arg.optional = true;
    else if (word == "tuple")
      arg.variadic = true;
    else if (word == "state")
      arg.kind = Type::Kind::kState;
    else if (word == "list")
      arg.kind = Type::Kind::kList;
    else if (word == "buffer")
      arg.kind = Type::Kind::kTensorBuffer;
    else if (word == "any")
      arg.dtypes = every_dtype();
    else if (word == "anything")
      arg.dtypes = every_dtype(), arg.any_kind = true;
    else if (is_domain(word))
      arg.domain = word[0];
    else if (const auto dtype = dtype_from_name(word))
      arg.dtypes.push_back(*dtype);
    else
      bad_row(row, text);
  }
  arg.is_state = arg.kind == Type::Kind::kState;
  return arg;
}

OpSchema parse_row(const Row& row) {
  OpSchema schema{row.name, row.since, {}, row.rule, row.host, false};
  std::array<std::vector<DType>, 26> domains;
  std::vector<std::string_view> fallbacks;
  for (const auto part : split(row.signature, ';')) {
    if (part == "...") {
      schema.open = true;
    } else if (part.size() > 1 && part[1] == ':' && is_domain(part.substr(0, 1))) {
      for (const auto word : split(part.substr(2), ' ')) {
        const auto dtype = dtype_from_name(word);
        if (!dtype) bad_row(row, part);
        domains[static_cast<std::size_t>(part[0] - 'A')].push_back(*dtype);
      }
    } else {
      fallbacks.emplace_back();
      schema.args.push_back(parse_argument(row, part, &fallbacks.back()));
    }
  }
  for (std::size_t i = 0; i < schema.args.size(); ++i) {
    auto& arg = schema.args[i];
    if (arg.domain) arg.dtypes = domains[static_cast<std::size_t>(arg.domain - 'A')];
    if (arg.dtypes.empty()) bad_row(row, arg.name);
    if (!fallbacks[i].empty()) arg.fallback = default_value(row, arg, fallbacks[i]);
  }
  return schema;
}

struct Table {
  std::vector<OpSchema> ops;
  std::unordered_map<std::string_view, const OpSchema*> by_name;

  Table() {
    ops.reserve(std::size(kRows));
    for (const auto& row : kRows) ops.push_back(parse_row(row));
    for (const auto& op : ops) by_name.emplace(op.name, &op);
  }
};

const Table& table() {
  static const Table instance;
  return instance;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

const ArgSchema* OpSchema::arg(std::string_view wanted) const {
  for (const auto& a : args) {
    if (a.name == wanted) return &a;
  }
  return nullptr;
}

std::span<const OpSchema> all_ops() { return table().ops; }

const OpSchema* find_op(std::string_view name) {
  const auto found = table().by_name.find(name);
  return found == table().by_name.end() ? nullptr : found->second;
}

std::string_view nearest_op(std::string_view name) {
  std::vector<std::string_view> names;
  for (const auto& op : all_ops()) names.push_back(op.name);
  return nearest_name(name, names);
}

std::string_view nearest_name(std::string_view name, std::span<const std::string_view> known) {
  std::string_view best;
  // Further than a third of the word is another word, not a slip; so is a new single letter.
  const auto slips = name.size() <= 3 ? std::size_t{1} : std::max<std::size_t>(2, name.size() / 3);
  std::size_t least = std::min(slips + 1, name.size());
  for (const auto candidate : known) {
    const auto longer = std::max(candidate.size(), name.size());
    if (longer - std::min(candidate.size(), name.size()) >= least) continue;
    if (const auto distance = edit_distance(name, candidate); distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace milane::mil

#include "mil/parser.h"

#include <algorithm>

#include "mil/value_parser.h"

namespace milane::mil {
namespace {

class Parser : public ValueParser {
 public:
  using ValueParser::ValueParser;

  void program(Program& program);

 private:
  std::vector<Attribute> attributes();
  void argument(Operation& op, SeenNames& seen);
  Operand operand();
  [[noreturn]] void untyped(std::string_view name);
  void call(Operation& op);
  OperationPtr statement();
  void block(Block& block, bool nested);
  NamedType named_type();
  FunctionPtr function();
};

// Reached where a value needs its type: `axes = [0, 2, 3]`. Shows the typed form.
void Parser::untyped(std::string_view name) {
  const auto text = lex_.rest();
  const char c = text.empty() ? '\0' : text.front();
  const auto dtype_of = [](std::string_view item) -> std::string {
    const auto first = item.find_first_not_of(" \t");
    item = first == std::string_view::npos ? std::string_view{} : item.substr(first);
    if (item.starts_with('"')) return "string";
    if (item.starts_with("true") || item.starts_with("false")) return "bool";
    const bool whole = item.substr(0, 2) != "0x" && item.find_first_of(".eEpPin") == item.npos;
    return whole ? "int32" : "fp16";
  };
  const std::string start = "write " + std::string(name) + " = ";
  std::string hint = "a literal is written with its type, such as tensor<int32, [2]>([0, 1])";
  constexpr std::size_t kShort = 80;
  if (c == '[') {
    const auto close = text.find(']');
    const auto inner = text.substr(1, close == text.npos ? 0 : close - 1);
    if (!inner.empty() && inner.size() <= kShort && inner.find_first_of("[\n\"") == inner.npos) {
      const auto n = std::count(inner.begin(), inner.end(), ',') + 1;
      hint = start + "tensor<" + dtype_of(inner) + ", [" + std::to_string(n) + "]>([" +
             std::string(inner) + "])";
    }
  } else if (c != '{') {
    auto item = text.substr(0, c == '"' ? text.find('"', 1) : text.find_first_of(",)] \n;"));
    if (c == '"') item = text.substr(0, item.size() + 1);
    if (item.size() <= kShort) hint = start + dtype_of(item) + "(" + std::string(item) + ")";
  }
  lex_.fail_expected("a name or a typed value", hint);
}

std::vector<Attribute> Parser::attributes() {
  std::vector<Attribute> result;
  SeenNames seen;
  lex_.expect('[');
  result.reserve(2);  // name, val
  list(']', [&] {
    const Location at = lex_.here();
    const auto name = lex_.identifier("an attribute name");
    if (!seen.insert(name)) {
      lex_.fail(at, "expected each attribute once, got '" + std::string(name) + "' again");
    }
    lex_.expect('=', "attributes are written name = value");
    const auto word = lex_.peek_identifier();
    if (word.empty() || word == "true" || word == "false") untyped(name);
    result.push_back({std::string(name), value()});
  });
  return result;
}

Operand Parser::operand() {
  Operand result;
  result.location = lex_.here();
  const auto name = lex_.identifier("a name or a typed value");
  const char next = lex_.peek();
  if (next == '(' || next == '<') {
    Type type = type_named(name, result.location);
    result.value = std::make_shared<Value>(value_of(std::move(type), result.location));
  } else {
    result.name = name;
  }
  return result;
}

void Parser::argument(Operation& op, SeenNames& seen) {
  auto& result = op.arguments.emplace_back();
  result.location = lex_.here();
  const auto name = lex_.identifier("an argument name");
  result.name = name;
  if (lex_.peek() != '=') {
    const bool word = lex_.peek() == ')' || lex_.peek() == ',';
    const std::string given(name);
    lex_.fail_expected("'='", "arguments are named: write " + op.type +
                                  (word ? "(x = " + given + ")" : "(x = " + given + "(...))"));
  }
  lex_.accept('=');
  if (!seen.insert(name)) {
    lex_.fail(result.location,
              "expected each argument once, got '" + std::string(name) + "' again");
  }
  const auto one = [&] {
    const auto word = lex_.peek_identifier();
    if (lex_.peek() == '(') lex_.fail_expected("a name or a typed value", "tuples do not nest");
    if (word.empty() || word == "true" || word == "false") untyped(result.name);
    result.operands.push_back(operand());
  };
  if (lex_.peek() == '(') {
    lex_.accept('(');
    result.is_tuple = true;
    list(')', one);
  } else {
    one();
  }
}

// From the opset or the bracket behind the operation's name to the end of the nested blocks.
void Parser::call(Operation& op) {
  if (lex_.accept('<')) {
    op.opset = lex_.identifier("an opset such as ios18");
    lex_.expect('>');
  }
  lex_.expect('(');
  if (lex_.peek() != ')') op.arguments.reserve(4);
  SeenNames seen;
  list(')', [&] { argument(op, seen); });
  if (lex_.peek() == '[') op.attributes = attributes();
  while (lex_.peek() == '(') {
    const Level level(*this);
    op.blocks.push_back(std::make_shared<Block>());
    block(*op.blocks.back(), true);
  }
  lex_.expect(';');
}

NamedType Parser::named_type() {
  NamedType result;
  result.type = type();
  result.location = lex_.here();
  result.name = lex_.identifier("a value name");
  return result;
}

OperationPtr Parser::statement() {
  auto op = std::make_shared<Operation>();
  const Location at = lex_.here();
  const auto word = lex_.identifier("a statement or '}'");
  const char next = lex_.peek();
  if (next == '(' || (next == '<' && !is_type_keyword(word))) {  // a call without results
    op->type = word;
    op->location = at;
    call(*op);
    return op;
  }
  auto& first = op->outputs.emplace_back();
  first.type = type_named(word, at);
  first.location = lex_.here();
  first.name = lex_.identifier("a value name");
  while (lex_.accept(',')) op->outputs.push_back(named_type());
  lex_.expect('=');
  op->location = lex_.here();
  op->type = lex_.identifier("an operation");
  call(*op);
  return op;
}

// `(inputs) { statements } -> (outputs)`: of a function, or of a nested region.
void Parser::block(Block& block, bool nested) {
  if (nested) {
    lex_.expect('(');
    list(')', [&] { block.inputs.push_back(named_type()); });
  }
  lex_.expect('{');
  while (!lex_.accept('}')) block.operations.push_back(statement());
  lex_.expect_arrow();
  lex_.expect('(');
  list(')', [&] {
    Operand output;
    output.location = lex_.here();
    output.name = lex_.identifier("a value name");
    block.outputs.push_back(std::move(output));
  });
}

FunctionPtr Parser::function() {
  auto result = std::make_shared<Function>();
  if (lex_.peek_identifier() != "func") lex_.fail_expected("'func' or '}'");
  lex_.identifier("func");
  result->location = lex_.here();
  result->name = lex_.identifier("a function name");
  lex_.expect('<', "a function names its opset: func main<ios18>(...)");
  result->opset = lex_.identifier("an opset such as ios18");
  lex_.expect('>');
  lex_.expect('(');
  list(')', [&] { result->body.inputs.push_back(named_type()); });
  if (lex_.peek() == '[') result->attributes = attributes();
  block(result->body, false);
  lex_.expect(';');
  return result;
}

void Parser::program(Program& program) {
  if (lex_.peek_identifier() != "program") lex_.fail_expected("'program'");
  lex_.identifier("program");
  lex_.expect('(');
  program.version = lex_.version();
  lex_.expect(')');
  if (lex_.peek() == '[') program.attributes = attributes();
  lex_.expect('{');
  while (!lex_.accept('}')) program.functions.push_back(function());
  end("the program");
}

const std::string kFragmentName = "<text>";

}  // namespace

ProgramPtr parse(std::string_view text, std::string source_name) {
  auto program = std::make_shared<Program>();
  program->source = text;
  program->source_name = std::move(source_name);
  Parser(program->source, program->source_name).program(*program);
  return program;
}

Type parse_type(std::string_view text) {
  const std::string source(text);
  ValueParser parser(source, kFragmentName);
  Type type = parser.type();
  parser.end("the type");
  return type;
}

Value parse_value(std::string_view text) {
  const std::string source(text);
  ValueParser parser(source, kFragmentName);
  Value value = parser.value();
  parser.end("the value");
  return value;
}

}  // namespace milane::mil

#include "apple/private_api.h"

#import <objc/runtime.h>

#include <dlfcn.h>

#include <cctype>
#include <string_view>

#include "apple/objc.h"
#include "apple/private_table.h"

namespace milane::apple {
namespace {

constexpr const char* kPath =
    "/System/Library/PrivateFrameworks/AppleNeuralEngine.framework/AppleNeuralEngine";

// Never closed: its classes stay registered, so closing could only break things.
void* framework_handle(std::string* error) {
  void* handle = dlopen(kPath, RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* why = dlerror();
    *error = why ? why : "dlopen failed";
  }
  return handle;
}

Method find_method(Class cls, const TableRow& row) {
  const SEL selector = sel_registerName(row.selector);
  return row.sign == '+' ? class_getClassMethod(cls, selector)
                         : class_getInstanceMethod(cls, selector);
}

// Types without frame offsets, qualifiers and class names, every spelling of BOOL as B: what is
// left is comparable between processors and runtimes.
std::string plain_encoding(std::string_view types) {
  std::string plain;
  int structure = 0;
  for (std::size_t i = 0; i < types.size(); ++i) {
    const char c = types[i];
    if (c == '"') {
      i = types.find('"', i + 1);
      continue;
    }
    structure += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (structure == 0 && (std::isdigit(static_cast<unsigned char>(c)) || c == '+')) continue;
    if (structure == 0 && std::string_view("rnNoORV").find(c) != std::string_view::npos) continue;
    plain += structure == 0 && (c == 'c' || c == 'C') ? 'B' : c;
  }
  return plain;
}

// Alike, where a 64-bit long may be written as long or long long, and a structure with or without
// its fields.
bool same_encoding(std::string_view expected, std::string_view found) {
  const auto canonical = [](std::string_view types) {
    std::string s = plain_encoding(types);
    for (char& c : s) c = c == 'l' ? 'q' : c == 'L' ? 'Q' : c;
    for (std::size_t open = 0; (open = s.find('=', open)) != std::string::npos;) {
      s.erase(open, s.find('}', open) - open);
    }
    return s;
  };
  return canonical(expected) == canonical(found);
}

ApiRow inspect(const TableRow& row) {
  ApiRow out = report_row(row);
  const Class cls = NSClassFromString(ns(row.cls));
  if (!row.sign) {
    out.present = out.matches = cls != nil;
    return out;
  }
  const Method method = cls ? find_method(cls, row) : nullptr;
  if (!method) return out;
  const char* types = method_getTypeEncoding(method);
  out.present = true;
  out.found = plain_encoding(types ? types : "");
  out.matches = same_encoding(row.encoding, out.found);
  return out;
}

}  // namespace

bool answers(id object, SEL selector) { return object && [object respondsToSelector:selector]; }

bool instances_answer(const char* cls, SEL selector) {
  const Class found = NSClassFromString(ns(cls));
  return found && class_getInstanceMethod(found, selector);
}

NSString* framework_constant(const char* symbol) {
  std::string error;
  void* handle = framework_handle(&error);
  auto* const* value = handle ? static_cast<NSString* const*>(dlsym(handle, symbol)) : nullptr;
  return value ? *value : ns(symbol);
}

void throw_missing(const char* cls, const char* selector) {
  std::string absent;
  for (const TableRow& row : table::kRows) {
    if (row.sign && std::string_view(row.cls) == cls && std::string_view(row.selector) == selector)
      absent = row.absent;
  }
  throw Error(ErrorCode::kSelector,
              "framework: expected " + std::string(cls) + " to answer " + selector +
                  ", got a system that lacks it",
              absent + "; `milane doctor` lists what this system has")
      .during("framework");
}

bool open_framework(Framework* framework, std::string* why) {
  std::string error;
  if (!framework_handle(&error)) {
    *why = "the AppleNeuralEngine framework cannot be opened: " + error;
    return false;
  }
  for (const TableRow& row : table::kRows) {
    if (!row.required || inspect(row).present) continue;
    *why = "the AppleNeuralEngine framework of this system lacks " + std::string(row.cls) +
           (row.sign ? " " + (row.sign + std::string(row.selector)) : "");
    return false;
  }
  framework->descriptor = NSClassFromString(@"_ANEInMemoryModelDescriptor");
  framework->memory_model = NSClassFromString(@"_ANEInMemoryModel");
  framework->model = NSClassFromString(@"_ANEModel");
  framework->client = NSClassFromString(@"_ANEClient");
  framework->request = NSClassFromString(@"_ANERequest");
  framework->surface = NSClassFromString(@"_ANEIOSurfaceObject");
  framework->stats = NSClassFromString(@"_ANEPerformanceStats");
  framework->signal_event = NSClassFromString(@"_ANESharedSignalEvent");
  framework->wait_event = NSClassFromString(@"_ANESharedWaitEvent");
  framework->events = NSClassFromString(@"_ANESharedEvents");
  framework->device_info = NSClassFromString(@"_ANEDeviceInfo");
  return true;
}

FrameworkReport inspect_framework() {
  FrameworkReport report;
  report.path = kPath;
  if (!framework_handle(&report.error)) return report;
  objc("framework", [&] {
    for (const TableRow& row : table::kRows) report.rows.push_back(inspect(row));
  });
  return report;
}

}  // namespace milane::apple

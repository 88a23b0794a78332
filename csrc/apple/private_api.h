// The private framework: opened, looked up, compared with the table.
#pragma once

#import "apple/private_classes.h"

#include <string>

#include "apple/apple.h"

namespace milane::apple {

// The classes in use. Optional ones are nil where the system lacks them.
struct Framework {
  Class<ANEInMemoryModelDescriptor> descriptor;
  Class<ANEInMemoryModel> memory_model;
  Class<ANEModel> model;
  Class<ANEClient> client;
  Class<ANERequest> request;
  Class<ANEIOSurfaceObject> surface;
  Class<ANEPerformanceStats> stats;
  Class<ANESharedSignalEvent> signal_event;
  Class<ANESharedWaitEvent> wait_event;
  Class<ANESharedEvents> events;
  Class<ANEDeviceInfo> device_info;
};

// Opens the framework, never to close it, and finds its classes. Every call looks anew. False with
// the reason when a required class or selector is missing. Inside objc().
bool open_framework(Framework* framework, std::string* why);

// Whether an object or class answers a selector; false for nil.
bool answers(id object, SEL selector);
// Whether instances of a class would; `cls` is its name.
bool instances_answer(const char* cls, SEL selector);
// The value behind an exported NSString constant of the framework: its name where the symbol is
// missing, since most are their own names (ane_facts B.8).
NSString* framework_constant(const char* symbol);

// Throws kSelector with the class, the selector and what is lost without it (private_api.def).
[[noreturn]] void throw_missing(const char* cls, const char* selector);

}  // namespace milane::apple

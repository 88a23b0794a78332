// Look-ups of classes, methods and symbols, as prefix.h gives them to the product; and what faults
// take away from them.
#import "emulated/shims/object.h"
#import "emulated/shims/send.h"

#include <limits.h>
#include <objc/message.h>
#include <objc/runtime.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// A method out of reach from outside, for as long as the fault lasts.
typedef struct {
  Class owner;
  Method method;
  IMP implementation;
} Taken;

static pthread_mutex_t taken_lock = PTHREAD_MUTEX_INITIALIZER;
static Taken taken[256];
static size_t taken_count;

// "selector" or "_ANEClient.selector", of a class or of instances.
BOOL milane_selector_missing(Class cls, SEL selector) {
  const char* name = sel_getName(selector);
  if (milane_fault_names(kMissingSelector, name)) return YES;
  char full[512];
  snprintf(full, sizeof full, "%s.%s", class_getName(cls), name);
  return milane_fault_names(kMissingSelector, full);
}

// The emulation's own code goes on using what it took away from others. milane_emulated_send()
// speaks for others.
static bool inside(const void* caller) {
  Dl_info here, there;
  if (dladdr(caller, &there) == 0 || dladdr((void*)&inside, &here) == 0) return false;
  if (there.dli_saddr == (void*)&milane_emulated_send) return false;
  return there.dli_fbase == here.dli_fbase || strstr(there.dli_fname, "AppleNeuralEngine.so");
}

static IMP original(id receiver, SEL selector) {
  IMP found = NULL;
  pthread_mutex_lock(&taken_lock);
  for (Class c = object_getClass(receiver); c != Nil && found == NULL; c = class_getSuperclass(c)) {
    for (size_t i = 0; i < taken_count; ++i) {
      if (taken[i].owner != c || !sel_isEqual(method_getName(taken[i].method), selector)) continue;
      found = taken[i].implementation;
    }
  }
  pthread_mutex_unlock(&taken_lock);
  return found;
}

// Stands in for every missing method: raises as an unknown one does. Nine integer arguments are
// more than any has; those that it does not have are passed on unread.
__attribute__((no_sanitize("function"))) static intptr_t stand_in(id self, SEL selector, intptr_t a,
                                                                  intptr_t b, intptr_t c,
                                                                  intptr_t d, intptr_t e,
                                                                  intptr_t f, intptr_t g,
                                                                  intptr_t h, intptr_t i) {
  if (inside(__builtin_return_address(0))) {
    const IMP found = original(self, selector);
    const IMP method = found != NULL ? found : objc_msg_lookup(self, selector);
    return ((MilaneMethod)(void (*)(void))method)(self, selector, a, b, c, d, e, f, g, h, i);
  }
  [self doesNotRecognizeSelector:selector];
  return 0;
}

static void take_away(Class named, Class owner) {
  unsigned int count = 0;
  Method* methods = class_copyMethodList(owner, &count);
  for (unsigned int i = 0; i < count && taken_count < sizeof taken / sizeof *taken; ++i) {
    if (!milane_selector_missing(named, method_getName(methods[i]))) continue;
    const IMP raising = (IMP)(void (*)(void))stand_in;
    taken[taken_count++] =
        (Taken){owner, methods[i], method_setImplementation(methods[i], raising)};
  }
  free(methods);
}

void milane_missing_selectors_changed(void) {
  pthread_mutex_lock(&taken_lock);
  while (taken_count > 0) {
    const Taken last = taken[--taken_count];
    method_setImplementation(last.method, last.implementation);
  }
  if (milane_fault_number(kMissingSelector, 0, 1) != 0) {
    const int all = objc_getClassList(NULL, 0);
    Class* classes = calloc((size_t)all, sizeof *classes);
    const int count = objc_getClassList(classes, all);
    for (int i = 0; i < count && i < all; ++i) {
      Class above = classes[i];
      while (above != Nil && above != [MilaneEmulated class]) above = class_getSuperclass(above);
      if (above == Nil) continue;
      take_away(classes[i], classes[i]);
      take_away(classes[i], object_getClass((id)classes[i]));
    }
    free(classes);
  }
  pthread_mutex_unlock(&taken_lock);
}

Class milane_emulated_class(const char* name) {
  return milane_fault_names(kMissingClass, name) ? Nil : (Class)objc_getClass(name);
}

Class milane_emulated_class_named(NSString* name) {
  return milane_emulated_class([name UTF8String]);
}

Method milane_emulated_instance_method(Class cls, SEL selector) {
  if (cls == Nil || milane_selector_missing(cls, selector)) return NULL;
  return class_getInstanceMethod(cls, selector);
}

Method milane_emulated_class_method(Class cls, SEL selector) {
  if (cls == Nil || milane_selector_missing(cls, selector)) return NULL;
  return class_getClassMethod(cls, selector);
}

Method* milane_emulated_copy_methods(Class cls, unsigned int* count) {
  unsigned int all = 0, kept = 0;
  Method* methods = class_copyMethodList(cls, &all);
  for (unsigned int i = 0; i < all; ++i) {
    if (milane_selector_missing(cls, method_getName(methods[i]))) continue;
    methods[kept++] = methods[i];
  }
  if (methods != NULL) methods[kept] = NULL;
  if (count != NULL) *count = kept;
  return methods;
}

void* milane_emulated_dlopen(const char* path, int mode) {
  if (path == NULL || strncmp(path, "/System/Library/", 16) != 0) return dlopen(path, mode);
  if (milane_fault_occurs(kMissingFramework, path)) {
    dlopen("/nonexistent/framework", mode);  // for its dlerror
    return NULL;
  }
  // Only one of the frameworks is a file of its own; the others are in here.
  Dl_info here;
  if (dladdr((void*)&milane_emulated_dlopen, &here) == 0) return NULL;
  const char* slash = strrchr(here.dli_fname, '/');
  const char* file = here.dli_fname;
  char beside[PATH_MAX];
  if (strcmp(strrchr(path, '/') + 1, "AppleNeuralEngine") == 0) {
    const int folder = slash == NULL ? 0 : (int)(slash + 1 - here.dli_fname);
    snprintf(beside, sizeof beside, "%.*sAppleNeuralEngine.so", folder, here.dli_fname);
    file = beside;
  }
  return dlopen(file, mode);
}

void* milane_emulated_dlsym(void* handle, const char* name) {
  return milane_fault_names(kMissingSymbol, name) ? NULL : dlsym(handle, name);
}

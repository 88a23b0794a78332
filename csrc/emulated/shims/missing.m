// Look-ups of classes, methods and symbols, as prefix.h gives them to the product; and what faults
// take away from them.
#import "emulated/shims/object.h"

#include <limits.h>
#include <objc/runtime.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// A method whose implementation is out of reach for a while.
typedef struct {
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

static id unknown_selector(id self, SEL selector) {
  [self doesNotRecognizeSelector:selector];
  return nil;
}

static void take_away(Class named, Class owner) {
  unsigned int count = 0;
  Method* methods = class_copyMethodList(owner, &count);
  for (unsigned int i = 0; i < count && taken_count < sizeof taken / sizeof *taken; ++i) {
    if (!milane_selector_missing(named, method_getName(methods[i]))) continue;
    const IMP old = method_setImplementation(methods[i], (IMP)unknown_selector);
    taken[taken_count++] = (Taken){methods[i], old};
  }
  free(methods);
}

// A call of a missing selector raises as for any unknown one: its implementation is swapped.
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

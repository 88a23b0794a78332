// Included before everything else in csrc/apple and in the emulation, so that the product's source
// needs no word about either. On a Mac nothing of this exists.
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1  // dladdr; C++ has it already
#endif
#include <dlfcn.h>

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif
// A system path becomes the file of the same name beside the shims.
void* milane_emulated_dlopen(const char* path, int mode);
void* milane_emulated_dlsym(void* handle, const char* name);
#ifdef __cplusplus
}
#endif

#ifdef __OBJC__
#include <objc/objc.h>
#include <objc/runtime.h>
// GCC's libobjc defines YES as (BOOL)1, which breaks the literal @YES.
#undef YES
#undef NO
#define YES __objc_yes
#define NO __objc_no

#import <Foundation/Foundation.h>
#ifdef __cplusplus
extern "C" {
#endif
// The same look-ups, which know the faults missing.class and missing.selector.
Class milane_emulated_class_named(NSString* name);
Class milane_emulated_class(const char* name);
Method milane_emulated_instance_method(Class cls, SEL selector);
Method milane_emulated_class_method(Class cls, SEL selector);
Method* milane_emulated_copy_methods(Class cls, unsigned int* count);
#ifdef __cplusplus
}
#endif
#endif
#pragma GCC visibility pop

#ifndef MILANE_EMULATION  // the emulation itself means the real ones
#define dlopen(path, mode) milane_emulated_dlopen(path, mode)
#define dlsym(handle, name) milane_emulated_dlsym(handle, name)
#ifdef __OBJC__
#define NSClassFromString(name) milane_emulated_class_named(name)
#define objc_getClass(name) milane_emulated_class(name)
#define objc_lookUpClass(name) milane_emulated_class(name)
#define class_getInstanceMethod(cls, selector) milane_emulated_instance_method(cls, selector)
#define class_getClassMethod(cls, selector) milane_emulated_class_method(cls, selector)
#define class_copyMethodList(cls, count) milane_emulated_copy_methods(cls, count)
#endif
#endif

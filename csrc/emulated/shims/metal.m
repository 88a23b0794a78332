// A Metal device that has memory and events, and no GPU.
#import "emulated/shims/object.h"

#import <Metal/Metal.h>

#include <objc/runtime.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "emulated/shims/event.h"

typedef void (^Deallocator)(void* pointer, NSUInteger length);

@interface MilaneMetalBuffer : MilaneEmulated <MTLBuffer> {
 @public
  id<MTLDevice> _device;
  void* _contents;
  NSUInteger _length;
  Deallocator _deallocator;
  BOOL _owned;
}
@end

@implementation MilaneMetalBuffer

- (void)dealloc {
  if (_deallocator != nil) _deallocator(_contents, _length);
  [(id)_deallocator release];
  if (_owned) free(_contents);
  [_device release];
  [super dealloc];
}

- (id<MTLDevice>)device {
  return _device;
}

- (MTLStorageMode)storageMode {
  return MTLStorageModeShared;
}

- (NSUInteger)length {
  return _length;
}

- (void*)contents {
  return _contents;
}

- (uint64_t)gpuAddress {
  return (uint64_t)(uintptr_t)_contents;
}

@end

@interface MilaneMetalEvent : MilaneEmulated <MTLSharedEvent> {
 @public
  id<MTLDevice> _device;
  MilaneEvent* _event;
}
@end

@implementation MilaneMetalEvent

- (void)dealloc {
  milane_event_release(_event);
  [_device release];
  [super dealloc];
}

- (id<MTLDevice>)device {
  return _device;
}

- (unsigned int)eventPort {
  return milane_event_port(_event);
}

- (uint64_t)signaledValue {
  return milane_event_value(_event);
}

- (void)setSignaledValue:(uint64_t)value {
  MILANE_CALL;
  milane_event_set(_event, value);
}

- (BOOL)waitUntilSignaledValue:(uint64_t)value timeoutMS:(uint64_t)milliseconds {
  MILANE_CALL;
  return milane_event_wait(_event, value, milliseconds);
}

@end

@interface MilaneMetalDevice : MilaneEmulated <MTLDevice>
@end

@implementation MilaneMetalDevice

- (NSString*)name {
  return @"Milane emulated GPU";
}

- (BOOL)hasUnifiedMemory {
  return YES;
}

- (uint64_t)registryID {
  return 0x1000;
}

- (id<MTLBuffer>)bufferWithContents:(void*)contents length:(NSUInteger)length NS_RETURNS_RETAINED {
  MilaneMetalBuffer* buffer = [MilaneMetalBuffer new];
  buffer->_device = [self retain];
  buffer->_contents = contents;
  buffer->_length = length;
  return buffer;
}

- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)length options:(MTLResourceOptions)options {
  MILANE_CALL;
  (void)options;
  if (length == 0 || milane_fault(kNilMetal)) return nil;
  const NSUInteger page = (NSUInteger)getpagesize();
  const NSUInteger rounded = (length + page - 1) / page * page;
  void* memory = aligned_alloc(page, rounded);
  if (memory == NULL) return nil;
  memset(memory, 0, rounded);
  MilaneMetalBuffer* buffer = [self bufferWithContents:memory length:length];
  buffer->_owned = YES;
  return buffer;
}

- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void*)pointer
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(Deallocator)deallocator {
  MILANE_CALL;
  (void)options;
  const NSUInteger page = (NSUInteger)getpagesize();
  const BOOL pages = (uintptr_t)pointer % page == 0 && length % page == 0;
  if (pointer == NULL || length == 0 || !pages || milane_fault(kNilMetal)) return nil;
  MilaneMetalBuffer* buffer = [self bufferWithContents:pointer length:length];
  buffer->_deallocator = [(id)deallocator copy];
  return buffer;
}

- (id<MTLSharedEvent>)eventOf:(MilaneEvent*)event NS_RETURNS_RETAINED {
  if (event == NULL) return nil;
  MilaneMetalEvent* made = [MilaneMetalEvent new];
  made->_device = [self retain];
  made->_event = event;
  return made;
}

- (id<MTLSharedEvent>)newSharedEvent {
  MILANE_CALL;
  return [self eventOf:milane_fault(kNilEvent) ? NULL : milane_event_create()];
}

// Private: the event that somebody else calls `port` (ane_facts A.8).
- (id<MTLSharedEvent>)newSharedEventWithMachPort:(mach_port_t)port {
  MILANE_CALL;
  return [self eventOf:milane_fault(kNilEvent) ? NULL : milane_event_from_port(port)];
}

@end

id<MTLDevice> MTLCreateSystemDefaultDevice(void) {
  return milane_fault(kNilMetal) ? nil : [MilaneMetalDevice new];
}

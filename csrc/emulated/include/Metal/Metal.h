// The few parts of Metal that share memory and events with the engine. Nothing is drawn.
#pragma once

#import <Foundation/Foundation.h>
#include <mach/mach.h>

typedef NSUInteger MTLResourceOptions;
typedef NS_ENUM(NSUInteger, MTLStorageMode) {
  MTLStorageModeShared = 0,
  MTLStorageModeManaged = 1,
  MTLStorageModePrivate = 2,
};
enum {
  MTLResourceCPUCacheModeDefaultCache = 0,
  MTLResourceStorageModeShared = 0 << 4,
  MTLResourceStorageModeManaged = 1 << 4,
  MTLResourceStorageModePrivate = 2 << 4,
};

@protocol MTLDevice;

@protocol MTLResource <NSObject>
- (id<MTLDevice>)device;
- (MTLStorageMode)storageMode;
@end

@protocol MTLBuffer <MTLResource>
- (NSUInteger)length;
- (void*)contents;
- (uint64_t)gpuAddress;
@end

@protocol MTLEvent <NSObject>
- (id<MTLDevice>)device;
@end

@protocol MTLSharedEvent <MTLEvent>
- (uint64_t)signaledValue;
- (void)setSignaledValue:(uint64_t)value;
- (BOOL)waitUntilSignaledValue:(uint64_t)value timeoutMS:(uint64_t)milliseconds;
@end

@protocol MTLDevice <NSObject>
- (NSString*)name;
- (BOOL)hasUnifiedMemory;
- (uint64_t)registryID;
- (id<MTLBuffer>)newBufferWithLength:(NSUInteger)length options:(MTLResourceOptions)options;
// nil unless pointer and length are whole pages. `deallocator` runs when the buffer goes.
- (id<MTLBuffer>)newBufferWithBytesNoCopy:(void*)pointer
                                   length:(NSUInteger)length
                                  options:(MTLResourceOptions)options
                              deallocator:(void (^)(void* pointer, NSUInteger length))deallocator;
- (id<MTLSharedEvent>)newSharedEvent;
@end

#pragma GCC visibility push(default)
#ifdef __cplusplus
extern "C" {
#endif
// +1, and NULL with the fault nil.metal.
id<MTLDevice> MTLCreateSystemDefaultDevice(void);
#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop

// Hand-written subset of Metal for the cross check: only what csrc/apple uses.
#pragma once

#include <Foundation/Foundation.h>

#define MTL_EXTERN OBJC_EXPORT

NS_ASSUME_NONNULL_BEGIN

@protocol MTLDevice;

typedef NS_OPTIONS(NSUInteger, MTLResourceOptions) {
  MTLResourceStorageModeShared = 0 << 4,
} API_AVAILABLE(macos(10.11));

API_AVAILABLE(macos(10.11))
@protocol MTLResource <NSObject>
@end

API_AVAILABLE(macos(10.11))
@protocol MTLBuffer <MTLResource>
@property(readonly) NSUInteger length;
- (void *)contents NS_RETURNS_INNER_POINTER;
@end

API_AVAILABLE(macos(10.14))
@protocol MTLEvent <NSObject>
@end

API_AVAILABLE(macos(10.14))
@protocol MTLSharedEvent <MTLEvent>
@property(readwrite) uint64_t signaledValue;
@end

API_AVAILABLE(macos(10.11))
@protocol MTLDevice <NSObject>
@property(nonnull, readonly) NSString *name;
- (nullable id<MTLBuffer>)newBufferWithBytesNoCopy:(void *)pointer
                                            length:(NSUInteger)length
                                           options:(MTLResourceOptions)options
                                       deallocator:(void (^_Nullable)(void *pointer,
                                                                      NSUInteger length))deallocator;
@end

MTL_EXTERN id<MTLDevice> _Nullable MTLCreateSystemDefaultDevice(void)
    NS_RETURNS_RETAINED API_AVAILABLE(macos(10.11));

NS_ASSUME_NONNULL_END

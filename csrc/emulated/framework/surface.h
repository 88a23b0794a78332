// Records about IOSurfaces (ane_facts A.6).
#pragma once

#import <IOSurface/IOSurface.h>

#import "emulated/framework/errors.h"

@interface _ANEIOSurfaceObject : MilaneEmulated {
 @private
  IOSurfaceRef _surface;
  NSNumber* _startOffset;
  BOOL _retained;
}
+ (id)objectWithIOSurface:(IOSurfaceRef)surface;
+ (id)objectWithIOSurface:(IOSurfaceRef)surface startOffset:(NSNumber*)offset;
+ (id)objectWithIOSurfaceNoRetain:(IOSurfaceRef)surface startOffset:(NSNumber*)offset;
+ (IOSurfaceRef)createIOSurfaceWithWidth:(int)width pixel_size:(int)size height:(int)height;
+ (IOSurfaceRef)createIOSurfaceWithWidth:(int)width
                              pixel_size:(int)size
                                  height:(int)height
                         bytesPerElement:(int)element;
- (IOSurfaceRef)ioSurface;
- (NSNumber*)startOffset;
@end

@interface _ANEBuffer : MilaneEmulated {
 @private
  _ANEIOSurfaceObject* _object;
  NSNumber* _symbolIndex;
  long long _source;
}
+ (id)bufferWithIOSurfaceObject:(_ANEIOSurfaceObject*)object
                    symbolIndex:(NSNumber*)symbolIndex
                         source:(long long)source;
- (_ANEIOSurfaceObject*)ioSurfaceObject;
- (NSNumber*)symbolIndex;
- (long long)source;
@end

@interface _ANEIOSurfaceOutputSets : MilaneEmulated {
 @private
  NSArray* _outputBuffer;
}
+ (id)objectWithstatsSurRef:(IOSurfaceRef)statsSurface outputBuffer:(NSArray*)outputBuffer;
- (NSArray*)outputBuffer;
@end

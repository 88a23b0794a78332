#import "emulated/framework/surface.h"

@implementation _ANEIOSurfaceObject

- (id)initWithIOSurface:(IOSurfaceRef)surface
            startOffset:(NSNumber*)offset
           shouldRetain:(BOOL)retain {
  self = [super init];
  if (self == nil) return nil;
  _retained = retain && surface != NULL;
  _surface = _retained ? (IOSurfaceRef)CFRetain(surface) : surface;
  _startOffset = [offset copy];
  return self;
}

- (void)dealloc {
  if (_retained && milane_fault(kSeedOverRelease)) CFRelease(_surface);
  if (_retained) CFRelease(_surface);
  [_startOffset release];
  [super dealloc];
}

+ (id)objectWithSurface:(IOSurfaceRef)surface offset:(NSNumber*)offset retained:(BOOL)retained {
  milane_raise_if(kExceptionSurface, "_ANEIOSurfaceObject");
  if (surface == NULL || milane_fault(kNilSurface)) return nil;
  id object = [[self alloc] initWithIOSurface:surface startOffset:offset shouldRetain:retained];
  if (milane_fault(kSeedLeak)) [object retain];
  return [object autorelease];
}

+ (id)objectWithIOSurface:(IOSurfaceRef)surface {
  MILANE_CALL;
  return [self objectWithSurface:surface offset:@0 retained:YES];
}

+ (id)objectWithIOSurface:(IOSurfaceRef)surface startOffset:(NSNumber*)offset {
  MILANE_CALL;
  return [self objectWithSurface:surface offset:offset retained:YES];
}

+ (id)objectWithIOSurfaceNoRetain:(IOSurfaceRef)surface startOffset:(NSNumber*)offset {
  MILANE_CALL;
  return [self objectWithSurface:surface offset:offset retained:NO];
}

+ (IOSurfaceRef)createIOSurfaceWithWidth:(int)width pixel_size:(int)size height:(int)height {
  return [self createIOSurfaceWithWidth:width pixel_size:size height:height bytesPerElement:size];
}

+ (IOSurfaceRef)createIOSurfaceWithWidth:(int)width
                              pixel_size:(int)size
                                  height:(int)height
                         bytesPerElement:(int)element {
  MILANE_CALL;
  NSDictionary* properties = @{
    (id)kIOSurfaceWidth : @(width),
    (id)kIOSurfaceHeight : @(height),
    (id)kIOSurfaceBytesPerElement : @(element),
    (id)kIOSurfaceBytesPerRow : @((width * size + 63) / 64 * 64)
  };
  return IOSurfaceCreate((CFDictionaryRef)properties);
}

- (IOSurfaceRef)ioSurface {
  return _surface;
}

- (NSNumber*)startOffset {
  return _startOffset;
}

@end

@implementation _ANEBuffer

+ (id)bufferWithIOSurfaceObject:(_ANEIOSurfaceObject*)object
                    symbolIndex:(NSNumber*)symbolIndex
                         source:(long long)source {
  MILANE_CALL;
  _ANEBuffer* buffer = [[self new] autorelease];
  buffer->_object = [object retain];
  buffer->_symbolIndex = [symbolIndex copy];
  buffer->_source = source;
  return buffer;
}

- (void)dealloc {
  [_object release];
  [_symbolIndex release];
  [super dealloc];
}

- (_ANEIOSurfaceObject*)ioSurfaceObject {
  return _object;
}

- (NSNumber*)symbolIndex {
  return _symbolIndex;
}

- (long long)source {
  return _source;
}

@end

@implementation _ANEIOSurfaceOutputSets

+ (id)objectWithstatsSurRef:(IOSurfaceRef)statsSurface outputBuffer:(NSArray*)outputBuffer {
  MILANE_CALL;
  (void)statsSurface;
  _ANEIOSurfaceOutputSets* sets = [[self new] autorelease];
  sets->_outputBuffer = [outputBuffer copy];
  return sets;
}

- (void)dealloc {
  [_outputBuffer release];
  [super dealloc];
}

- (NSArray*)outputBuffer {
  return _outputBuffer;
}

@end

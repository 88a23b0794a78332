#import "emulated/framework/request.h"

#include <stdlib.h>

@implementation _ANERequest

// A surface and its symbol, as they are now: moving the surface later changes nothing (B.4).
static MilaneSurface surface_of(id object, id index) {
  milane_expect(object, [_ANEIOSurfaceObject class], "_ANERequest");
  milane_expect(index, [NSNumber class], "_ANERequest");
  const IOSurfaceRef surface = [object ioSurface];
  const size_t all = IOSurfaceGetAllocSize(surface);
  const size_t offset = [[object startOffset] unsignedLongValue];
  const size_t start = offset < all ? offset : all;
  return (MilaneSurface){(char*)IOSurfaceGetBaseAddress(surface) + start, all - start,
                         [index unsignedIntValue]};
}

- (void)fillSurfaces {
  const NSUInteger inputs = [_inputs count], outputs = [_outputs count];
  _surfaces = calloc(inputs + outputs + 1, sizeof *_surfaces);
  _request.inputs = _surfaces;
  _request.outputs = _surfaces + inputs;
  _request.procedure = [_procedureIndex unsignedIntValue];
  if (inputs != [_inputIndices count] || outputs != [_outputIndices count]) return;
  for (NSUInteger i = 0; i < inputs; ++i) {
    _surfaces[i] = surface_of([_inputs objectAtIndex:i], [_inputIndices objectAtIndex:i]);
  }
  for (NSUInteger i = 0; i < outputs; ++i) {
    _surfaces[inputs + i] =
        surface_of([_outputs objectAtIndex:i], [_outputIndices objectAtIndex:i]);
  }
  _request.input_count = inputs;
  _request.output_count = outputs;
}

+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
          weightsBuffer:(id)weightsBuffer
              perfStats:(id)perfStats
         procedureIndex:(NSNumber*)procedureIndex
           sharedEvents:(id)sharedEvents
      transactionHandle:(NSNumber*)transactionHandle {
  MILANE_CALL;
  milane_raise_if(kExceptionRequest, "_ANERequest");
  if (inputs == nil || outputs == nil || milane_fault(kNilRequest)) return nil;
  _ANERequest* made = [[self new] autorelease];
  pthread_mutex_init(&made->_lock, NULL);
  made->_bindings = milane_bindings_create();
  made->_inputs = [inputs copy];
  made->_inputIndices = [inputIndices copy];
  made->_outputs = [outputs copy];
  made->_outputIndices = [outputIndices copy];
  made->_weightsBuffer = [weightsBuffer retain];
  made->_procedureIndex = [procedureIndex copy];
  made->_perfStats = [perfStats retain];
  made->_sharedEvents = [sharedEvents retain];
  made->_transactionHandle = [transactionHandle copy];
  [made fillSurfaces];
  return made;
}

+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
         procedureIndex:(NSNumber*)procedureIndex {
  return [self requestWithInputs:inputs
                    inputIndices:inputIndices
                         outputs:outputs
                   outputIndices:outputIndices
                   weightsBuffer:nil
                       perfStats:nil
                  procedureIndex:procedureIndex];
}

+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
              perfStats:(id)perfStats
         procedureIndex:(NSNumber*)procedureIndex {
  return [self requestWithInputs:inputs
                    inputIndices:inputIndices
                         outputs:outputs
                   outputIndices:outputIndices
                   weightsBuffer:nil
                       perfStats:perfStats
                  procedureIndex:procedureIndex];
}

+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
          weightsBuffer:(id)weightsBuffer
         procedureIndex:(NSNumber*)procedureIndex {
  return [self requestWithInputs:inputs
                    inputIndices:inputIndices
                         outputs:outputs
                   outputIndices:outputIndices
                   weightsBuffer:weightsBuffer
                       perfStats:nil
                  procedureIndex:procedureIndex];
}

+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
          weightsBuffer:(id)weightsBuffer
              perfStats:(id)perfStats
         procedureIndex:(NSNumber*)procedureIndex {
  return [self requestWithInputs:inputs
                    inputIndices:inputIndices
                         outputs:outputs
                   outputIndices:outputIndices
                   weightsBuffer:weightsBuffer
                       perfStats:perfStats
                  procedureIndex:procedureIndex
                    sharedEvents:nil];
}

+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
          weightsBuffer:(id)weightsBuffer
              perfStats:(id)perfStats
         procedureIndex:(NSNumber*)procedureIndex
           sharedEvents:(id)sharedEvents {
  return [self requestWithInputs:inputs
                    inputIndices:inputIndices
                         outputs:outputs
                   outputIndices:outputIndices
                   weightsBuffer:weightsBuffer
                       perfStats:perfStats
                  procedureIndex:procedureIndex
                    sharedEvents:sharedEvents
               transactionHandle:nil];
}

- (void)dealloc {
  [_inputs release];
  [_inputIndices release];
  [_outputs release];
  [_outputIndices release];
  [_weightsBuffer release];
  [_procedureIndex release];
  [_perfStats release];
  [_sharedEvents release];
  [_transactionHandle release];
  [(id)_completionHandler release];
  milane_bindings_free(_bindings);
  free(_surfaces);
  pthread_mutex_destroy(&_lock);
  [super dealloc];
}

- (BOOL)validate {
  MILANE_CALL;
  if (milane_fault(kValidateNo)) return NO;
  return [_inputs count] == [_inputIndices count] && [_outputs count] == [_outputIndices count] &&
         [_outputs count] > 0 && _procedureIndex != nil && [self ioSurfacesCount] <= kMaxSurfaces;
}

- (NSUInteger)ioSurfacesCount {
  return [_inputs count] + [_outputs count];
}

- (NSArray*)inputArray {
  return _inputs;
}

- (NSArray*)inputIndexArray {
  return _inputIndices;
}

- (NSArray*)outputArray {
  return _outputs;
}

- (NSArray*)outputIndexArray {
  return _outputIndices;
}

- (NSNumber*)procedureIndex {
  return _procedureIndex;
}

- (id)weightsBuffer {
  return _weightsBuffer;
}

// A property that any thread may change while another reads it.
- (id)read:(id*)place {
  pthread_mutex_lock(&_lock);
  id value = [*place retain];
  pthread_mutex_unlock(&_lock);
  return [value autorelease];
}

- (void)change:(id*)place to:(id)value {  // takes over a reference
  pthread_mutex_lock(&_lock);
  id old = *place;
  *place = value;
  pthread_mutex_unlock(&_lock);
  [old release];
}

- (_ANEPerformanceStats*)perfStats {
  return [self read:&_perfStats];
}

- (void)setPerfStats:(id)perfStats {
  [self change:&_perfStats to:[perfStats retain]];
}

- (NSArray*)perfStatsArray {
  return nil;
}

- (id)sharedEvents {
  return [self read:&_sharedEvents];
}

- (void)setSharedEvents:(id)events {
  MILANE_CALL;
  [self change:&_sharedEvents to:[events retain]];
}

- (NSNumber*)transactionHandle {
  return [self read:&_transactionHandle];
}

- (void)setTransactionHandle:(NSNumber*)handle {
  [self change:&_transactionHandle to:[handle copy]];
}

- (MilaneCompletion)completionHandler {
  return [self read:(id*)&_completionHandler];
}

- (void)setCompletionHandler:(MilaneCompletion)handler {
  MILANE_CALL;
  [self change:(id*)&_completionHandler to:[(id)handler copy]];
}

- (void)takeEvents:(_ANESharedEvents**)events handler:(MilaneCompletion*)handler {
  pthread_mutex_lock(&_lock);
  *events = [_sharedEvents retain];
  *handler = (MilaneCompletion)[(id)_completionHandler retain];
  pthread_mutex_unlock(&_lock);
}

- (const MilaneRequest*)request {
  return &_request;
}

- (MilaneBindings*)bindings {
  return _bindings;
}

@end

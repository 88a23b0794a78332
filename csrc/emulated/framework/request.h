// One evaluation's surfaces, by symbol (ane_facts A.5).
#pragma once

#include <pthread.h>

#import "emulated/framework/events.h"
#import "emulated/framework/surface.h"

typedef void (^MilaneCompletion)(BOOL succeeded, NSError* error);

@interface _ANERequest : MilaneEmulated {
 @private
  NSArray *_inputs, *_inputIndices, *_outputs, *_outputIndices;
  id _weightsBuffer;
  NSNumber* _procedureIndex;
  MilaneSurface* _surfaces;  // inputs, then outputs, with the addresses of when it was made
  MilaneRequest _request;
  MilaneBindings* _bindings;
  pthread_mutex_t _lock;  // of what follows
  _ANEPerformanceStats* _perfStats;
  _ANESharedEvents* _sharedEvents;
  NSNumber* _transactionHandle;
  MilaneCompletion _completionHandler;
}
+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
         procedureIndex:(NSNumber*)procedureIndex;
+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
              perfStats:(id)perfStats
         procedureIndex:(NSNumber*)procedureIndex;
+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
          weightsBuffer:(id)weightsBuffer
         procedureIndex:(NSNumber*)procedureIndex;
+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
          weightsBuffer:(id)weightsBuffer
              perfStats:(id)perfStats
         procedureIndex:(NSNumber*)procedureIndex;
+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
          weightsBuffer:(id)weightsBuffer
              perfStats:(id)perfStats
         procedureIndex:(NSNumber*)procedureIndex
           sharedEvents:(id)sharedEvents;
+ (id)requestWithInputs:(NSArray*)inputs
           inputIndices:(NSArray*)inputIndices
                outputs:(NSArray*)outputs
          outputIndices:(NSArray*)outputIndices
          weightsBuffer:(id)weightsBuffer
              perfStats:(id)perfStats
         procedureIndex:(NSNumber*)procedureIndex
           sharedEvents:(id)sharedEvents
      transactionHandle:(NSNumber*)transactionHandle;
- (BOOL)validate;
- (NSUInteger)ioSurfacesCount;
- (NSArray*)inputArray;
- (NSArray*)inputIndexArray;
- (NSArray*)outputArray;
- (NSArray*)outputIndexArray;
- (NSNumber*)procedureIndex;
- (id)weightsBuffer;
- (_ANEPerformanceStats*)perfStats;
- (void)setPerfStats:(id)perfStats;
- (NSArray*)perfStatsArray;
- (id)sharedEvents;
- (void)setSharedEvents:(id)events;
- (NSNumber*)transactionHandle;
- (void)setTransactionHandle:(NSNumber*)handle;
- (MilaneCompletion)completionHandler;
- (void)setCompletionHandler:(MilaneCompletion)handler;

// The emulation's own. The first gives references of the caller's.
- (void)takeEvents:(_ANESharedEvents**)events handler:(MilaneCompletion*)handler;
- (const MilaneRequest*)request;
- (MilaneBindings*)bindings;
@end

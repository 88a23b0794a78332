// A model on disk (ane_facts A.4), which is also what an in-memory model is inside.
#pragma once

#include <pthread.h>

#import "emulated/framework/program.h"
#import "emulated/framework/request.h"

@interface _ANEModel : MilaneEmulated <NSCopying> {
 @private
  NSURL *_url, *_sourceURL;
  NSString *_key, *_cacheURLIdentifier;
  NSString* _identity;    // of an in-memory model; nil: the content of the folder, each time
  pthread_mutex_t _lock;  // of what follows
  _ANEProgramForEvaluation* _program;
  NSDictionary* _modelAttributes;
  char _queueDepth;
  unsigned int _perfStatsMask;
}
+ (id)modelAtURL:(NSURL*)url key:(NSString*)key;
+ (id)modelAtURL:(NSURL*)url key:(NSString*)key modelAttributes:(NSDictionary*)attributes;
+ (id)modelAtURL:(NSURL*)url key:(NSString*)key mpsConstants:(NSDictionary*)constants;
+ (id)modelAtURLWithSourceURL:(NSURL*)url
                    sourceURL:(NSURL*)source
                          key:(NSString*)key
           cacheURLIdentifier:(NSString*)identifier;
+ (id)modelAtURLWithCacheURLIdentifier:(NSURL*)url
                                   key:(NSString*)key
                    cacheURLIdentifier:(NSString*)identifier;
- (NSURL*)modelURL;
- (NSURL*)sourceURL;
- (NSString*)key;
- (NSString*)cacheURLIdentifier;
- (NSString*)UUID;
- (NSString*)getUUID;
- (NSDictionary*)modelAttributes;
- (_ANEProgramForEvaluation*)program;
- (unsigned long long)programHandle;
- (unsigned long long)intermediateBufferHandle;
- (_ANEProgramIOSurfacesMapper*)mapper;
- (char)queueDepth;
- (void)setQueueDepth:(char)depth;
- (unsigned int)perfStatsMask;
- (void)setPerfStatsMask:(unsigned int)mask;
- (unsigned long long)state;
- (unsigned long long)string_id;
- (NSIndexSet*)inputSymbolIndicesForProcedureIndex:(unsigned int)procedure;
- (NSIndexSet*)outputSymbolIndicesForProcedureIndex:(unsigned int)procedure;
- (NSDictionary*)procedureInfoForProcedureIndex:(unsigned int)procedure;

// The emulation's own. A package takes shared events, an in-memory model does not (A.8).
+ (id)inMemoryModelAtURL:(NSURL*)url identity:(NSString*)identity;
- (BOOL)isPackage;
- (NSString*)identity;
- (_ANEProgramForEvaluation*)retainedProgram;
- (void)adoptProgram:(MilaneProgram*)program;
- (_ANEProgramForEvaluation*)takeProgram;
@end

// The _ANEModel behind either kind of model; raises for anything else.
_ANEModel* milane_inner_model(id model);

// What models and clients do, on an inner model.
BOOL milane_model_compile(_ANEModel* model, NSError** error);
BOOL milane_model_load(_ANEModel* model, NSError** error);
BOOL milane_model_unload(_ANEModel* model, NSError** error);
BOOL milane_model_map(_ANEModel* model, _ANERequest* request, BOOL cache, NSError** error);
void milane_model_unmap(_ANEModel* model, _ANERequest* request);
BOOL milane_model_evaluate(_ANEModel* model, NSDictionary* options, _ANERequest* request,
                           NSError** error);

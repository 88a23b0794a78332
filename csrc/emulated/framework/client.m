#import "emulated/framework/client.h"

#include <pthread.h>

// Quality of service and options of a compile, load or unload change nothing here.
#pragma clang diagnostic ignored "-Wunused-parameter"

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static const char* const kRealTimeCount = "real-time tasks";

@implementation _ANEClient

+ (id)connectionAt:(_ANEClient**)place {
  if (milane_fault(kNilClient)) return nil;
  pthread_mutex_lock(&shared_lock);
  if (*place == nil) *place = [[super alloc] init];
  pthread_mutex_unlock(&shared_lock);
  return *place;
}

+ (id)sharedConnection {
  static _ANEClient* shared;
  return [self connectionAt:&shared];
}

+ (id)sharedPrivateConnection {
  static _ANEClient* shared;
  return [self connectionAt:&shared];
}

- (id)initWithRestrictedAccessAllowed:(BOOL)allowed {
  self = [super init];
  if (self == nil || !milane_fault(kNilClient)) return self;
  [self release];
  return nil;
}

- (BOOL)compileModel:(id)model
             options:(NSDictionary*)options
                 qos:(unsigned int)qos
               error:(NSError**)error {
  MILANE_CALL;
  return milane_model_compile(milane_inner_model(model), error);
}

- (BOOL)loadModel:(id)model
          options:(NSDictionary*)options
              qos:(unsigned int)qos
            error:(NSError**)error {
  MILANE_CALL;
  return milane_model_load(milane_inner_model(model), error);
}

- (BOOL)doLoadModel:(id)model
            options:(NSDictionary*)options
                qos:(unsigned int)qos
              error:(NSError**)error {
  MILANE_CALL;
  return milane_model_load(milane_inner_model(model), error);
}

- (BOOL)unloadModel:(id)model
            options:(NSDictionary*)options
                qos:(unsigned int)qos
              error:(NSError**)error {
  MILANE_CALL;
  return milane_model_unload(milane_inner_model(model), error);
}

- (BOOL)doUnloadModel:(id)model
              options:(NSDictionary*)options
                  qos:(unsigned int)qos
                error:(NSError**)error {
  MILANE_CALL;
  return milane_model_unload(milane_inner_model(model), error);
}

- (BOOL)evaluateWithModel:(id)model
                  options:(NSDictionary*)options
                  request:(_ANERequest*)request
                      qos:(unsigned int)qos
                    error:(NSError**)error {
  MILANE_CALL;
  return milane_model_evaluate(milane_inner_model(model), options, request, error);
}

- (BOOL)doEvaluateDirectWithModel:(id)model
                          options:(NSDictionary*)options
                          request:(_ANERequest*)request
                              qos:(unsigned int)qos
                            error:(NSError**)error {
  MILANE_CALL;
  return milane_model_evaluate(milane_inner_model(model), options, request, error);
}

- (BOOL)mapIOSurfacesWithModel:(id)model
                       request:(_ANERequest*)request
                cacheInference:(BOOL)cache
                         error:(NSError**)error {
  MILANE_CALL;
  return milane_model_map(milane_inner_model(model), request, cache, error);
}

- (void)unmapIOSurfacesWithModel:(id)model request:(_ANERequest*)request {
  MILANE_CALL;
  milane_model_unmap(milane_inner_model(model), request);
}

- (BOOL)compiledModelExistsFor:(id)model {
  MILANE_CALL;
  return milane_compiled_exists([[milane_inner_model(model) identity] UTF8String]);
}

- (BOOL)compiledModelExistsMatchingHash:(NSString*)hash {
  MILANE_CALL;
  return milane_compiled_exists([hash UTF8String]);
}

- (void)purgeCompiledModel:(id)model {
  MILANE_CALL;
  milane_purge([[milane_inner_model(model) identity] UTF8String]);
}

- (void)purgeCompiledModelMatchingHash:(NSString*)hash {
  MILANE_CALL;
  milane_purge([hash UTF8String]);
}

- (BOOL)beginRealTimeTask {
  MILANE_CALL;
  if (milane_fault(kRealtimeRefused)) return NO;
  __atomic_fetch_add(&_realTimeTasks, 1, __ATOMIC_RELAXED);
  milane_live_add(kRealTimeCount, 1);
  return YES;
}

- (BOOL)endRealTimeTask {
  MILANE_CALL;
  long tasks = __atomic_load_n(&_realTimeTasks, __ATOMIC_RELAXED);
  do {
    if (tasks == 0) return NO;  // there is none to end
  } while (!__atomic_compare_exchange_n(&_realTimeTasks, &tasks, tasks - 1, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
  milane_live_add(kRealTimeCount, -1);
  return YES;
}

- (BOOL)loadRealTimeModel:(id)model
                  options:(NSDictionary*)options
                      qos:(unsigned int)qos
                    error:(NSError**)error {
  MILANE_CALL;
  if (milane_fault(kRealtimeGated)) return milane_report(kGated, error);
  return milane_model_load(milane_inner_model(model), error);
}

- (BOOL)unloadRealTimeModel:(id)model
                    options:(NSDictionary*)options
                        qos:(unsigned int)qos
                      error:(NSError**)error {
  MILANE_CALL;
  return milane_model_unload(milane_inner_model(model), error);
}

- (BOOL)evaluateRealTimeWithModel:(id)model
                          options:(NSDictionary*)options
                          request:(_ANERequest*)request
                            error:(NSError**)error {
  MILANE_CALL;
  if (milane_fault(kRealtimeGated)) return milane_report(kGated, error);
  return milane_model_evaluate(milane_inner_model(model), options, request, error);
}

// Chaining is not usable from a third party (ane_facts A.9).
- (BOOL)prepareChainingWithModel:(id)model
                         options:(NSDictionary*)options
                     chainingReq:(id)request
                             qos:(unsigned int)qos
                           error:(NSError**)error {
  MILANE_CALL;
  return milane_report(kChaining, error);
}

- (BOOL)buffersReadyWithModel:(id)model
                 inputBuffers:(id)buffers
                      options:(NSDictionary*)options
                          qos:(unsigned int)qos
                        error:(NSError**)error {
  MILANE_CALL;
  return milane_report(kChaining, error);
}

- (BOOL)enqueueSetsWithModel:(id)model
                   outputSet:(id)set
                     options:(NSDictionary*)options
                         qos:(unsigned int)qos
                       error:(NSError**)error {
  MILANE_CALL;
  return milane_report(kChaining, error);
}

// Needs an entitlement (ane_facts A.10).
- (BOOL)loadModelNewInstance:(id)model
                     options:(NSDictionary*)options
             modelInstParams:(id)parameters
                         qos:(unsigned int)qos
                       error:(NSError**)error {
  MILANE_CALL;
  return milane_report(kFileAccess, error);
}

- (BOOL)sessionHintWithModel:(id)model
                        hint:(NSString*)hint
                     options:(NSDictionary*)options
                      report:(id)report
                       error:(NSError**)error {
  MILANE_CALL;
  // A nil hint is refused with a word, every other without (ane_facts A.10).
  return hint == nil ? milane_report(kBadArgument, error) : NO;
}

- (void)reportEvaluateFailure:(id)model failureReason:(unsigned long long)reason qIdx:(int)queue {
  MILANE_CALL;
}

- (id)connectionForLoadingModel:(id)model options:(NSDictionary*)options {
  MILANE_CALL;
  return self;
}

- (id)connectionUsedForLoadingModel:(id)model {
  MILANE_CALL;
  return self;
}

- (BOOL)isVirtualClient {
  MILANE_CALL;
  return milane_fault(kVm);
}

- (BOOL)isAnetoolRootDaemonConnection {
  MILANE_CALL;
  return NO;
}

@end

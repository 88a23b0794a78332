// The connection to the system's service (ane_facts A.3). Models may be of either kind.
#pragma once

#import "emulated/framework/model.h"

@interface _ANEClient : MilaneEmulated {
 @private
  long _realTimeTasks;
}
+ (id)sharedConnection;
+ (id)sharedPrivateConnection;
- (id)initWithRestrictedAccessAllowed:(BOOL)allowed;

- (BOOL)compileModel:(id)model
             options:(NSDictionary*)options
                 qos:(unsigned int)qos
               error:(NSError**)error;
- (BOOL)loadModel:(id)model
          options:(NSDictionary*)options
              qos:(unsigned int)qos
            error:(NSError**)error;
- (BOOL)doLoadModel:(id)model
            options:(NSDictionary*)options
                qos:(unsigned int)qos
              error:(NSError**)error;
- (BOOL)unloadModel:(id)model
            options:(NSDictionary*)options
                qos:(unsigned int)qos
              error:(NSError**)error;
- (BOOL)doUnloadModel:(id)model
              options:(NSDictionary*)options
                  qos:(unsigned int)qos
                error:(NSError**)error;
- (BOOL)evaluateWithModel:(id)model
                  options:(NSDictionary*)options
                  request:(_ANERequest*)request
                      qos:(unsigned int)qos
                    error:(NSError**)error;
- (BOOL)doEvaluateDirectWithModel:(id)model
                          options:(NSDictionary*)options
                          request:(_ANERequest*)request
                              qos:(unsigned int)qos
                            error:(NSError**)error;
- (BOOL)mapIOSurfacesWithModel:(id)model
                       request:(_ANERequest*)request
                cacheInference:(BOOL)cache
                         error:(NSError**)error;
- (void)unmapIOSurfacesWithModel:(id)model request:(_ANERequest*)request;

- (BOOL)compiledModelExistsFor:(id)model;
- (BOOL)compiledModelExistsMatchingHash:(NSString*)hash;
- (void)purgeCompiledModel:(id)model;
- (void)purgeCompiledModelMatchingHash:(NSString*)hash;

- (BOOL)beginRealTimeTask;
- (BOOL)endRealTimeTask;
- (BOOL)loadRealTimeModel:(id)model
                  options:(NSDictionary*)options
                      qos:(unsigned int)qos
                    error:(NSError**)error;
- (BOOL)unloadRealTimeModel:(id)model
                    options:(NSDictionary*)options
                        qos:(unsigned int)qos
                      error:(NSError**)error;
- (BOOL)evaluateRealTimeWithModel:(id)model
                          options:(NSDictionary*)options
                          request:(_ANERequest*)request
                            error:(NSError**)error;

- (BOOL)prepareChainingWithModel:(id)model
                         options:(NSDictionary*)options
                     chainingReq:(id)request
                             qos:(unsigned int)qos
                           error:(NSError**)error;
- (BOOL)buffersReadyWithModel:(id)model
                 inputBuffers:(id)buffers
                      options:(NSDictionary*)options
                          qos:(unsigned int)qos
                        error:(NSError**)error;
- (BOOL)enqueueSetsWithModel:(id)model
                   outputSet:(id)set
                     options:(NSDictionary*)options
                         qos:(unsigned int)qos
                       error:(NSError**)error;
- (BOOL)loadModelNewInstance:(id)model
                     options:(NSDictionary*)options
             modelInstParams:(id)parameters
                         qos:(unsigned int)qos
                       error:(NSError**)error;
- (BOOL)sessionHintWithModel:(id)model
                        hint:(NSString*)hint
                     options:(NSDictionary*)options
                      report:(id)report
                       error:(NSError**)error;
- (void)reportEvaluateFailure:(id)model failureReason:(unsigned long long)reason qIdx:(int)queue;
- (id)connectionForLoadingModel:(id)model options:(NSDictionary*)options;
- (id)connectionUsedForLoadingModel:(id)model;
- (BOOL)isVirtualClient;
- (BOOL)isAnetoolRootDaemonConnection;
@end

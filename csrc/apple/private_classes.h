// Apple's private classes as protocols: typed calls without link-time symbols. Only what is called
// is here; private_api.def says where each selector was seen. Sources: ane_facts.md A.
#pragma once

#import <Foundation/Foundation.h>
#import <IOSurface/IOSurface.h>

using CompletionHandler = void (^)(BOOL succeeded, NSError* error);

@protocol ANEModel <NSObject>
+ (id)modelAtURL:(NSURL*)url key:(NSString*)key;
- (NSDictionary*)modelAttributes;
- (id)program;
- (char)queueDepth;
- (void)setPerfStatsMask:(unsigned int)mask;
@end

@protocol ANEPerformanceStats <NSObject>
+ (id)statsWithHardwareExecutionNS:(unsigned long long)ns;
- (unsigned long long)hwExecutionTime;
@end

@protocol ANERequest <NSObject>
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
           sharedEvents:(id)sharedEvents
      transactionHandle:(NSNumber*)transactionHandle;
- (BOOL)validate;
- (void)setCompletionHandler:(CompletionHandler)handler;
@end

@protocol ANEClient <NSObject>
+ (id)sharedPrivateConnection;
+ (id)sharedConnection;
- (id)initWithRestrictedAccessAllowed:(BOOL)allowed;
- (BOOL)compileModel:(id)model options:(NSDictionary*)o qos:(unsigned int)q error:(NSError**)e;
- (BOOL)loadModel:(id)model options:(NSDictionary*)o qos:(unsigned int)q error:(NSError**)e;
- (BOOL)unloadModel:(id)model options:(NSDictionary*)o qos:(unsigned int)q error:(NSError**)e;
- (BOOL)evaluateWithModel:(id)model
                  options:(NSDictionary*)options
                  request:(id)request
                      qos:(unsigned int)qos
                    error:(NSError**)error;
- (BOOL)doEvaluateDirectWithModel:(id)model
                          options:(NSDictionary*)options
                          request:(id)request
                              qos:(unsigned int)qos
                            error:(NSError**)error;
- (BOOL)evaluateRealTimeWithModel:(id)model
                          options:(NSDictionary*)options
                          request:(id)request
                            error:(NSError**)error;
- (BOOL)beginRealTimeTask;
- (BOOL)endRealTimeTask;
- (BOOL)mapIOSurfacesWithModel:(id)model
                       request:(id)request
                cacheInference:(BOOL)cacheInference
                         error:(NSError**)error;
- (void)unmapIOSurfacesWithModel:(id)model request:(id)request;
- (BOOL)compiledModelExistsFor:(id)model;
- (void)purgeCompiledModel:(id)model;
@end

@protocol ANEInMemoryModelDescriptor <NSObject>
+ (id)modelWithMILText:(NSData*)text
               weights:(NSDictionary*)weights
          optionsPlist:(NSData*)optionsPlist;
@end

@protocol ANEInMemoryModel <NSObject>
+ (id)inMemoryModelWithDescriptor:(id)descriptor;
- (NSString*)hexStringIdentifier;
- (NSString*)localModelPath;
- (BOOL)compiledModelExists;
- (void)purgeCompiledModel;
- (BOOL)compileWithQoS:(unsigned int)q options:(NSDictionary*)o error:(NSError**)e;
- (BOOL)loadWithQoS:(unsigned int)q options:(NSDictionary*)o error:(NSError**)e;
- (BOOL)unloadWithQoS:(unsigned int)q error:(NSError**)e;
- (BOOL)evaluateWithQoS:(unsigned int)qos
                options:(NSDictionary*)options
                request:(id)request
                  error:(NSError**)error;
- (BOOL)mapIOSurfacesWithRequest:(id)request
                  cacheInference:(BOOL)cacheInference
                           error:(NSError**)error;
- (void)unmapIOSurfacesWithRequest:(id)request;
- (void)setPerfStatsMask:(unsigned int)mask;
- (id)model;
- (id)sharedConnection;
@end

@protocol ANEIOSurfaceObject <NSObject>
+ (id)objectWithIOSurface:(IOSurfaceRef)surface;
@end

@protocol ANESharedSignalEvent <NSObject>
+ (id)signalEventWithValue:(unsigned long long)value
               symbolIndex:(unsigned int)symbolIndex
                 eventType:(long long)eventType
               sharedEvent:(id)sharedEvent;
@end

@protocol ANESharedWaitEvent <NSObject>
+ (id)waitEventWithValue:(unsigned long long)value sharedEvent:(id)sharedEvent;
@end

@protocol ANESharedEvents <NSObject>
+ (id)sharedEventsWithSignalEvents:(NSArray*)signalEvents waitEvents:(NSArray*)waitEvents;
@end

@protocol ANEDeviceInfo <NSObject>
+ (BOOL)hasANE;
+ (BOOL)isVirtualMachine;
+ (unsigned int)numANECores;
+ (NSString*)aneArchitectureType;
+ (NSString*)aneSubType;
+ (NSString*)productName;
+ (NSString*)buildVersion;
@end

// A private class of the IOSurface framework.
@protocol IOSurfaceSharedEventClass <NSObject>
- (id)initWithMachPort:(unsigned int)port;
- (unsigned int)eventPort;
- (unsigned long long)signaledValue;
- (void)setSignaledValue:(unsigned long long)value;
- (BOOL)waitUntilSignaledValue:(unsigned long long)value timeoutMS:(unsigned long long)ms;
@end

// The in-memory path: a descriptor, and a wrapper of an _ANEModel over the staging folder
// (ane_facts A.1, A.2, B.2).
#pragma once

#import "emulated/framework/model.h"

@interface _ANEInMemoryModelDescriptor : MilaneEmulated {
 @private
  NSData *_networkText, *_optionsPlist;
  NSDictionary* _weights;
  NSString *_networkTextHash, *_weightsHash, *_optionsPlistHash;
  BOOL _isMILModel;
}
+ (id)modelWithMILText:(NSData*)text weights:(NSDictionary*)weights optionsPlist:(NSData*)plist;
+ (id)modelWithNetworkDescription:(NSData*)description
                          weights:(NSDictionary*)weights
                     optionsPlist:(NSData*)plist;
- (id)initWithNetworkText:(NSData*)text
                  weights:(NSDictionary*)weights
             optionsPlist:(NSData*)plist
               isMILModel:(BOOL)isMILModel;
- (NSString*)hexStringIdentifier;
- (NSData*)networkText;
- (NSDictionary*)weights;
- (NSData*)optionsPlist;
- (NSString*)networkTextHash;
- (NSString*)weightsHash;
- (NSString*)optionsPlistHash;
- (BOOL)isMILModel;
@end

@interface _ANEInMemoryModel : MilaneEmulated {
 @private
  _ANEInMemoryModelDescriptor* _descriptor;
  _ANEModel* _model;
  NSString* _compilerOptionsFileName;
}
+ (id)inMemoryModelWithDescriptor:(_ANEInMemoryModelDescriptor*)descriptor;
- (id)initWithDesctiptor:(_ANEInMemoryModelDescriptor*)descriptor;  // sic (A.2)
- (BOOL)compileWithQoS:(unsigned int)qos options:(NSDictionary*)options error:(NSError**)error;
- (BOOL)loadWithQoS:(unsigned int)qos options:(NSDictionary*)options error:(NSError**)error;
- (BOOL)evaluateWithQoS:(unsigned int)qos
                options:(NSDictionary*)options
                request:(_ANERequest*)request
                  error:(NSError**)error;
- (BOOL)unloadWithQoS:(unsigned int)qos error:(NSError**)error;
- (BOOL)mapIOSurfacesWithRequest:(_ANERequest*)request
                  cacheInference:(BOOL)cache
                           error:(NSError**)error;
- (void)unmapIOSurfacesWithRequest:(_ANERequest*)request;
- (BOOL)compiledModelExists;
- (void)purgeCompiledModel;
- (NSString*)localModelPath;
- (BOOL)saveModelFiles;
- (NSDictionary*)compilerOptionsWithOptions:(NSDictionary*)options
                      isCompiledModelCached:(BOOL)cached;
- (NSString*)hexStringIdentifier;
- (_ANEModel*)model;
- (id)sharedConnection;
- (NSDictionary*)modelAttributes;
- (NSURL*)modelURL;
- (_ANEProgramForEvaluation*)program;
- (unsigned long long)programHandle;
- (unsigned long long)intermediateBufferHandle;
- (unsigned long long)state;
- (unsigned long long)string_id;
- (_ANEInMemoryModelDescriptor*)descriptor;
- (BOOL)isMILModel;
- (char)queueDepth;
- (void)setQueueDepth:(char)depth;
- (unsigned int)perfStatsMask;
- (void)setPerfStatsMask:(unsigned int)mask;
- (NSString*)compilerOptionsFileName;
- (void)setCompilerOptionsFileName:(NSString*)name;
@end

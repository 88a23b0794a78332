#import "emulated/framework/memory_model.h"

#import "emulated/framework/client.h"
#import "emulated/framework/constants.h"

@implementation _ANEInMemoryModel

+ (id)inMemoryModelWithDescriptor:(_ANEInMemoryModelDescriptor*)descriptor {
  MILANE_CALL;
  milane_raise_if(kExceptionDescriptor, "inMemoryModelWithDescriptor");
  if (descriptor == nil || milane_fault(kNilModel)) return nil;
  return [[[self alloc] initWithDesctiptor:descriptor] autorelease];
}

- (id)initWithDesctiptor:(_ANEInMemoryModelDescriptor*)descriptor {
  self = [super init];
  if (self == nil) return nil;
  _descriptor = [descriptor retain];
  _model = [[_ANEModel inMemoryModelAtURL:[NSURL fileURLWithPath:[self localModelPath]
                                                     isDirectory:YES]
                                 identity:[descriptor hexStringIdentifier]] retain];
  return self;
}

- (void)dealloc {
  [_descriptor release];
  [_model release];
  [_compilerOptionsFileName release];
  [super dealloc];
}

// NSTemporaryDirectory()/<identifier> (ane_facts B.2).
- (NSString*)localModelPath {
  return [NSTemporaryDirectory() stringByAppendingPathComponent:[self hexStringIdentifier]];
}

- (NSString*)stagedFile:(NSString*)path {
  NSString* const prefix = @"@model_path/";
  if ([path hasPrefix:prefix]) path = [path substringFromIndex:[prefix length]];
  return [[self localModelPath] stringByAppendingPathComponent:path];
}

// The compiler reads files, not the descriptor's data: they have to be there, and be the same.
- (const char*)stagingFault {
  NSData* text = [NSData dataWithContentsOfFile:[self stagedFile:@"model.mil"]];
  if (text == nil) return "compile: no model.mil in the staging folder";
  if (![text isEqualToData:[_descriptor networkText]]) {
    return "compile: the staging folder's model.mil is not the descriptor's";
  }
  NSDictionary* weights = [_descriptor weights];
  for (NSString* path in weights) {
    NSData* given = [[weights objectForKey:path] objectForKey:@"data"];
    NSData* staged = [NSData dataWithContentsOfFile:[self stagedFile:path]];
    if (staged == nil) return "compile: a weight file is missing in the staging folder";
    if (![staged isEqualToData:given]) {
      return "compile: a weight file of the staging folder is not the descriptor's";
    }
  }
  return NULL;
}

- (BOOL)compileWithQoS:(unsigned int)qos options:(NSDictionary*)options error:(NSError**)error {
  MILANE_CALL;
  (void)qos;
  (void)options;
  const char* fault = [self stagingFault];
  if (fault != NULL) return milane_refuse(kInvalidMil, fault, error);
  return milane_model_compile(_model, error);
}

- (BOOL)loadWithQoS:(unsigned int)qos options:(NSDictionary*)options error:(NSError**)error {
  MILANE_CALL;
  (void)qos;
  (void)options;
  return milane_model_load(_model, error);
}

- (BOOL)evaluateWithQoS:(unsigned int)qos
                options:(NSDictionary*)options
                request:(_ANERequest*)request
                  error:(NSError**)error {
  MILANE_CALL;
  (void)qos;
  return milane_model_evaluate(_model, options, request, error);
}

- (BOOL)unloadWithQoS:(unsigned int)qos error:(NSError**)error {
  MILANE_CALL;
  (void)qos;
  return milane_model_unload(_model, error);
}

- (BOOL)mapIOSurfacesWithRequest:(_ANERequest*)request
                  cacheInference:(BOOL)cache
                           error:(NSError**)error {
  MILANE_CALL;
  return milane_model_map(_model, request, cache, error);
}

- (void)unmapIOSurfacesWithRequest:(_ANERequest*)request {
  MILANE_CALL;
  milane_model_unmap(_model, request);
}

- (BOOL)compiledModelExists {
  MILANE_CALL;
  return milane_compiled_exists([[self hexStringIdentifier] UTF8String]);
}

- (void)purgeCompiledModel {
  MILANE_CALL;
  milane_purge([[self hexStringIdentifier] UTF8String]);
}

// Saves nothing that a compile could use, which is why everyone writes the files (A.2).
- (BOOL)saveModelFiles {
  MILANE_CALL;
  return [[NSFileManager defaultManager] createDirectoryAtPath:[self localModelPath]
                                   withIntermediateDirectories:YES
                                                    attributes:nil
                                                         error:NULL];
}

- (NSDictionary*)compilerOptionsWithOptions:(NSDictionary*)options
                      isCompiledModelCached:(BOOL)cached {
  NSMutableDictionary* all = [NSMutableDictionary dictionaryWithDictionary:options];
  [all setObject:kANEFModelMILValue forKey:kANEFModelTypeKey];
  [all setObject:[self hexStringIdentifier] forKey:kANEFInMemoryModelIdentifierKey];
  [all setObject:@(cached) forKey:kANEFInMemoryModelIsCachedKey];
  return all;
}

- (NSString*)hexStringIdentifier {
  return [_descriptor hexStringIdentifier];
}

- (_ANEModel*)model {
  return _model;
}

- (id)sharedConnection {
  return [_ANEClient sharedConnection];
}

- (NSDictionary*)modelAttributes {
  return [_model modelAttributes];
}

- (NSURL*)modelURL {
  return [_model modelURL];
}

- (_ANEProgramForEvaluation*)program {
  return [_model program];
}

- (unsigned long long)programHandle {
  return [_model programHandle];
}

- (unsigned long long)intermediateBufferHandle {
  return 0;
}

- (unsigned long long)state {
  return [_model state];
}

- (unsigned long long)string_id {
  return [_model string_id];
}

- (_ANEInMemoryModelDescriptor*)descriptor {
  return _descriptor;
}

- (BOOL)isMILModel {
  return [_descriptor isMILModel];
}

- (char)queueDepth {
  return [_model queueDepth];
}

- (void)setQueueDepth:(char)depth {
  [_model setQueueDepth:depth];
}

- (unsigned int)perfStatsMask {
  return [_model perfStatsMask];
}

- (void)setPerfStatsMask:(unsigned int)mask {
  MILANE_CALL;
  [_model setPerfStatsMask:mask];
}

- (NSString*)compilerOptionsFileName {
  @synchronized(self) {
    return [[_compilerOptionsFileName retain] autorelease];
  }
}

- (void)setCompilerOptionsFileName:(NSString*)name {
  @synchronized(self) {
    [_compilerOptionsFileName autorelease];
    _compilerOptionsFileName = [name copy];
  }
}

@end

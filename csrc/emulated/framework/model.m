#import "emulated/framework/model.h"

#import "emulated/framework/memory_model.h"

@implementation _ANEModel

+ (id)modelAtURL:(NSURL*)url
          source:(NSURL*)source
             key:(NSString*)key
      identifier:(NSString*)identifier
        identity:(NSString*)identity {
  if (url == nil || milane_fault(kNilModel)) return nil;
  milane_expect(url, [NSURL class], "_ANEModel");
  _ANEModel* model = [[self new] autorelease];
  pthread_mutex_init(&model->_lock, NULL);
  model->_url = [url copy];
  model->_sourceURL = [source copy];
  model->_key = [key copy];
  model->_cacheURLIdentifier = [identifier copy];
  model->_identity = [identity copy];
  model->_queueDepth = kQueueDepth;
  return model;
}

+ (id)modelAtURL:(NSURL*)url key:(NSString*)key {
  MILANE_CALL;
  return [self modelAtURL:url source:nil key:key identifier:nil identity:nil];
}

+ (id)modelAtURL:(NSURL*)url key:(NSString*)key modelAttributes:(NSDictionary*)attributes {
  MILANE_CALL;
  (void)attributes;
  return [self modelAtURL:url source:nil key:key identifier:nil identity:nil];
}

+ (id)modelAtURL:(NSURL*)url key:(NSString*)key mpsConstants:(NSDictionary*)constants {
  MILANE_CALL;
  (void)constants;
  return [self modelAtURL:url source:nil key:key identifier:nil identity:nil];
}

+ (id)modelAtURLWithSourceURL:(NSURL*)url
                    sourceURL:(NSURL*)source
                          key:(NSString*)key
           cacheURLIdentifier:(NSString*)identifier {
  MILANE_CALL;
  return [self modelAtURL:url source:source key:key identifier:identifier identity:nil];
}

+ (id)modelAtURLWithCacheURLIdentifier:(NSURL*)url
                                   key:(NSString*)key
                    cacheURLIdentifier:(NSString*)identifier {
  MILANE_CALL;
  return [self modelAtURL:url source:nil key:key identifier:identifier identity:nil];
}

+ (id)inMemoryModelAtURL:(NSURL*)url identity:(NSString*)identity {
  return [self modelAtURL:url source:nil key:@"s" identifier:nil identity:identity];
}

- (void)dealloc {
  [_url release];
  [_sourceURL release];
  [_key release];
  [_cacheURLIdentifier release];
  [_identity release];
  [_program release];
  [_modelAttributes release];
  pthread_mutex_destroy(&_lock);
  [super dealloc];
}

- (id)copyWithZone:(NSZone*)zone {
  (void)zone;
  return [self retain];
}

- (NSURL*)modelURL {
  return _url;
}

- (NSURL*)sourceURL {
  return _sourceURL;
}

- (NSString*)key {
  return _key;
}

- (NSString*)cacheURLIdentifier {
  return _cacheURLIdentifier;
}

- (NSString*)UUID {
  return [[self identity] substringToIndex:32];
}

- (NSString*)getUUID {
  return [self UUID];
}

- (BOOL)isPackage {
  return _identity == nil;
}

- (NSString*)identity {
  if (_identity != nil) return _identity;
  char text[kDigestText];
  milane_folder_identity([[_url path] fileSystemRepresentation], text);
  return [NSString stringWithFormat:@"%s_%@", text, _key];
}

- (NSDictionary*)modelAttributes {
  MILANE_CALL;
  milane_raise_if(kExceptionAttributes, "modelAttributes");
  if (milane_fault(kNilAttributes)) return nil;
  pthread_mutex_lock(&_lock);
  NSDictionary* attributes = [_modelAttributes retain];
  pthread_mutex_unlock(&_lock);
  return [attributes autorelease];
}

- (_ANEProgramForEvaluation*)retainedProgram {
  pthread_mutex_lock(&_lock);
  _ANEProgramForEvaluation* program = [_program retain];
  pthread_mutex_unlock(&_lock);
  return program;
}

- (_ANEProgramForEvaluation*)program {
  return [[self retainedProgram] autorelease];
}

// The mask is cleared by a load (ane_facts A.7).
- (void)adoptProgram:(MilaneProgram*)loaded {
  _ANEProgramForEvaluation* program = [[_ANEProgramForEvaluation alloc] initWithProgram:loaded];
  NSDictionary* attributes = [milane_attributes(loaded) retain];
  pthread_mutex_lock(&_lock);
  id old_program = _program, old_attributes = _modelAttributes;
  _program = program;
  _modelAttributes = attributes;
  _perfStatsMask = 0;
  pthread_mutex_unlock(&_lock);
  [old_program release];
  [old_attributes release];
}

- (_ANEProgramForEvaluation*)takeProgram {
  pthread_mutex_lock(&_lock);
  _ANEProgramForEvaluation* program = _program;
  NSDictionary* attributes = _modelAttributes;
  _program = nil;
  _modelAttributes = nil;
  pthread_mutex_unlock(&_lock);
  [attributes release];
  return program;
}

- (unsigned long long)programHandle {
  return [[self program] programHandle];
}

- (unsigned long long)intermediateBufferHandle {
  return 0;
}

- (_ANEProgramIOSurfacesMapper*)mapper {
  _ANEProgramForEvaluation* program = [self program];
  if (program == nil) return nil;
  return [_ANEProgramIOSurfacesMapper mapperWithProgramHandle:[program programHandle]];
}

- (char)queueDepth {
  return __atomic_load_n(&_queueDepth, __ATOMIC_RELAXED);
}

- (void)setQueueDepth:(char)depth {  // has no measurable effect on the device either (C.8)
  __atomic_store_n(&_queueDepth, depth, __ATOMIC_RELAXED);
}

- (unsigned int)perfStatsMask {
  pthread_mutex_lock(&_lock);
  const unsigned int mask = _perfStatsMask;
  pthread_mutex_unlock(&_lock);
  return mask;
}

- (void)setPerfStatsMask:(unsigned int)mask {
  MILANE_CALL;
  pthread_mutex_lock(&_lock);
  _perfStatsMask = mask;
  pthread_mutex_unlock(&_lock);
}

- (unsigned long long)state {
  return [self program] == nil ? 1 : 3;
}

- (unsigned long long)string_id {
  return [[self identity] hash];
}

static NSIndexSet* indices(NSDictionary* procedure, NSString* key) {
  NSMutableIndexSet* set = [NSMutableIndexSet indexSet];
  for (NSNumber* index in [procedure objectForKey:key]) {
    [set addIndex:[index unsignedIntegerValue]];
  }
  return set;
}

- (NSIndexSet*)inputSymbolIndicesForProcedureIndex:(unsigned int)procedure {
  return indices([self procedureInfoForProcedureIndex:procedure], @"InputSymbolIndexArray");
}

- (NSIndexSet*)outputSymbolIndicesForProcedureIndex:(unsigned int)procedure {
  return indices([self procedureInfoForProcedureIndex:procedure], @"OutputSymbolIndexArray");
}

- (NSDictionary*)procedureInfoForProcedureIndex:(unsigned int)procedure {
  NSDictionary* description = [[self modelAttributes] objectForKey:@"ANEFModelDescription"];
  NSArray* procedures = [description objectForKey:@"ANEFModelProcedures"];
  return procedure < [procedures count] ? [procedures objectAtIndex:procedure] : nil;
}

@end

_ANEModel* milane_inner_model(id model) {
  if ([model isKindOfClass:[_ANEInMemoryModel class]]) return [model model];
  milane_expect(model, [_ANEModel class], "model");
  return model;
}

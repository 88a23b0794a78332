#import "emulated/framework/program.h"

#import "emulated/framework/constants.h"
#import "emulated/framework/model.h"

@implementation _ANEProgramForEvaluation

- (id)initWithProgram:(MilaneProgram*)program {
  self = [super init];
  _program = program;
  return self;
}

// A program that nobody unloaded stays with the engine, and stays counted (ane_facts D 78).
- (void)dealloc {
  milane_program_free(_program);
  [super dealloc];
}

- (MilaneProgram*)program {
  return _program;
}

- (unsigned long long)programHandle {
  return milane_program_handle(_program);
}

- (unsigned long long)intermediateBufferHandle {
  return 0;
}

- (char)queueDepth {
  return kQueueDepth;
}

- (long long)currentAsyncRequestsInFlight {
  return milane_program_in_flight(_program, true);
}

- (long long)requestsInFlight {
  return milane_program_in_flight(_program, false);
}

@end

@implementation _ANEProgramIOSurfacesMapper

+ (id)mapperWithProgramHandle:(unsigned long long)handle {
  _ANEProgramIOSurfacesMapper* mapper = [[self new] autorelease];
  mapper->_programHandle = handle;
  return mapper;
}

- (unsigned long long)programHandle {
  return _programHandle;
}

- (BOOL)mapIOSurfacesWithModel:(id)model
                       request:(id)request
                cacheInference:(BOOL)cache
                         error:(NSError**)error {
  MILANE_CALL;
  return milane_model_map(milane_inner_model(model), request, cache, error);
}

- (BOOL)unmapIOSurfacesWithModel:(id)model request:(id)request error:(NSError**)error {
  MILANE_CALL;
  if (error != NULL) *error = nil;
  milane_model_unmap(milane_inner_model(model), request);
  return YES;
}

@end

static NSArray* symbols(const MilaneProgram* program, bool outputs) {
  NSMutableArray* all = [NSMutableArray array];
  for (size_t i = 0; i < milane_program_symbols(program, outputs); ++i) {
    [all addObject:[NSString stringWithUTF8String:milane_program_symbol(program, outputs, i)]];
  }
  return all;
}

// The keys are the published ones (ane_facts C.2).
static NSDictionary* tensor_entry(MilaneTensor t) {
  NSString* name = [NSString stringWithUTF8String:t.name];
  return @{
    @"Name" : name,
    @"Symbol" : name,
    @"Type" : [NSString stringWithUTF8String:t.type],
    @"Batches" : @(t.batches),
    @"Channels" : @(t.channels),
    @"Depth" : @(t.depth),
    @"Height" : @(t.height),
    @"Width" : @(t.width),
    @"BatchStride" : @(t.batch_stride),
    @"DepthStride" : @(t.depth_stride),
    @"PlaneStride" : @(t.plane_stride),
    @"RowStride" : @(t.row_stride),
    @"Interleave" : @1,
    @"PlaneCount" : @(t.channels)
  };
}

static NSArray* tensors(const MilaneProgram* program, size_t procedure, bool outputs) {
  NSMutableArray* all = [NSMutableArray array];
  for (size_t i = 0; i < milane_program_tensors(program, procedure, outputs); ++i) {
    [all addObject:tensor_entry(milane_program_tensor(program, procedure, outputs, i))];
  }
  return all;
}

// A procedure's symbols by their index.
static NSArray* symbol_indices(const MilaneProgram* program, size_t procedure, bool outputs) {
  NSMutableArray* all = [NSMutableArray array];
  for (size_t i = 0; i < milane_program_tensors(program, procedure, outputs); ++i) {
    [all addObject:@(milane_program_tensor(program, procedure, outputs, i).symbol)];
  }
  return [all sortedArrayUsingSelector:@selector(compare:)];
}

static NSArray* zeros(size_t count) {
  NSMutableArray* all = [NSMutableArray array];
  for (size_t i = 0; i < count; ++i) [all addObject:@0];
  return all;
}

NSDictionary* milane_attributes(const MilaneProgram* program) {
  NSMutableArray *status = [NSMutableArray array], *procedures = [NSMutableArray array];
  NSMutableDictionary* ids = [NSMutableDictionary dictionary];
  for (size_t i = 0; i < milane_program_procedures(program); ++i) {
    NSString* name = [NSString stringWithUTF8String:milane_program_procedure(program, i)];
    [status addObject:@{
      @"Name" : name,
      @"LiveInputList" : tensors(program, i, false),
      @"LiveOutputList" : tensors(program, i, true)
    }];
    [procedures addObject:@{
      kANEFModelProcedureIDKey : @(i),
      kANEFModelInputSymbolIndexArrayKey : symbol_indices(program, i, false),
      kANEFModelOutputSymbolIndexArrayKey : symbol_indices(program, i, true)
    }];
    [ids setObject:@(i) forKey:name];
  }
  return @{
    @"NetworkStatusList" : status,
    kANEFModelDescriptionKey : @{
      kANEFModelInputSymbolsArrayKey : symbols(program, false),
      kANEFModelOutputSymbolsArrayKey : symbols(program, true),
      kANEFModelInput16KAlignmentArrayKey : zeros(milane_program_symbols(program, false)),
      kANEFModelOutput16KAlignmentArrayKey : zeros(milane_program_symbols(program, true)),
      kANEFModelProceduresArrayKey : procedures,
      kANEFModelProcedureNameToIDMapKey : ids
    }
  };
}

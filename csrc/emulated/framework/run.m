// Compile, load, map, evaluate, unload: what both kinds of model and the client come to.
#import "emulated/framework/constants.h"
#import "emulated/framework/model.h"

#include <stdlib.h>

BOOL milane_model_compile(_ANEModel* model, NSError** error) {
  milane_raise_if(kExceptionCompile, "compile");
  NSString* folder = [[model modelURL] path];
  // Its own files are left beside those of a model folder, not in somebody's package.
  const bool stage = ![[folder pathExtension] isEqual:@"mlmodelc"];
  return milane_report(
      milane_compile([folder fileSystemRepresentation], [[model identity] UTF8String], stage),
      error);
}

BOOL milane_model_load(_ANEModel* model, NSError** error) {
  milane_raise_if(kExceptionLoad, "load");
  if ([model program] != nil) return YES;
  MilaneProgram* program = NULL;
  const MilaneFailure failure = milane_load([[[model modelURL] path] fileSystemRepresentation],
                                            [[model identity] UTF8String], &program);
  if (failure != kSucceeded) return milane_report(failure, error);
  [model adoptProgram:program];
  return YES;
}

BOOL milane_model_unload(_ANEModel* model, NSError** error) {
  milane_raise_if(kExceptionUnload, "unload");
  _ANEProgramForEvaluation* program = [[model retainedProgram] autorelease];
  if (program == nil) return milane_refuse(kUnload, "unload: nothing is loaded", error);
  if (milane_program_crashes_at_unload([program program])) {
    [NSException raise:NSInternalInconsistencyException
                format:@"unload after an evaluation with shared events (ane_facts A.8)"];
  }
  if (milane_fault(kUnloadFailure)) return milane_refuse(kUnload, "injected", error);
  [[model takeProgram] release];
  if (milane_unload([program program])) return YES;
  return milane_refuse(kUnload, "unload: somebody else was first", error);
}

BOOL milane_model_map(_ANEModel* model, _ANERequest* request, BOOL cache, NSError** error) {
  milane_raise_if(kExceptionMap, "map");
  milane_expect(request, [_ANERequest class], "map");
  _ANEProgramForEvaluation* program = [[model retainedProgram] autorelease];
  if (program == nil) return milane_refuse(kMap, "map: nothing is loaded", error);
  return milane_report(
      milane_map([program program], model, [request request], [request bindings], cache), error);
}

void milane_model_unmap(_ANEModel* model, _ANERequest* request) {
  milane_raise_if(kExceptionUnmap, "unmap");
  if (request != nil) milane_unmap(model, [request bindings]);
}

// One evaluation on its way, with references of its own.
typedef struct {
  _ANEModel* model;
  _ANEProgramForEvaluation* program;
  _ANERequest* request;
  _ANESharedEvents* events;
  MilaneCompletion handler;
} Job;

static void finish(Job job) {
  [(id)job.handler release];
  [job.events release];
  [job.request release];
  [job.program release];
  [job.model release];
}

// hwExecutionTime is 0 for third parties, whatever mask they set (ane_facts A.7).
static void measure(Job job) {
  const long ns = milane_fault_number(kPerfNs, 0, 1000);
  if (ns == 0 || ([job.model perfStatsMask] & 0xF) == 0) return;
  _ANEPerformanceStats* stats = [job.request perfStats];
  if (stats != nil) {
    [stats measured:(unsigned long long)ns];
  } else {
    [job.request
        setPerfStats:[_ANEPerformanceStats statsWithHardwareExecutionNS:(unsigned long long)ns]];
  }
}

static MilaneFailure run(Job job) {
  if (job.events != nil && !milane_wait_for(job.events)) {
    milane_set_reason("evaluate: an event did not come in time");
    return kStatus1d;
  }
  const MilaneFailure failure = milane_evaluate([job.program program], [job.request request],
                                                [job.request bindings], job.events != nil);
  if (failure != kSucceeded) return failure;
  if (job.events != nil) milane_signal(job.events);
  measure(job);
  return kSucceeded;
}

static void run_later(void* context) {
  Job* job = context;
  @autoreleasepool {
    MilaneFailure failure = run(*job);
    if (failure == kSucceeded && milane_fault(kCompletionError)) {
      milane_set_reason("injected");
      failure = kStatus1d;
    }
    milane_queue_leave([job->program program], true);
    if (!milane_fault(kCompletionNever)) {
      NSError* error = nil;
      const BOOL succeeded = milane_report(failure, &error);
      job->handler(succeeded, error);
    }
    finish(*job);
    free(job);
  }
}

// Why a program does not take these events; NULL where it does (ane_facts A.8).
static const char* refusal_of_events(_ANEModel* model, NSDictionary* options) {
  if (![model isPackage]) return "evaluate: shared events on an in-memory model";
  if ([[options objectForKey:kANEFDisableIOFencesUseSharedEventsKey] boolValue]) return NULL;
  return "evaluate: shared events without kANEFDisableIOFencesUseSharedEventsKey";
}

BOOL milane_model_evaluate(_ANEModel* model, NSDictionary* options, _ANERequest* request,
                           NSError** error) {
  milane_raise_if(kExceptionEval, "evaluate");
  milane_expect(request, [_ANERequest class], "evaluate");
  Job job = {.model = [model retain], .request = [request retain]};
  job.program = [model retainedProgram];
  [request takeEvents:&job.events handler:&job.handler];
  const char* refused = NULL;
  MilaneFailure failure = kSucceeded;
  if (job.program == nil) {
    refused = "evaluate: nothing is loaded";
    failure = kNotLoaded;
  } else if (job.events != nil) {
    refused = refusal_of_events(model, options);
    if (refused != NULL) failure = kStatus1d;
  }
  if (refused == NULL) {
    milane_queue_enter([job.program program], job.handler != nil);
    if (job.handler != nil) {
      Job* later = malloc(sizeof *later);
      *later = job;
      milane_run_later(run_later, later);
      return YES;
    }
    failure = run(job);
    milane_queue_leave([job.program program], false);
  } else {
    milane_set_reason(refused);
  }
  finish(job);
  return milane_report(failure, error);
}

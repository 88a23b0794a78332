// A loaded program and its mapper (ane_facts A.6, A.10), and what it says of itself (C.2).
#pragma once

#import "emulated/framework/errors.h"

@interface _ANEProgramForEvaluation : MilaneEmulated {
 @private
  MilaneProgram* _program;
}
- (id)initWithProgram:(MilaneProgram*)program;  // takes it over
- (MilaneProgram*)program;
- (unsigned long long)programHandle;
- (unsigned long long)intermediateBufferHandle;
- (char)queueDepth;
- (long long)currentAsyncRequestsInFlight;
- (long long)requestsInFlight;
@end

@interface _ANEProgramIOSurfacesMapper : MilaneEmulated {
 @private
  unsigned long long _programHandle;
}
+ (id)mapperWithProgramHandle:(unsigned long long)handle;
- (unsigned long long)programHandle;
- (BOOL)mapIOSurfacesWithModel:(id)model
                       request:(id)request
                cacheInference:(BOOL)cache
                         error:(NSError**)error;
- (BOOL)unmapIOSurfacesWithModel:(id)model request:(id)request error:(NSError**)error;
@end

// The modelAttributes of a program.
NSDictionary* milane_attributes(const MilaneProgram* program);

#import "emulated/framework/errors.h"

static NSString* const kDomain = @"com.apple.appleneuralengine";
static NSString* const kCompilerDomain = @"com.apple.appleneuralengine.compiler";

BOOL milane_report(MilaneFailure failure, NSError** error) {
  if (failure == kSucceeded) return YES;
  if (error == NULL) return NO;
  NSString *domain = nil, *text = nil;
  NSInteger code = 0;
  switch (failure) {
#define MILANE_FAILURE(id, in_domain, number, words) \
  case id:                                           \
    domain = in_domain;                              \
    code = number;                                   \
    text = @words;                                   \
    break;
#include "emulated/framework/failures.def"
#undef MILANE_FAILURE
    case kSucceeded:
      break;
  }
  *error = [NSError errorWithDomain:domain code:code userInfo:@{NSLocalizedDescriptionKey : text}];
  return NO;
}

BOOL milane_refuse(MilaneFailure failure, const char* reason, NSError** error) {
  milane_set_reason(reason);
  return milane_report(failure, error);
}

void milane_raise_if(MilaneFault fault, const char* where) {
  if (!milane_fault(fault)) return;
  [NSException raise:NSInternalInconsistencyException format:@"%s: injected exception", where];
}

void milane_expect(id object, Class cls, const char* what) {
  if ([object isKindOfClass:cls]) return;
  [NSException raise:NSInvalidArgumentException
              format:@"%s: -[%@ %@]: unrecognized selector sent to instance", what,
                     object == nil ? @"nil" : NSStringFromClass([object class]), cls];
}

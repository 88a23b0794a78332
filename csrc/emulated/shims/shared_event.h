// IOSurfaceSharedEvent, a private class of the IOSurface framework (ane_facts A.8).
#pragma once

#import "emulated/shims/object.h"

#include "emulated/shims/event.h"

@interface IOSurfaceSharedEvent : MilaneEmulated {
 @private
  MilaneEvent* _event;
}
- (id)init;
- (id)initWithOptions:(unsigned long long)options;
- (id)initWithMachPort:(unsigned int)port;
- (unsigned int)eventPort;
- (unsigned long long)signaledValue;
- (void)setSignaledValue:(unsigned long long)value;
- (BOOL)waitUntilSignaledValue:(unsigned long long)value timeoutMS:(unsigned long long)ms;
@end

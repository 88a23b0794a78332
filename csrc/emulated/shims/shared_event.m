#import "emulated/shims/shared_event.h"

@implementation IOSurfaceSharedEvent

- (id)initWithEvent:(MilaneEvent*)event {
  self = [super init];
  _event = event;
  if (self == nil) milane_event_release(event);
  if (_event != NULL) return self;
  [self release];
  return nil;
}

- (id)init {
  MILANE_CALL;
  return [self initWithEvent:milane_fault(kNilEvent) ? NULL : milane_event_create()];
}

- (id)initWithOptions:(unsigned long long)options {
  (void)options;
  return [self init];
}

- (id)initWithMachPort:(unsigned int)port {
  MILANE_CALL;
  return [self initWithEvent:milane_fault(kNilEvent) ? NULL : milane_event_from_port(port)];
}

- (void)dealloc {
  milane_event_release(_event);
  [super dealloc];
}

- (unsigned int)eventPort {
  return milane_event_port(_event);
}

- (unsigned long long)signaledValue {
  return milane_event_value(_event);
}

- (void)setSignaledValue:(unsigned long long)value {
  MILANE_CALL;
  milane_event_set(_event, value);
}

- (BOOL)waitUntilSignaledValue:(unsigned long long)value timeoutMS:(unsigned long long)ms {
  MILANE_CALL;
  return milane_event_wait(_event, value, ms);
}

@end
